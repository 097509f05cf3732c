"""Numbers that change over epochs or steps, both counted from 1."""
