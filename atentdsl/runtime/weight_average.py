"""An average of the network's weights over the course of training, which is measured and kept in their place.

It is held apart from the network, which trains on as if there were none, and is put into it while it is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import update_bn

from atentdsl.runtime.modes import mode_kept

__all__ = ["WeightAverage"]

Share = Callable[[int], float]


class WeightAverage:
    """The running average of a network's weights.

        a <- a + share(t) (w - a),   the t-th weights that enter it, counted from 1

    Attributes:
        count: how many have entered it; while there are none it is not there.
        tensors: the average, by the names of weights and buffers.

    Args:
        model: on its device, in the memory format that it is trained in.
        share: of the t-th weights; 1 of the first.
        from_epoch: the first epoch whose weights enter it.
        every: whether they enter it after every `step`, or after every `epoch`.
        statistics: whether buffers of floats are `averaged` beside the weights, or a batch norm's running statistics
            are `estimated` anew, from the network's inputs, before it is measured.

    >>> model = nn.Linear(1, 1, bias=False)
    >>> average = WeightAverage(model, lambda t: 1 / t, from_epoch=2, every="step", statistics="averaged")
    >>> for epoch, w in ((1, 9.0), (2, 1.0), (2, 4.0)):
    ...     _ = model.weight.data.fill_(w)
    ...     average.after_step(epoch, last=False)
    >>> with average.in_place():
    ...     print(model.weight.item())
    2.5
    >>> model.weight.item()
    4.0
    """

    def __init__(
        self,
        model: nn.Module,
        share: Share,
        *,
        from_epoch: int,
        every: Literal["step", "epoch"],
        statistics: Literal["averaged", "estimated"],
    ) -> None:
        self.count = 0
        self.tensors: dict[str, Tensor] = {}
        self._model, self._share, self._from_epoch, self._every = model, share, from_epoch, every
        self._estimated = statistics == "estimated"
        entering: dict[str, Tensor] = {name: p for name, p in model.named_parameters() if p.is_floating_point()}
        if not self._estimated:
            # Of infinities, such as a mask's, there is no mean.
            entering |= {n: b for n, b in model.named_buffers() if b.is_floating_point() and bool(b.isfinite().all())}
        self._names = tuple(entering)

    def after_step(self, epoch: int, last: bool) -> None:
        """To be told of each outer step, in which epoch it was, and whether it was the epoch's last."""
        if epoch < self._from_epoch or (self._every == "epoch" and not last):
            return
        self.count += 1
        own = self._own()
        weights = [own[name] for name in self._names]
        with torch.no_grad():
            if self.count == 1:
                self.tensors = {name: own[name].detach().clone() for name in self._names}
            elif weights:
                torch._foreach_lerp_(list(self.tensors.values()), weights, self._share(self.count))

    @contextmanager
    def in_place(self, inputs: Callable[[], Iterable[Tensor]] = tuple) -> Iterator[None]:
        """Within the block the network has the average, where there is one; afterwards its own weights and buffers.

        Args:
            inputs: batches, `(batch, *input)`, that running statistics are estimated from where that is asked for.
        """
        if not self.count:
            yield
            return
        own = self._own()
        before = {name: tensor.detach().clone() for name, tensor in own.items()}
        try:
            _copy(self.tensors, own)
            if self._estimated:
                _estimate(self._model, inputs())
            yield
        finally:
            _copy(before, own)

    def content(self) -> dict[str, Any]:
        """All of it as nested data, for a snapshot."""
        return {"count": self.count, "tensors": self.tensors}

    def fits(self, content: Mapping[str, Any]) -> bool:
        """Whether the content is of this network's average."""
        own, given = self._own(), content["tensors"]
        expected = self._names if content["count"] else ()
        return list(given) == list(expected) and all(
            (t.shape, t.dtype) == (own[name].shape, own[name].dtype) for name, t in given.items()
        )

    def restore(self, content: Mapping[str, Any]) -> None:
        """Becomes what `content` was taken from."""
        own = self._own()
        self.count = content["count"]
        self.tensors = {name: torch.empty_like(own[name]).copy_(t) for name, t in content["tensors"].items()}

    def _own(self) -> dict[str, Tensor]:
        return {**dict(self._model.named_parameters()), **dict(self._model.named_buffers())}


def _copy(given: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for name, tensor in given.items():
            own[name].copy_(tensor)


def _estimate(model: nn.Module, inputs: Iterable[Tensor]) -> None:
    """A batch norm's running statistics anew: the means of the batches' own. The network's mode stays what it is."""
    norms: Sequence[_BatchNorm] = [part for part in model.modules() if isinstance(part, _BatchNorm)]
    momenta = [part.momentum for part in norms]
    try:
        with mode_kept(model):
            update_bn(inputs, model)
    finally:  # it may have been stopped on the way
        for part, momentum in zip(norms, momenta, strict=True):
            part.momentum = momentum
