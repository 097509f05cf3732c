"""The plan: a recipe lowered to a short list of typed operations, and an interpreter that executes it."""

from atentdsl.plan.cost import units, units_as_usually_written
from atentdsl.plan.dump import dump
from atentdsl.plan.interpret import interpret
from atentdsl.plan.lower import lower
from atentdsl.plan.program import Plan
from atentdsl.plan.trace import Trace
from atentdsl.plan.verify import PlanError, verify

__all__ = ["Plan", "PlanError", "Trace", "dump", "interpret", "lower", "units", "units_as_usually_written", "verify"]
