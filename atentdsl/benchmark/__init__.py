"""How far a compiled step is from what its network passes cost, what an epoch adds to its steps, and an attack."""

from atentdsl.benchmark.attack import measured_attack
from atentdsl.benchmark.epoch import measured_epoch
from atentdsl.benchmark.step import measured_step
from atentdsl.benchmark.subject import Subject

__all__ = ["Subject", "measured_attack", "measured_epoch", "measured_step"]
