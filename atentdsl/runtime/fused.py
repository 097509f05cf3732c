"""An optimizer on a device: its fused kernel, its numbers put in each step, its state stored and taken back.

How an optimizer is placed (`fused`, a learning rate that is a tensor) belongs to the device, and its state to the run:
a snapshot holds the state alone, so that a run goes on on another device.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

__all__ = ["fuse", "load", "numbers", "put", "stored"]

PLACEMENT = ("fused", "foreach", "capturable")


def fuse(optimizer: Optimizer, rate_on_device: bool) -> bool:
    """Have one kernel update all weights, where the optimizer's class has one; whether it has.

    Args:
        optimizer: before its first step.
        rate_on_device: keeps the learning rate in a tensor on the device, where a captured step reads it.

    >>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    >>> fuse(optimizer, rate_on_device=False), optimizer.param_groups[0]["fused"]
    (True, True)
    >>> fuse(torch.optim.Adadelta([torch.zeros(1, requires_grad=True)]), rate_on_device=False)
    False
    """
    groups = optimizer.param_groups
    if not all("fused" in group and not group.get("differentiable") for group in groups):
        return False
    if not all(p.is_floating_point() for group in groups for p in group["params"]):
        return False
    for group in groups:
        group["fused"], group["foreach"] = True, False
        if rate_on_device and group["params"]:
            group["lr"] = torch.tensor(float(group["lr"]), device=group["params"][0].device)
    return True


def put(optimizer: Optimizer, settings: Mapping[str, float]) -> None:
    """Puts a step's numbers into the optimizer's groups; a tensor keeps its place, where a captured step reads it.

    >>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    >>> put(optimizer, {"lr": 0.5})
    >>> optimizer.param_groups[0]["lr"]
    0.5
    """
    for group in optimizer.param_groups:
        for name, value in settings.items():
            if isinstance(group.get(name), Tensor):
                group[name].fill_(value)
            else:
                group[name] = value


def numbers(optimizer: Optimizer) -> list[dict[str, Any]]:
    """What a captured step has in it as numbers, by group; of a tensor, which it reads, only where it is.

    >>> numbers(torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1))[0]["lr"]
    0.1
    """
    return [
        {name: value.data_ptr() if isinstance(value, Tensor) else value for name, value in group.items()}
        for group in ({k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups)
    ]


def stored(optimizer: Optimizer) -> dict[str, Any]:
    """The optimizer's state for a snapshot, without anything of the device."""
    state = optimizer.state_dict()
    groups = [{k: v for k, v in group.items() if k not in PLACEMENT} for group in state["param_groups"]]
    return {**state, "param_groups": [{**group, "lr": float(group["lr"])} for group in groups]}


def load(optimizer: Optimizer, state: Mapping[str, Any]) -> None:
    """Takes back what `stored` gave; the optimizer stays placed as it is.

    Raises:
        KeyError, ValueError: the state is another optimizer's.
    """
    placed = [{k: group[k] for k in (*PLACEMENT, "lr") if k in group} for group in optimizer.param_groups]
    # Before it is loaded, as torch puts a count of steps where a fused optimizer wants it.
    groups = [{**group, **own} for group, own in zip(state["param_groups"], placed, strict=True)]
    optimizer.load_state_dict({**state, "param_groups": groups})
    for group, own, given in zip(optimizer.param_groups, placed, state["param_groups"], strict=True):
        if isinstance(own["lr"], Tensor):
            group["lr"] = own["lr"].fill_(float(given["lr"]))  # torch copies what it is given
        else:
            group["lr"] = float(given["lr"])
