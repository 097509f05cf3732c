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
        channels_last: whether images are put into that order; False once the network was found not to take it.
        refused: why it does not take it; None while it does.
    """

    def __init__(self, network: nn.Module, reduced: bool, channels_last: bool) -> None:
        super().__init__()
        self.network, self.reduced, self.channels_last = network, reduced, channels_last
        self.refused: str | None = None
        self._tried = False

    def forward(self, x: Tensor) -> Tensor:
        """Logits `(batch, classes)` in x's own type, so that losses and perturbations keep their digits."""
        self.settle(x)
        if x.dim() == 4 and self.channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.reduced):
            logits: Tensor = self.network(x)
        return logits.to(x.dtype)

    @property
    def as_it_is(self) -> nn.Module:
        """The network in its own number format: what is bounded is not to be rounded."""
        return self.network

    def settle(self, x: Tensor) -> None:
        """Gives channels-last up where the network fails in it, and not in the usual order; looks once.

        Tried there and back on two of the images x, in train and in eval mode. Weights, gradients, buffers, modes and
        torch's generators are afterwards what they were.
        """
        if self._tried or not self.channels_last or x.dim() != 4:
            return
        self._tried = True
        devices = [x.device] if x.is_cuda else []
        for training in (True, False):
            with mode_kept(self.network), torch.random.fork_rng(devices):
                self.network.train(training)
                wrong = self._failure(x, torch.channels_last)
                if wrong is None or wrong == self._failure(x, torch.contiguous_format):
                    continue  # a failure in either order is the step's own to report
            self.refused, self.channels_last = wrong, False
            self.network.to(memory_format=torch.contiguous_format)
            return

    def _failure(self, x: Tensor, order: torch.memory_format) -> str | None:
        """What the network raises on two of the images, all in that order of memory; None where it raises nothing."""
        own = {
            name: _copy(p.detach(), order).requires_grad_(p.requires_grad)
            for name, p in self.network.named_parameters()
        }
        copies = own | {name: _copy(buffer.detach(), order) for name, buffer in self.network.named_buffers()}
        leaf = x.detach()[:2].clone().requires_grad_()
        try:
            with torch.enable_grad(), torch.autocast(x.device.type, torch.bfloat16, enabled=self.reduced):
                # A copy that is no leaf, as a network may change its input in place.
                logits: Tensor = torch.func.functional_call(self.network, copies, (_copy(leaf, order),))
            logits.sum().backward()  # type: ignore[no-untyped-call]
        except Exception as error:  # of the user's code, which may raise anything
            return f"{type(error).__name__}: {error}".strip(": ")
        return None


def _copy(tensor: Tensor, order: torch.memory_format) -> Tensor:
    """A copy in that order of memory, where the tensor has the four dimensions of one."""
    return tensor.clone(memory_format=order if tensor.dim() == 4 else torch.preserve_format)


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
