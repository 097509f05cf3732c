"""Which average of the weights, over the course of training, is measured and kept in their place."""
