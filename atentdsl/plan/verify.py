"""The plan's rules, checked after lowering and after every pass: a plan that breaks one is a fault of the compiler."""

from __future__ import annotations

from fractions import Fraction

from atentdsl.plan.operations import Evaluate, Frozen, Keep, Move, Operation, Plan, Project, Repeat, Start, Take, Update


class PlanError(Exception):
    """A plan breaks a rule: a fault of lowering or of a pass, never of a recipe."""


def verify(plan: Plan) -> Plan:
    """The plan itself, if it keeps every rule.

    Raises:
        PlanError: it takes no batch first, moves along a gradient taken elsewhere, projects a move that was not made,
            hands nothing on, updates twice or never, evaluates weights where they are frozen or in eval mode, or has a
            loop whose coefficients do not match its turns.
    """
    _structure(plan.operations, frozen=False, looped=False)
    flat = list(plan.flat())
    _rule(bool(flat) and isinstance(flat[0], Take), "a plan begins with its batch")
    _rule(sum(isinstance(o, Take) for o in flat) == 1, "a plan takes one batch")
    fresh = moved = False  # does g belong to the current z; has z moved since it started?
    for operation in flat:
        if isinstance(operation, Evaluate) and operation.wants == "input":
            fresh = True
        elif isinstance(operation, Move):
            _rule(fresh, "a move needs the gradient at its own point")
            fresh, moved = False, True
        elif isinstance(operation, Start):
            fresh = moved = False
        elif isinstance(operation, Project):
            _rule(moved == (operation.after == "move"), "a projection says whether it follows the start or a move")
            fresh = False
    handed = [o for o in flat if isinstance(o, Keep) or (isinstance(o, Evaluate) and o.wants == "weights")]
    _rule(bool(handed), "a plan hands on at least one point")
    _rule(
        all(isinstance(o, Keep) == (plan.goal == "draw") for o in handed), "points are kept to draw, evaluated to train"
    )
    updates = [i for i, o in enumerate(flat) if isinstance(o, Update)]
    _rule(updates == ([len(flat) - 1] if plan.goal == "train" else []), "one update ends a plan that trains")
    return plan


def _structure(operations: tuple[Operation, ...], frozen: bool, looped: bool) -> None:
    for operation in operations:
        if isinstance(operation, Frozen):
            _rule(not frozen, "a frozen region holds no other")
            _structure(operation.body, True, looped)
        elif isinstance(operation, Repeat):
            listed = bool(operation.coefficients)
            _rule(operation.count >= 2, "a loop runs at least twice")
            _rule(len(operation.coefficients) in {0, operation.count}, "a loop has a coefficient for each turn")
            for coefficient in operation.coefficients:
                _coefficient(coefficient, looped)
            _structure(operation.body, frozen, looped or listed)
        elif isinstance(operation, Evaluate):
            weights = operation.wants == "weights"
            _rule(not (weights and frozen), "frozen weights have no gradient")
            _rule(not weights or operation.mode == "train", "the signal's gradient is taken in train mode")
            _rule(
                weights == (operation.coefficient is not None), "weight evaluations, and they alone, have a coefficient"
            )
            _coefficient(operation.coefficient, looped)
        elif isinstance(operation, Keep):
            _coefficient(operation.coefficient, looped)


def _coefficient(coefficient: Fraction | str | None, looped: bool) -> None:
    if coefficient == "loop":
        _rule(looped, "a loop's coefficient stands inside a loop that lists them")
    elif coefficient is not None:
        _rule(coefficient != 0, "a point of coefficient 0 is not handed on")


def _rule(holds: bool, rule: str) -> None:
    if not holds:
        raise PlanError(rule)
