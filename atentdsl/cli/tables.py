"""Results as text for a terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table


def evaluation_table(name: str, evaluation: dict[str, Any]) -> str:
    """Clean and robust accuracy, each attack with its whole setting.

    >>> attack = {"norm": "linf", "radius": 0.1, "steps": 20, "step_size": 0.0125, "restarts": 1}
    >>> attack["robust_accuracy"] = 0.5
    >>> print(evaluation_table("mine", {"split": "test", "n": 8, "clean_accuracy": 1.0, "attacks": {"pgd-20": attack}}))
    mine, 8 test images
    clean     100.0 %
    pgd-20     50.0 %  linf radius 0.1, 20 steps of 0.0125, 1 restart
    """
    of = f" of {evaluation['data']}" if "data" in evaluation else ""
    lines = [
        f"{name}, {evaluation['n']} {evaluation['split']} images{of}",
        f"clean     {_share(evaluation['clean_accuracy'])}",
    ]
    for attack, found in evaluation["attacks"].items():
        restarts = f"{found['restarts']} restart{'s' if found['restarts'] > 1 else ''}"
        setting = f"{found['norm']} radius {found['radius']:g}, {found['steps']} steps of {found['step_size']:g}"
        lines.append(f"{attack:<10}{_share(found['robust_accuracy'])}  {setting}, {restarts}")
    return "\n".join(lines)


def step_table(found: dict[str, Any]) -> str:
    """What `bench` found: a line for each way to make a step, against the compiled one.

    >>> found = {"literal_ms": 30.0, "compiled_ms": 10.0, "limit_ms": 8.0, "units_literal": 50, "units_compiled": 25}
    >>> found |= {"images_per_second": 6400.0, "peak_memory_mb": 12.0, "ratio_to_limit": 1.25}
    >>> found |= {"device": "cpu", "precision": "float32", "threads": 1, "rounds": 20, "tolerance": 0.002}
    >>> print(step_table(found))
                  ms   units   x compiled
    literal    30.00      50         3.00
    compiled   10.00      25         1.00
    limit       8.00      25         0.80
    1.250 times the limit, 6,400 images/s, 12.0 MB at the peak of the compiled step
    cpu, float32, tolerance 0.002, 1 thread, medians of 20 rounds
    """
    table = Table(box=None, padding=(0, 3, 0, 0), pad_edge=False)
    table.add_column("")
    for heading in ("ms", "units", "x compiled"):
        table.add_column(heading, justify="right")
    rows = [("published schedule", "authors_schedule"), ("literal", "literal"), ("compiled", "compiled")]
    for label, name in [*rows, ("limit", "limit")]:
        if (took := found.get(f"{name}_ms")) is not None:
            units = found["units_compiled" if name == "limit" else f"units_{name}"]
            table.add_row(label, f"{took:.2f}", str(units), f"{took / found['compiled_ms']:.2f}")
    line = (
        f"{found['ratio_to_limit']:.3f} times the limit, {found['images_per_second']:,.0f} images/s, "
        f"{found['peak_memory_mb']:.1f} MB at the peak of the compiled step"
    )
    return "\n".join([*_lines(table), line, _measured(found)])


def epoch_table(found: dict[str, Any]) -> str:
    """What `bench --epoch` found.

    >>> found = {"epoch_seconds": 2.0, "steps_seconds": 1.98, "overhead_share": 0.01, "steps": 20}
    >>> found |= {"device": "cpu", "precision": "float32", "threads": 2, "rounds": 5, "tolerance": 0.002}
    >>> print(epoch_table(found))
                s   ms a step
    epoch   2.000      100.00
    steps   1.980       99.00
    data, log, progress and checkpoints:   1.0 % of an epoch of 20 steps
    cpu, float32, tolerance 0.002, 2 threads, medians of 5 rounds
    """
    table = Table(box=None, padding=(0, 3, 0, 0), pad_edge=False)
    table.add_column("")
    table.add_column("s", justify="right")
    table.add_column("ms a step", justify="right")
    for name in ("epoch", "steps"):
        took = found[f"{name}_seconds"]
        table.add_row(name, f"{took:.3f}", f"{1000 * took / found['steps']:.2f}")
    share = f"{_share(found['overhead_share'])} of an epoch of {found['steps']} steps"
    return "\n".join([*_lines(table), f"data, log, progress and checkpoints: {share}", _measured(found)])


def _lines(table: Table) -> list[str]:
    """The table as text, without colours and whatever the terminal's width."""
    console = Console(width=100, no_color=True, highlight=False)
    with console.capture() as captured:
        console.print(table)
    return [line.rstrip() for line in captured.get().splitlines()]


def _measured(found: dict[str, Any]) -> str:
    threads, rounds = found["threads"], found["rounds"]
    return (
        f"{found['device']}, {found['precision']}, tolerance {found['tolerance']:g}, "
        f"{threads} thread{'s' if threads > 1 else ''}, medians of {rounds} round{'s' if rounds > 1 else ''}"
    )


def _share(fraction: float) -> str:
    return f"{fraction:>6.1%}".replace("%", " %")
