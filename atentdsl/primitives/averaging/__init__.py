"""Which weights the points of a chain carry."""
