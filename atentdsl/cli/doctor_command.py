"""`atentdsl doctor`: what this machine offers, and what is wrong with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from atentdsl.cli import options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atentdsl.runtime.health import Facts, Finding


@click.command("doctor")
@options.data_root
@click.option("--out", default="runs", metavar="DIR", show_default=True, help="Where run directories would be made.")
@click.option("--json", "as_json", is_flag=True, help="The same as JSON.")
@click.pass_context
def command(ctx: click.Context, data_root: str | None, out: str, as_json: bool) -> None:
    """Say what this machine offers and what is wrong with it; ends with 0 where nothing is, else with 2."""
    from atentdsl.runtime import health

    found = health.examine(None if data_root is None else Path(data_root), Path(out))
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=2, ensure_ascii=False))
    else:
        click.echo(facts_text(found.facts))
        click.echo(f"\n{findings_text(found.findings)}")
    ctx.exit(2 if found.findings else 0)


def facts_text(facts: Facts) -> str:
    """The facts, a line each, under a heading for each group."""
    lines = []
    for heading, rows in _groups(facts):
        lines += ["", heading, *(f"  {name:<16}{value}" for name, value in rows)]
    return "\n".join(lines[1:])


def findings_text(findings: tuple[Finding, ...]) -> str:
    """What is wrong, numbered, each with how to mend it.

    >>> print(findings_text(()))
    nothing is wrong
    """
    if not findings:
        return "nothing is wrong"
    lines = [f"{len(findings)} thing{'s are' if len(findings) > 1 else ' is'} wrong"]
    for number, finding in enumerate(findings, start=1):
        lines += [f"  {number}. {finding.about}: {finding.wrong}", f"     mend: {finding.mend}"]
    return "\n".join(lines)


def _groups(facts: Facts) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    versions, processor, data = facts.versions, facts.processor, facts.data
    yield (
        "versions",
        [
            ("atentdsl", _known(versions.atentdsl)),
            ("python", versions.python),
            ("torch", versions.torch or "not installed"),
            ("torchvision", versions.torchvision or "not installed"),
            ("CUDA", versions.cuda or "none"),
        ],
    )
    shown = f"{_known(processor.cores)} cores, {_known(processor.threads)} threads"
    yield (
        "processor",
        [
            ("model", _known(processor.name)),
            ("cores", f"{shown}, {processor.available:g} available to this process"),
            ("memory", _size(processor.memory)),
            ("torch's threads", _known(processor.torch_threads)),
            ("OMP_NUM_THREADS", _set(processor.omp_num_threads)),
            ("OMP_WAIT_POLICY", _set(processor.omp_wait_policy)),
        ],
    )
    devices = [
        (device.name, f"{device.model}, {_size(device.memory)}, capability {device.capability}")
        for device in facts.devices
    ]
    none = [("cuda", f"none: {facts.no_cuda}" if facts.no_cuda else "not known")]
    yield "devices", [("cpu", "always"), *(devices or none)]
    formats = [
        (f"bfloat16, {device}", f"in hardware ({by})" if by else "without hardware for it, slower than float32")
        for device, by in facts.precision.bfloat16.items()
    ]
    yield "precision", [("float32", "always"), *formats]
    yield (
        "data",
        [
            ("root", f"{data.root} ({data.source})" + ("" if data.exists else ", which is not there")),
            ("free there", _size(data.free)),
            *data.sets.items(),
        ],
    )
    yield "runs", [("folder", facts.out.path), ("free there", _size(facts.out.free))]


def _known(value: object) -> str:
    return "not known" if value is None else str(value)


def _set(value: str | None) -> str:
    return "not set" if value is None else value


def _size(number: int | None) -> str:
    return "not known" if number is None else f"{number / 1e9:.1f} GB"
