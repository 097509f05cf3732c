"""Numbers that change over moves, epochs or steps, each counted from 1."""
