"""The outer loss, per example."""
