"""Which of the paper's lines an operation stands for (Jagatap et al.; its algorithms number them differently)."""

from __future__ import annotations

from typing import Any

import attrs


@attrs.frozen
class Citations:
    """The paper's lines by what is done there; empty where the paper has none."""

    batch: str = ""
    start: str = ""
    gradient: str = ""
    move: str = ""
    project: str = ""
    average: str = ""
    update: str = ""


_PLAIN = Citations(update="Eq. 7")


def citations(sampler: Any) -> Citations:
    """The lines of the algorithm that a sampler is an instance of.

    A chain of weights whose displacement is averaged is Alg. 3. Of data, a Langevin chain coupled to its anchor is
    Alg. 1, an uncoupled one Alg. 2; a gradient chain whose last point alone carries weight is Alg. 4. Anything else
    cites the equations.
    """
    if sampler is None or sampler.kernel is None:
        return _PLAIN
    if sampler.space == "weights":
        if sampler.averaging.of == "gradient":
            return _PLAIN
        return Citations(
            batch="Alg. 3, line 3",
            start="Alg. 3, line 4",
            gradient="Alg. 3, line 6",
            move="Alg. 3, line 7",
            average="Alg. 3, lines 8, 11",
            update="Alg. 3, line 11",
        )
    if sampler.kernel.kind == "langevin":
        number = 1 if sampler.target.coupling.kind == "l2" else 2
        return Citations(
            batch=f"Alg. {number}, line 3",
            start=f"Alg. {number}, line 4",
            gradient=f"Alg. {number}, line 7",
            move=f"Alg. {number}, line 8",
            project=f"Alg. {number}, line 8" if number == 2 else "",
            average=f"Alg. {number}, lines 9-10",
            update=f"Alg. {number}, lines 12-13",
        )
    if sampler.kernel.kind == "gradient" and sampler.averaging.kind == "last":
        lines = ("3", "4", "6", "7", "8", "10", "11-12")
        return Citations(*(f"Alg. 4, line{'s' if '-' in line else ''} {line}" for line in lines))
    return Citations(gradient="Eq. 9", move="Eq. 9", average="Eq. 6", update="Eq. 7")
