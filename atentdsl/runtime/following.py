"""A network as a list of operations that a box of values can go through, found out by `torch.fx`.

What it is made of is looked up in the tables of `enclosures`; what stands in none of them is refused by name.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable
from typing import Any

import attrs
import torch
from torch import fx, nn

from atentdsl.runtime.enclosures import CONSTANT_FACTOR, FUNCTIONS, METHODS, MODULES, SHAPES, fault
from atentdsl.runtime.errors import BoundsUnknown
from atentdsl.runtime.modes import mode_kept

__all__ = ["Followed", "Step", "follow"]

Apply = Callable[..., Any]


@attrs.frozen(eq=False)
class Step:
    """One operation of a network.

    Attributes:
        node: names its value, and the values that it is made of.
        apply: takes the network and the operation's arguments.
        dead: the values that nothing reads after it.
    """

    node: fx.Node
    apply: Apply
    dead: tuple[fx.Node, ...]


@attrs.frozen(eq=False)
class Followed:
    """A network as a list of operations.

    Attributes:
        steps: in their order, without the linear last layer.
        last: that layer's place in the network; None where another operation is the last.
        input, output: the values that go into the steps and come out of them.
    """

    steps: tuple[Step, ...]
    last: str | None
    input: fx.Node
    output: fx.Node


class _Tracer(fx.Tracer):
    """Looks into every part of a network but torch's own layers and the normalisation.

    What a forward computes of weights and buffers alone is recorded too, and not taken for a constant.
    """

    proxy_buffer_attributes = True

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether the part is one operation."""
        return type(m) in MODULES or super().is_leaf_module(m, module_qualified_name)


def follow(model: nn.Module) -> Followed:
    """The network's operations in eval mode; its mode is left as it was.

    Raises:
        BoundsUnknown: one of them is of no known kind, or the network cannot be followed.

    >>> follow(nn.Sequential(nn.Flatten(), nn.Sequential(nn.ReLU(), nn.Linear(4, 2)))).last
    '1.1'
    """
    whole = _kind(model)
    try:
        with mode_kept(model):
            model.eval()
            nodes = list(_Tracer().trace(nn.Sequential(model)).nodes)  # which calls the network with its input alone
    except Exception as error:  # of the network's own code, which may raise anything
        reason = [*str(error).strip().splitlines(), type(error).__name__][0]
        raise BoundsUnknown(whole, f"its forward cannot be followed: {reason}") from error
    entry, *inner, end = nodes
    output = end.args[0]
    boxes, operations = {entry}, list[tuple[fx.Node, Apply]]()
    for node in inner:
        apply, boxed = _operation(model, node, boxes)
        operations.append((node, apply))
        boxes |= {node} if boxed else set()
    if not isinstance(output, fx.Node) or output not in boxes:
        raise BoundsUnknown(whole, "it returns something else than logits")
    last = _place(output) if output.op == "call_module" else None
    if last is not None and type(model.get_submodule(last)) is nn.Linear:
        operations = [(node, apply) for node, apply in operations if node is not output]
        (output,) = output.all_input_nodes
    else:
        last = None
    return Followed(_with_the_dead(operations, output), last, entry, output)


def _with_the_dead(operations: list[tuple[fx.Node, Apply]], output: fx.Node) -> tuple[Step, ...]:
    """The steps, each with the values that are read by it for the last time."""
    steps = list[Step]()
    read = {output}
    for node, apply in reversed(operations):
        dead = tuple(value for value in node.all_input_nodes if value not in read)
        read |= set(dead)
        steps.insert(0, Step(node, apply, dead))
    return tuple(steps)


def _operation(model: nn.Module, node: fx.Node, boxes: set[fx.Node]) -> tuple[Apply, bool]:
    """What an operation does with its arguments, and whether it gives a box."""
    target: Any = node.target
    inside = boxes.intersection(node.all_input_nodes)
    if node.op == "get_attr":
        place = _place(node)
        if not place:
            raise BoundsUnknown(_kind(model), "it computes with a tensor that is neither a weight nor a buffer of it")
        return lambda network: operator.attrgetter(place)(network), False
    if node.op == "call_module":
        return _layer(model, node, inside), True
    function = node.op == "call_function"
    if not inside:  # of numbers and weights alone
        plain = target if function else lambda value, *given, **named: getattr(value, target)(*given, **named)
        return lambda _, *given, **named: plain(*given, **named), False
    if target is getattr and node.args[1] in SHAPES:
        return lambda _, box, name: getattr(box.centre, name), False
    if not function and target in SHAPES:
        return lambda _, box, *given: getattr(box.centre, target)(*given), False
    rule = (FUNCTIONS if function else METHODS).get(target)
    says = f"`{getattr(target, '__name__', target)}` in {_around(model, node)}"
    if rule is None:
        raise BoundsUnknown(says, "no rule is known for it")
    own = [value for value in node.args if isinstance(value, fx.Node) and value in boxes]
    try:
        inspect.signature(rule).bind(*node.args, **node.kwargs)
    except TypeError as error:
        raise BoundsUnknown(says, f"it is called with more than is known of it: {error}") from error
    if len(set(own)) < len(inside):
        raise BoundsUnknown(says, "its first arguments alone may depend on the input")
    if target in CONSTANT_FACTOR and (len(own) > 1 or (target in DIVISIONS and node.args[0] not in own)):
        raise BoundsUnknown(says, "it multiplies or divides by what depends on the input")
    if node.kwargs.get("inplace") and len(own[0].users) > 1:
        raise BoundsUnknown(says, CHANGED)
    return lambda _, *given, **named: rule(*given, **named), True


DIVISIONS = frozenset({operator.truediv, torch.div})
CHANGED = "it changes a value in place that is read elsewhere"


def _layer(model: nn.Module, node: fx.Node, inside: set[fx.Node]) -> Apply:
    """What a layer does with a box."""
    place = _place(node)
    layer = model.get_submodule(place)
    says = f"layer `{place}` ({type(layer).__name__})" if place else _kind(layer)
    rule, wrong = MODULES.get(type(layer)), fault(layer)
    if rule is None:
        raise BoundsUnknown(says, "no rule is known for it")
    if len(node.args) != 1 or node.kwargs or inside != {node.args[0]}:
        raise BoundsUnknown(says, "it takes more than one value, or one that does not depend on the input")
    (value,) = inside
    if wrong or (getattr(layer, "inplace", False) and len(value.users) > 1):
        raise BoundsUnknown(says, wrong or CHANGED)
    return lambda network, box: rule(network.get_submodule(place), box)


def _place(node: fx.Node) -> str:
    """Where a part is in the network, which was followed as part of another."""
    return str(node.target).partition(".")[2]


def _kind(model: nn.Module) -> str:
    return f"the network ({type(model).__name__})"


def _around(model: nn.Module, node: fx.Node) -> str:
    """The part of the network whose forward calls the node's function."""
    parts = list(node.meta.get("nn_module_stack", {}).values())
    place = str(parts[-1][0]).partition(".")[2] if parts else ""
    return f"layer `{place}` ({type(model.get_submodule(place)).__name__})" if place else _kind(model)
