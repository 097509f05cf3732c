"""Which variable is perturbed, and how its points are drawn."""
