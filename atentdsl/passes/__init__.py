"""Passes over the plan: one file each, run in the order of `pipeline.py`."""

from atentdsl.passes.pipeline import PIPELINE, Stage, optimised, stages, switch

__all__ = ["PIPELINE", "Stage", "optimised", "stages", "switch"]
