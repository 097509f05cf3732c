"""How a step runs on a device: number and memory formats, the optimizer's kernel, a captured graph.

What is chosen depends on the machine and stands in the run's manifest, never in the generated text.

| | processor | CUDA |
| --- | --- | --- |
| `auto` is bfloat16 | with `amx_bf16` or `avx512_bf16` | from capability 8.0 |
| channels-last | networks with convolutions over images | the same |
| subnormals flushed | yes | the hardware's own way |
| freed memory kept | with glibc | torch keeps its own |
| fused optimizer, captured graph | no | yes |
"""

from __future__ import annotations

from typing import Literal, get_args

import attrs
import torch
from torch import nn

from atentdsl.runtime import allocator, machine

__all__ = ["ASKED", "AS_WRITTEN", "PRECISIONS", "Policy", "chosen", "policy_of"]

Precision = Literal["float32", "bfloat16"]
PRECISIONS: tuple[str, ...] = get_args(Precision)
ASKED = ("auto", *PRECISIONS)

# Instructions that multiply bfloat16 numbers; without them torch computes in float32 and rounds, which is slower.
FAST_FLAGS = frozenset({"amx_bf16", "avx512_bf16"})
FAST_CAPABILITY = (8, 0)


@attrs.frozen
class Policy:
    """What a step runs by.

    Attributes:
        precision: of the network's passes; weights, points, losses and the update stay float32.
        channels_last: the memory format of images and of the weights of convolutions.
        flush_subnormals: numbers below 1.2e-38 are taken for 0 during the step.
        keep_freed: the process keeps the memory that it frees, for the next step.
        fused: one kernel updates all weights.
        graph: the step is captured once as a CUDA graph and replayed.
    """

    precision: Precision = "float32"
    channels_last: bool = False
    flush_subnormals: bool = False
    keep_freed: bool = False
    fused: bool = False
    graph: bool = False

    @property
    def line(self) -> str:
        """The policy in one line.

        >>> Policy("bfloat16", channels_last=True).line
        'bfloat16, channels-last'
        """
        chosen = {
            "channels-last": self.channels_last,
            "subnormals flushed": self.flush_subnormals,
            "freed memory kept": self.keep_freed,
            "fused optimizer": self.fused,
            "captured graph": self.graph,
        }
        return ", ".join([self.precision, *(name for name, on in chosen.items() if on)])


AS_WRITTEN = Policy()
"""Nothing is chosen: float32, as the text says."""


def chosen(asked: str, *, cuda: bool, fast_bfloat16: bool, convolutions: bool, can_keep: bool = False) -> Policy:
    """The policy for a device.

    Args:
        asked: one of `ASKED`, the recipe's `[compile] precision`.
        cuda: whether the network is on a CUDA device, else on the processor.
        fast_bfloat16: whether the device multiplies bfloat16 numbers itself.
        convolutions: whether the network has weights of four dimensions.
        can_keep: whether the process can be made to keep the memory that it frees.

    Raises:
        ValueError: there is no such precision.

    >>> chosen("auto", cuda=False, fast_bfloat16=True, convolutions=False).line
    'bfloat16, subnormals flushed'
    """
    if asked not in ASKED:
        raise ValueError(f"unknown precision {asked!r}; choose one of {', '.join(ASKED)}")
    reduced = asked == "bfloat16" or (asked == "auto" and fast_bfloat16)
    return Policy(
        precision="bfloat16" if reduced else "float32",
        channels_last=convolutions,
        flush_subnormals=not cuda,
        keep_freed=can_keep and not cuda,
        fused=cuda,
        graph=cuda,
    )


def policy_of(model: nn.Module, asked: str) -> Policy:
    """The policy for the network on the device that its weights are on.

    Raises:
        ValueError: there is no such precision.
    """
    own = list(model.parameters())
    device = own[0].device if own else torch.device("cpu")
    if device.type == "cuda":
        fast = torch.cuda.get_device_capability(device) >= FAST_CAPABILITY
    else:
        fast = not FAST_FLAGS.isdisjoint(machine.processor_flags())
    convolutions = any(p.dim() == 4 for p in own)
    return chosen(
        asked,
        cuda=device.type == "cuda",
        fast_bfloat16=fast,
        convolutions=convolutions,
        can_keep=allocator.can_keep(),
    )
