"""An evaluation that goes on with what the same one had found when it was stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn

    from atentdsl.evaluation import Attack
    from atentdsl.recipe import Recipe


@contextmanager
def going_on(
    recipe: Recipe,
    network: nn.Module,
    attacks: Sequence[Attack],
    device: torch.device,
    *,
    own: bool,
    tell: Callable[[str], None] = lambda text: None,
) -> Iterator[Callable[..., dict[str, Any]]]:
    """Within the block `evaluation.evaluation`, set as the recipe says, which keeps what attacks find until its end.

    Args:
        recipe: seed, batch, precision, and whether attacks are independent.
        network, attacks, device: what is evaluated, by what, where.
        own: whether the network is the caller's; nothing is kept of one whose code is not this package's, since that
            may have changed when it is evaluated again.
        tell: is told when answers of before are taken up.

    Raises:
        EvaluationInterrupted: it was stopped, and something is kept.
    """
    from atentdsl.evaluation import Unfinished, depends_on, evaluation
    from atentdsl.runtime import user_code
    from atentdsl.runtime.errors import EvaluationInterrupted

    as_written = partial(
        evaluation,
        seed=recipe.header.seed,
        batch=recipe.evaluate.batch,
        independent=recipe.evaluate.independent,
        precision=recipe.evaluate.precision,
    )
    if own or user_code.is_code(recipe.model.name) or not attacks:
        yield as_written
        return
    unfinished = Unfinished.of(depends_on(recipe, network, attacks, device))
    if number := len(unfinished.known):
        tell(f"going on with an evaluation that was stopped: {number} batch{'es' * (number > 1)} of attacks are done")
    try:
        yield partial(as_written, remember=unfinished.remember)
    except KeyboardInterrupt as stop:
        if unfinished.known and type(stop) is KeyboardInterrupt:
            raise EvaluationInterrupted(len(unfinished.known)) from stop
        raise
    unfinished.end()
