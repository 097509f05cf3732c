"""A recipe: loaded from TOML or a dict, laid over what it extends, and checked."""

from atentdsl.recipe.checking import primitive_of
from atentdsl.recipe.loading import load, text_of
from atentdsl.recipe.tables import Recipe
from atentdsl.recipe.threat import Threat, threat

__all__ = ["Recipe", "Threat", "load", "primitive_of", "text_of", "threat"]
