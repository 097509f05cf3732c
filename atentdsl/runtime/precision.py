"""The network that a step is made through: number format of its passes, memory format of its images.

Under bfloat16 the forward and backward passes of a step run in bfloat16 where torch holds that safe (autocast).
Weights, perturbed points, logits, losses and the update stay float32, and so does every accuracy that is reported.
Float64 is never cast.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from atentdsl.runtime.modes import mode_kept
from atentdsl.runtime.policy import Policy

__all__ = ["Prepared", "prepared"]


class Prepared(nn.Module):
    """A network whose passes run by a policy; shares its parameters, and follows its mode.

    Attributes:
        network: the network itself.
        reduced: whether its passes run in bfloat16.
        channels_last: whether images are put into that order; False from the first pass on where the network cannot
            take it.
    """

    def __init__(self, network: nn.Module, reduced: bool, channels_last: bool) -> None:
        super().__init__()
        self.network, self.reduced, self.channels_last = network, reduced, channels_last
        self._tried = False

    def forward(self, x: Tensor) -> Tensor:
        """Logits `(batch, classes)` in x's own type, so that losses and perturbations keep their digits."""
        if x.dim() == 4 and self.channels_last and not self._tried:
            self._try(x)
        if x.dim() == 4 and self.channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.reduced):
            logits: Tensor = self.network(x)
        return logits.to(x.dtype)

    def _try(self, x: Tensor) -> None:
        """Gives channels-last up where the network takes the memory of its layers' outputs for contiguous (`view`).

        Tried in eval mode, which draws nothing, without a gradient, and on copies of the buffers.
        """
        self._tried = True
        try:
            with mode_kept(self.network), torch.no_grad():
                self.network.eval()
                copies = {name: buffer.clone() for name, buffer in self.network.named_buffers()}
                few = x.detach()[:2].contiguous(memory_format=torch.channels_last)
                torch.func.functional_call(self.network, copies, (few,))
        except RuntimeError as error:
            if "view" in str(error):  # whatever else is wrong, the step itself says
                self.channels_last = False
                self.network.to(memory_format=torch.contiguous_format)


def prepared(network: nn.Module, policy: Policy) -> nn.Module:
    """The network to train through; its weights are `network`'s own.

    Args:
        network: maps `(batch, *input)` to logits `(batch, classes)`; under channels-last its weights are put into that
            order, in place.
        policy: its number and memory formats are taken.

    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    >>> prepared(network, Policy("float32")) is network
    True
    >>> fast = prepared(network, Policy("bfloat16"))
    >>> fast(torch.zeros(3, 1, 2, 2)).dtype, next(fast.parameters()) is next(network.parameters())
    (torch.float32, True)
    """
    if policy.precision == "float32" and not policy.channels_last:
        return network
    if policy.channels_last:
        network.to(memory_format=torch.channels_last)
    return Prepared(network, policy.precision == "bfloat16", policy.channels_last)
