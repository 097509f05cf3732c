"""An evaluation's attack, timed in one run with the network passes that it is made of, at the fastest batch.

PGD of K steps makes, of each batch, K forwards with the gradient in the images, and one forward without any, which says
who has fallen; the limit makes these alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import torch
from torch import Tensor

from atentdsl.benchmark.limit import limit_step
from atentdsl.benchmark.subject import Subject
from atentdsl.benchmark.timing import WARM_UP, Clock, clock_of, in_turns, timed
from atentdsl.evaluation.fastest_batch import fastest
from atentdsl.evaluation.sampling import gradient_attack
from atentdsl.recipe import Threat, attack_name
from atentdsl.runtime import allocator
from atentdsl.runtime.modes import mode_kept

__all__ = ["KEYS", "measured_attack"]

KEYS = (
    "attack",
    "batch",
    "attack_ms",
    "limit_ms",
    "ratio_to_limit",
    "images_per_second",
    "device",
    "precision",
    "threads",
    "rounds",
)
RADIUS = 0.1  # no timing depends on it


def measured_attack(
    subject: Subject, rounds: int, steps: int = 20, clock: Clock | None = None, warm_up: int | None = None
) -> dict[str, Any]:
    """What an attack of PGD takes: the keys in `KEYS`; one restart, on drawn images, the network in float32.

    Args:
        subject: what is measured; all its images are counted as classified right.
        rounds: how often attack and limit are timed; medians are reported, and the median of the rounds' ratios.
        steps: of the attack.
        clock: in seconds; the device's where not given.
        warm_up: rounds before them that do not count; the device's where not given.
    """
    clock = clock or clock_of(subject.device)
    once = attrs.evolve(subject.recipe, evaluate=subject.recipe.evaluate.model_copy(update={"restarts": 1}))
    attack_ball, name = Threat("linf", RADIUS, ("evaluate", "radius")), attack_name(f"pgd-{steps}")
    attack = gradient_attack(once, name, attack_ball)
    network = subject.network.eval()

    def taken(batch: int) -> tuple[Tensor, Tensor]:
        index = torch.arange(batch, device=subject.device) % len(subject.images)
        return subject.images.take(index)

    one_step = gradient_attack(once, attack_name("pgd-1"), attack_ball).compiled.plan

    def seconds(batch: int) -> float:
        step = limit_step(one_step, network, *taken(batch))
        step()  # chooses kernels and asks for memory
        begin = clock()
        step()
        return clock() - begin

    allocator.keep()  # as an evaluation does
    with mode_kept(network):
        batch = fastest(seconds, len(subject.images))
        x, y = taken(batch)
        limit = limit_step(attack.compiled.plan, network, x, y)
        contenders: dict[str, Callable[[], float]] = {
            "attack": timed(lambda: attack.withstands(network, x, y, 0), clock),
            "limit": timed(lambda: (limit(), _answered(network, x)), clock),
        }
        timings = in_turns(contenders, rounds, WARM_UP[subject.device.type] if warm_up is None else warm_up)
    return {
        "attack": name.text,
        "batch": batch,
        "attack_ms": 1000 * timings.median("attack"),
        "limit_ms": 1000 * timings.median("limit"),
        "ratio_to_limit": timings.ratio("attack", "limit"),
        "images_per_second": batch / timings.median("attack"),
        "device": str(subject.device),
        "precision": "float32",
        "threads": torch.get_num_threads(),
        "rounds": rounds,
    }


def _answered(network: torch.nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        logits: Tensor = network(x)
    return logits
