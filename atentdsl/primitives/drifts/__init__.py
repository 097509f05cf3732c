"""How a kernel normalises the gradient, per example."""
