"""What a trained network withstands."""

from atentdsl.evaluation.attacks import Attack, attacks, modules, watch, watching
from atentdsl.evaluation.report import evaluation
from atentdsl.evaluation.unfinished import Unfinished, depends_on

__all__ = ["Attack", "Unfinished", "attacks", "depends_on", "evaluation", "modules", "watch", "watching"]
