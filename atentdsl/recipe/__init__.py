"""A recipe: loaded from TOML or a dict, laid over what it extends, and checked."""

from atentdsl.recipe.checking import ball_radius, primitive_of
from atentdsl.recipe.loading import load, text_of
from atentdsl.recipe.tables import Recipe

__all__ = ["Recipe", "ball_radius", "load", "primitive_of", "text_of"]
