"""Results as text for a terminal."""

from __future__ import annotations

from typing import Any


def evaluation_table(name: str, evaluation: dict[str, Any]) -> str:
    """Clean and robust accuracy, each attack with its whole setting.

    >>> attack = {"norm": "linf", "radius": 0.1, "steps": 20, "step_size": 0.0125, "restarts": 1}
    >>> attack["robust_accuracy"] = 0.5
    >>> print(evaluation_table("mine", {"split": "test", "n": 8, "clean_accuracy": 1.0, "attacks": {"pgd-20": attack}}))
    mine, 8 test images
    clean     100.0 %
    pgd-20     50.0 %  linf radius 0.1, 20 steps of 0.0125, 1 restart
    """
    lines = [
        f"{name}, {evaluation['n']} {evaluation['split']} images",
        f"clean     {_share(evaluation['clean_accuracy'])}",
    ]
    for attack, found in evaluation["attacks"].items():
        restarts = f"{found['restarts']} restart{'s' if found['restarts'] > 1 else ''}"
        setting = f"{found['norm']} radius {found['radius']:g}, {found['steps']} steps of {found['step_size']:g}"
        lines.append(f"{attack:<10}{_share(found['robust_accuracy'])}  {setting}, {restarts}")
    return "\n".join(lines)


def _share(fraction: float) -> str:
    return f"{fraction:>6.1%}".replace("%", " %")
