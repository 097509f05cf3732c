"""Which set a point is brought back to, as functions of new point, old point and anchor."""
