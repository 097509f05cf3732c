"""What holds a point near its anchor in the target density."""
