"""Attacks as a recipe and the command line name them: `NAME`, or `NAME,KEY=VALUE,…`.

    pgd-20                            twenty steps of projected gradient descent; what is not said, `[evaluate]` says
    pgd-40,restarts=10,loss=margin    with settings of its own
    table2-pgd                        an attack of the paper's tables, by its name
    sampler,restarts=5                the recipe's own samplers, as many times

A value is read when the recipe is checked; no attack is looked for that the recipe cannot run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

import attrs

from atentdsl.source import suggest

Norm = Literal["linf", "l2", "l1"]
NORMS: tuple[Norm, ...] = ("linf", "l2", "l1")
LOSSES = ("cross_entropy", "dlr", "margin")
"""What projected gradient descent may climb: losses of logits and labels alone."""

PARTS = ("apgd-ce", "apgd-dlr", "apgd-t", "fab", "fab-t", "square")
"""The attacks that AutoAttack is made of, each by itself."""
OWN = "sampler"
"""The recipe's own samplers, which attack as they train."""
LIBRARY = ("autoattack", "autoattack-plus", "autoattack-rand", *PARTS)

# What each attack takes beside its norm and radius, and the norms that it knows.
KEYS: Mapping[str, tuple[str, ...]] = {
    "pgd": ("step_size", "restarts", "loss"),
    "fgsm": ("loss",),
    "cw": ("restarts",),
    "deepfool": (),
    OWN: ("restarts",),
    **dict.fromkeys(LIBRARY, ()),
}
KNOWN_NORMS: Mapping[str, tuple[Norm, ...]] = {"deepfool": ("linf", "l2"), "cw": ("linf", "l2")}
STEPPED = "pgd"
"""The kind whose name has the number of its steps in it."""

# Settings of published tables (Jagatap et al., section 4 and Appendix A; `-code`: what the published scripts evaluate).
PRESETS: Mapping[str, str] = {
    "table1-pgd": "pgd-40,norm=l2,radius=2.0,step_size=0.25,restarts=10",
    "table1-cw": "cw,norm=l2,radius=2.0",
    "table2-pgd": "pgd-20,norm=linf,radius=0.3,step_size=0.01",
    "table2-pgd-code": "pgd-40,norm=linf,radius=0.3,step_size=0.01",
    "table2-cw": "cw,norm=linf,radius=0.3",
    "table3-pgd": "pgd-20,norm=linf,radius=0.031,step_size=0.003",
    "table3-cw": "cw,norm=linf,radius=0.031",
    "table3-deepfool": "deepfool,norm=linf,radius=0.031",
    "table4-pgd": "pgd-10,norm=l2,radius=0.5,step_size=0.125",
    "table4-pgd-1": "pgd-10,norm=l2,radius=1.0,step_size=0.25",
    **{f"table6-pgd-{level}": f"pgd-20,norm=linf,radius={level / 255:.5f},step_size=0.003" for level in (2, 4, 8, 12)},
}
WRITTEN = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*(?:,[a-z_]+=[A-Za-z0-9.+_-]+)*")
"""The shape of a name with its settings."""


class NotAnAttack(ValueError):
    """A text that names no attack.

    Attributes:
        mend: what to write instead.
    """

    def __init__(self, message: str, mend: str) -> None:
        super().__init__(message)
        self.mend = mend


@attrs.frozen
class AttackName:
    """What a name says; None where it leaves it to `[evaluate]`.

    Attributes:
        text: as written; names the attack in every report.
        kind: `pgd`, `fgsm`, `cw`, `deepfool`, `sampler`, or one of AutoAttack's versions and parts.
        steps: of projected gradient descent; 1 for the fast gradient sign method, 0 where it has none.
        norm, radius, step_size, restarts: lengths in units of inputs in [0, 1].
        loss: what is climbed.
    """

    text: str
    kind: str
    steps: int = 0
    norm: Norm | None = None
    radius: float | None = None
    step_size: float | None = None
    restarts: int | None = None
    loss: str = "cross_entropy"

    @property
    def watches(self) -> bool:
        """Whether training can be watched by it: gradient steps, whose cost is known and small."""
        return self.kind in {"pgd", "fgsm"}


def names() -> list[str]:
    """Every name there is, `pgd-N` for those with a number in them, then those of the paper's tables.

    >>> names()[:3], "table2-pgd" in names()
    (['pgd-N', 'fgsm', 'cw'], True)
    """
    return [f"{kind}-N" if kind == STEPPED else kind for kind in KEYS] + list(PRESETS)


def attack_name(text: str) -> AttackName:
    """What the text says.

    Raises:
        NotAnAttack: there is no such attack, or a setting is not one of its own; says what to write.

    >>> attack_name("pgd-40,restarts=10").restarts
    10
    >>> attack_name("table2-pgd").step_size
    0.01
    """
    head, *settings = text.split(",")
    keys = [setting.partition("=")[0] for setting in settings]
    if twice := next((key for i, key in enumerate(keys) if key in keys[:i]), None):
        raise NotAnAttack(f"`{head}` is given `{twice}` twice", "write it once")
    if head in PRESETS:
        head, *own = PRESETS[head].split(",")
        settings = own + settings
    number = re.fullmatch(rf"{STEPPED}-([1-9][0-9]{{0,3}})", head)
    kind = STEPPED if number else head
    if kind not in KEYS or head == STEPPED:
        near = f"{STEPPED}-20" if head.startswith(STEPPED) else suggest(head, [*KEYS, *PRESETS])
        hint = f"did you mean `{near}`? " if near else ""
        raise NotAnAttack(f"there is no attack `{head}`", f"{hint}there are: {', '.join(names())}")
    steps = int(number[1]) if number else int(kind == "fgsm")
    found = dict(_setting(kind, setting) for setting in settings)
    return AttackName(text, kind, steps, **found)  # type: ignore[arg-type]


def _setting(kind: str, text: str) -> tuple[str, str | float | int]:
    """One setting, read."""
    key, equals, value = text.partition("=")
    allowed = ("norm", "radius", *KEYS[kind])
    if key not in allowed or not equals:
        near = suggest(key, allowed)
        hint = f"did you mean `{near}`? " if near else ""
        raise NotAnAttack(f"`{kind}` has no setting `{key}`", f"{hint}it has: {', '.join(allowed)}")
    if key in {"norm", "loss"}:
        choices: tuple[str, ...] = KNOWN_NORMS.get(kind, NORMS) if key == "norm" else LOSSES
        if value not in choices:
            raise NotAnAttack(f"`{key}` of `{kind}` cannot be `{value}`", f"write one of: {', '.join(choices)}")
        return key, value
    try:
        read = int(value) if key == "restarts" else float(value)
    except ValueError:
        read = -1
    most = 1000
    if not (read > 0 or (key == "radius" and read == 0)) or read > most:
        least = "above 0" if key != "radius" else "from 0"
        raise NotAnAttack(f"`{key}` of `{kind}` cannot be `{value}`", f"write a number {least} to {most:,}")
    return key, read
