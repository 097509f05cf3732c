"""How one move proposes the next point."""
