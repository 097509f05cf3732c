"""A recipe: loaded from TOML or a dict, laid over what it extends, and checked."""

from atentdsl.recipe.attack_names import AttackName, NotAnAttack, attack_name
from atentdsl.recipe.checking import primitive_of
from atentdsl.recipe.loading import load, text_of
from atentdsl.recipe.tables import Recipe
from atentdsl.recipe.threat import Threat, threat, threat_of

__all__ = [
    "AttackName",
    "NotAnAttack",
    "Recipe",
    "Threat",
    "attack_name",
    "load",
    "primitive_of",
    "text_of",
    "threat",
    "threat_of",
]
