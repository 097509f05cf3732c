"""Results as text for a terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table


def evaluation_table(name: str, evaluation: dict[str, Any]) -> str:
    """Clean and robust accuracy, each attack with its whole setting.

    >>> attack = {"norm": "linf", "radius": 0.1, "steps": 20, "step_size": 0.0125, "restarts": 1}
    >>> attack |= {"robust_accuracy": 0.5, "robust_interval": [0.157, 0.843]}
    >>> found = {"split": "test", "n": 8, "clean_accuracy": 1.0, "clean_interval": [0.631, 1.0]}
    >>> print(evaluation_table("mine", found | {"attacks": {"pgd-20": attack}, "worst": []}))
    mine, 8 test images
    clean     100.0 %  (63.1 to 100.0)
    pgd-20     50.0 %  (15.7 to 84.3)  linf radius 0.1, 20 steps of 0.0125, 1 restart
    """
    of = f" of {evaluation['data']}" if "data" in evaluation else ""
    wide = max([9, *map(len, evaluation["attacks"])])
    lines = [f"WARNING: {warning}" for warning in evaluation.get("warnings", [])]
    lines.append(f"{name}, {evaluation['n']} {evaluation['split']} images{of}")
    lines.append(f"{'clean':<{wide}} {_with_interval(evaluation, 'clean')}")
    for attack, found in evaluation["attacks"].items():
        lines.append(f"{attack:<{wide}} {_with_interval(found, 'robust')}  {_setting(found)}")
    for worst in evaluation.get("worst", []):  # runs of earlier versions say no worst and no intervals
        if len(worst["attacks"]) > 1:
            lines.append(
                f"{'worst':<{wide}} {_with_interval(worst, 'robust')}  {worst['norm']} radius {worst['radius']:g}, "
                f"of these {len(worst['attacks'])}"
            )
    return "\n".join(lines)


def _setting(found: dict[str, Any]) -> str:
    """What an attack was, in a line; its report has all of it."""
    said = [f"{found['norm']} radius {found['radius']:g}"]
    if "library" in found:
        said.append(found["library"])
    if "step_size" in found:
        said.append(f"{found['steps']} steps of {found['step_size']:g}")
    elif "steps" in found:
        said.append(f"{found['steps']} steps")
    if found.get("loss", "cross_entropy") != "cross_entropy":
        said.append(f"on {found['loss']}")
    if "restarts" in found:
        said.append(f"{found['restarts']} restart{'s' if found['restarts'] > 1 else ''}")
    if found.get("after"):
        said.append(f"after {', '.join(found['after'])}")
    return ", ".join(said)


def _with_interval(found: dict[str, Any], what: str) -> str:
    share = _share(found[f"{what}_accuracy"])
    if f"{what}_interval" not in found:
        return share
    low, high = found[f"{what}_interval"]
    return f"{share}  ({100 * low:.1f} to {100 * high:.1f})"


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


def attack_table(found: dict[str, Any]) -> str:
    """What `bench --eval` found.

    >>> found = {"attack": "pgd-20", "batch": 256, "attack_ms": 412.0, "limit_ms": 400.0, "ratio_to_limit": 1.03}
    >>> found |= {"images_per_second": 621.4, "device": "cpu", "precision": "float32", "threads": 2, "rounds": 20}
    >>> print(attack_table(found))
    pgd-20   412.0 ms of 256 images, the fastest batch
    limit    400.0 ms
    1.030 times the limit, 621 images/s
    cpu, float32, 2 threads, medians of 20 rounds
    """
    return "\n".join(
        [
            f"{found['attack']:<8} {found['attack_ms']:.1f} ms of {found['batch']} images, the fastest batch",
            f"limit    {found['limit_ms']:.1f} ms",
            f"{found['ratio_to_limit']:.3f} times the limit, {found['images_per_second']:,.0f} images/s",
            _measured(found),
        ]
    )


def _lines(table: Table) -> list[str]:
    """The table as text, without colours and whatever the terminal's width."""
    console = Console(width=100, no_color=True, highlight=False)
    with console.capture() as captured:
        console.print(table)
    return [line.rstrip() for line in captured.get().splitlines()]


def _measured(found: dict[str, Any]) -> str:
    threads, rounds = found["threads"], found["rounds"]
    tolerance = f", tolerance {found['tolerance']:g}" if "tolerance" in found else ""
    return (
        f"{found['device']}, {found['precision']}{tolerance}, {threads} thread{'s' if threads > 1 else ''}, "
        f"medians of {rounds} round{'s' if rounds > 1 else ''}"
    )


def _share(fraction: float) -> str:
    return f"{fraction:>6.1%}".replace("%", " %")
