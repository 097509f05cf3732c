"""How the signal moves the weights."""
