"""The loss whose Gibbs density a chain draws from, per example."""
