"""A plan as text: one operation a line, loops and regions indented."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from atentdsl.plan.margins import Climb, Middle, Narrow, Ray, Remember, Settle, Within
from atentdsl.plan.metropolis import Accept, Propose, proposal_of
from atentdsl.plan.operations import (
    Anchor,
    Between,
    Bounds,
    Carry,
    Clean,
    Clear,
    Displace,
    Evaluate,
    Frozen,
    Gather,
    Hold,
    Keep,
    Load,
    Move,
    Noise,
    Operation,
    Place,
    Project,
    PutAside,
    Recall,
    Repeat,
    Restore,
    Start,
    Take,
    Update,
    Worst,
    X,
)
from atentdsl.plan.program import Plan
from atentdsl.plan.values import Call, Scheduled


def dump(plan: Plan, limit: int | None = None) -> str:
    """The plan's text; of more than `limit` lines the middle is left out and counted."""
    lines = list(_lines(plan.operations, ""))
    if limit is not None and len(lines) > limit:
        head = limit // 2
        left = len(lines) - 2 * head
        lines = [*lines[:head], f"… {left} more …", *lines[-head:]]
    return "\n".join(lines)


def _lines(operations: tuple[Operation, ...], indent: str) -> Iterator[str]:
    for operation in operations:
        yield indent + _line(operation)
        if isinstance(operation, Frozen | Repeat):
            yield from _lines(operation.body, indent + "    ")


def _line(operation: Operation) -> str:
    match operation:
        case Take():
            return "take      x, y"
        case Anchor(sampler=name):
            return f"anchor    {name}.anchor = w"
        case Start():
            return f"start     {_start(operation)}"
        case Load(sampler=name):
            return f"load      w = {name}"
        case Noise(sigma=sigma, draws=draws, stream=stream):
            return f"noise     {draws} times {_value(sigma)} * xi, from {stream}"
        case Clean(mode=mode):
            return f"clean     the logits at {X} are kept, {mode} mode{_smoothed(operation)}"
        case Evaluate(wants="input", loss=loss, mode=mode, at=at):
            return f"evaluate  g = input gradient of {loss.kind} at {at}, {mode} mode{_seen(operation)}"
        case Evaluate(wants="weights", loss=loss, mode=mode, at=at, coefficient=c):
            return f"evaluate  weight gradient of {_number(c)} * {loss.kind} at {at}, {mode} mode{_seen(operation)}"
        case Evaluate(wants="both", loss=loss, mode=mode, at=at, coefficient=c):
            both = f"g and weight gradient of {_number(c)} * {loss.kind}"
            return f"evaluate  {both} at {at}, {mode} mode{_seen(operation)}"
        case Evaluate(wants="density", loss=loss, mode=mode, at=at):
            return f"evaluate  losses and input gradient of {loss.kind} at {at}, {mode} mode{_seen(operation)}"
        case Evaluate(loss=loss, mode=mode, at=at):
            return f"evaluate  losses: {loss.kind} at {at}, {mode} mode{_seen(operation)}"
        case PutAside(sampler=name):
            return f"aside     the gradients gathered, for the target of {name}"
        case Gather(sampler=name):
            return f"gather    g = target gradient of {name}"
        case Move():
            return f"move      {_move(operation)}"
        case Project(sampler=name, call=call):
            return f"project   {name} = {_call(call)}"
        case Bounds(sampler=name, anchor=anchor, radius=radius):
            return f"bounds    {name}.low, {name}.high = box around {anchor} within {_value(radius)}"
        case Between(sampler=name):
            return f"project   {name} = between {name}.low and {name}.high"
        case Propose():
            return f"propose   {_propose(operation)}"
        case Accept():
            return f"accept    {_accept(operation)}"
        case Within(sampler=name, anchor=anchor, norm=norm, drawn=drawn):
            radii = "as remembered" if operation.remembers else f"of {_value(operation.initial)}"
            where = f"a point of the ball, from {operation.stream}" if drawn else "the centre"
            return f"within    {name} = {where} around {anchor} in {norm}, radii {radii}"
        case Climb(sampler=name, norm=norm, step=step, moves=moves):
            return f"climb     {name} along g by {_value(step)} / {moves} radii, inside the {norm} ball and the box"
        case Ray(sampler=name, anchor=anchor, largest=largest):
            return (
                f"ray       {name}.ray from {anchor} through {name}, up to {_value(largest)}, its bracket by the losses"
            )
        case Middle(sampler=name):
            return f"middle    {name} = the middle of its bracket"
        case Narrow(sampler=name):
            return f"narrow    {name}'s bracket to a half, by the losses"
        case Settle(sampler=name, anchor=anchor, largest=largest):
            chosen = f"c = 1 below {_value(largest)}, else 0"
            return f"settle    {name} = at its margin, {chosen}; {anchor} with c = 1 where the losses say it is wrong"
        case Remember(sampler=name):
            return f"remember  {name}'s margins as its examples' next radii"
        case Displace(sampler=name, coefficient=c, gain=gain):
            return f"displace  weight gradient of {_scaled(gain, _number(c))} * |{name}.anchor - {name}|^2 / 2"
        case Clear(sampler=name, shelf=shelf):
            return f"clear     {name}.{shelf}"
        case Hold(sampler=name, shelf=shelf):
            return f"hold      {name} in {name}.{shelf}"
        case Worst(sampler=name):
            return f"worst     {name}.worst = {name}.candidates where the losses are higher"
        case Recall(sampler=name, shelf=shelf, index=index):
            return f"recall    {name} = {name}.{shelf}[{'k' if index == 'loop' else index}]"
        case Keep(at=at, coefficient=c):
            return f"keep      {at} with weight {_number(c)}{' * c of each example' if operation.chosen else ''}"
        case Carry(sampler=name, anchor=anchor):
            return f"carry     {name} - {anchor} to the next step"
        case Update(clip=clip):
            return f"update    w{'' if clip is None else f', the gradient shortened to {_value(clip)} at most'}"
        case Restore(sampler=name, how="anchor"):
            return f"restore   w = {name}.anchor"
        case Restore(sampler=name):
            return f"restore   w = w - ({name} - {name}.anchor)"
        case Place():
            return "place     the step where the device runs it fastest"
        case Frozen():
            return "frozen    weights ask for no gradient:"
        case Repeat(count=count, coefficients=coefficients, first=first):
            listed = f" with c in {', '.join(map(_number, coefficients))}" if coefficients else ""
            counted = f" with k from {first}" if first is not None else ""
            return f"repeat    {count} times{listed}{counted}:"


def _seen(evaluation: Evaluate) -> str:
    """What else an evaluation sees beside the point itself."""
    chosen = ", times c of each example" if evaluation.chosen else ""
    worst = "" if evaluation.radius is None else f", worst logits within {_value(evaluation.radius)} by interval bounds"
    return _clean(evaluation) + _smoothed(evaluation) + worst + chosen


def _smoothed(operation: Evaluate | Clean) -> str:
    smoothed = operation.smoothed
    return "" if smoothed is None else f", {smoothed.average} averaged over {smoothed.draws} noisy copies"


def _clean(evaluation: Evaluate) -> str:
    """Where its clean logits come from, if it asks for any."""
    if evaluation.clean == "kept":
        return ", clean logits as kept"
    times = f" {evaluation.clean} times" if evaluation.clean != 1 else ""
    return f", clean logits made{times}" if evaluation.clean else ""


def _start(start: Start) -> str:
    if start.call is None:
        return f"{start.sampler} = {start.anchor}"
    drawn = f"  from {start.stream}" if start.call.primitive.draws else ""
    return f"{start.sampler} = {_call(start.call)} of {start.anchor}{drawn}"


def _move(move: Move) -> str:
    name = move.sampler
    gradient = _scaled(move.scale, "g")
    gradient = f"-{gradient}" if move.descend else gradient
    gradient = f"{gradient} / n" if move.batch_mean else gradient
    if move.momentum:
        kind = "nesterov" if move.momentum.nesterov else "momentum"
        inner = f"l1({gradient})" if move.momentum.normalise == "l1" else gradient
        gradient = f"{kind}({inner}, mu={_value(move.momentum.mu)})"
    pull = f" + {_call(move.coupling)}" if move.coupling else ""
    inner = gradient + pull if move.covers == "energy" else gradient
    drift = f"{move.drift.kind}({inner})" if move.drift else inner
    drift += pull if move.covers == "loss" and move.pull == "time" else ""
    moved = _call(move.kernel) + (pull if move.pull == "move" else "")
    return f"{name} = {moved}  along {drift}" + (f", noise from {move.stream}" if move.kernel.primitive.draws else "")


def _propose(propose: Propose) -> str:
    name, energy = propose.sampler, propose.energy
    gradient = f"{'-' if energy.descend else ''}{_scaled(energy.scale, 'g')}"
    pull = f" + {_call(energy.coupling)}" if energy.coupling else ""
    return f"{proposal_of(name)} = {_call(propose.kernel)}  along {gradient}{pull}, noise from {propose.stream}"


def _accept(accept: Accept) -> str:
    name = accept.sampler
    inside = f"where inside {' and '.join(map(_call, accept.support))}, " if accept.support else ""
    return f"{name} = {proposal_of(name)}  {inside}by {_call(accept.acceptance)}, chance from {accept.stream}"


def _scaled(factor: float | Scheduled, text: str) -> str:
    return text if factor == 1 else f"{_value(factor)} {text}"


def _call(call: Call) -> str:
    return f"{call.kind}({', '.join(f'{name}={_value(value)}' for name, value in call.arguments)})"


def _value(value: object) -> str:
    return f"{_call(value.call)} over {value.over}" if isinstance(value, Scheduled) else f"{value}"


def _number(c: Fraction | str | None) -> str:
    return f"{float(c):g}" if isinstance(c, Fraction) else "c"
