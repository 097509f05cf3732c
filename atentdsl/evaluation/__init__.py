"""What a trained network withstands."""

from atentdsl.evaluation.attacks import Attack, attacks, modules, watch, watching
from atentdsl.evaluation.report import evaluation

__all__ = ["Attack", "attacks", "evaluation", "modules", "watch", "watching"]
