"""How far a compiled step is from what its network passes cost, and what an epoch adds to its steps."""

from atentdsl.benchmark.epoch import measured_epoch
from atentdsl.benchmark.step import measured_step
from atentdsl.benchmark.subject import Subject

__all__ = ["Subject", "measured_epoch", "measured_step"]
