"""Writes what the documents derive from the code: a page for each primitive, and the index.

`python docs/pages.py` writes; with `--check` it only compares.
"""

from __future__ import annotations

import sys
from pathlib import Path

from atentdsl.cli.vocabulary import parameters
from atentdsl.passes import PIPELINE, switch
from atentdsl.primitives import registry
from atentdsl.primitives.documented import documentation, summary
from atentdsl.primitives.references import REFERENCES

DOCS = Path(__file__).parent


def page(family: str, kind: str) -> str:
    """A primitive's page: its formula and units, its parameters, its sources."""
    primitive = registry.primitive(family, kind)
    lines = [f"# `{kind}`, of {family}", ""]
    for line in documentation(family, kind).splitlines():
        lines.append(line)
    found = parameters(primitive.parameters)
    if found:
        lines += ["", "| parameter | what | default |", "| --- | --- | --- |"]
        for parameter in found:
            default = "required" if parameter.default is None else f"`{parameter.default}`"
            note = f"{default}; a number or a schedule" if parameter.schedulable else default
            lines.append(f"| `{parameter.name}` | {parameter.what} | {note} |")
    if primitive.cites:
        lines += ["", *(f"- {REFERENCES[key]}" for key in primitive.cites)]
    lines += ["", f"Source: `atentdsl/primitives/{family}/{kind}.py`"]
    return "\n".join(lines) + "\n"


def index() -> str:
    """The index of every document."""
    lines = ["# Documents", "", "The vocabulary, a page a primitive:", ""]
    for family in registry.families():
        links = ", ".join(f"[`{kind}`](primitives/{family}/{kind}.md)" for kind in registry.kinds(family))
        lines.append(f"- **{family}**: {summary(family)} {links}")
    lines += ["", "The compiler's passes, in the order they run; `[compile]` switches each off by its key:", ""]
    for step in PIPELINE:
        name, _, what = (step.__doc__ or "").splitlines()[0].partition(": ")
        lines.append(f"- **{name}** (`{switch(step)}`): {what}")
    for folder, title in (
        ("errors", "What an error means, a page a code:"),
        ("decisions", "Decisions, and what they rest on:"),
        ("results", "Results, with the commands that repeat them:"),
    ):
        pages = sorted((DOCS / folder).glob("*.md"))
        lines += ["", title, "", *(f"- [{heading(path)}]({folder}/{path.name})" for path in pages)]
    lines += ["", "[Which faults are met how](faults.md): each with its exit code, and the test that makes it."]
    lines += ["", "[The log](LOG.md): dated findings, negative ones too."]
    return "\n".join(lines) + "\n"


def heading(path: Path) -> str:
    """A page's first heading."""
    return path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")


def expected() -> dict[Path, str]:
    """Every derived file and its text."""
    pages = {
        DOCS / "primitives" / family / f"{kind}.md": page(family, kind)
        for family in registry.families()
        for kind in registry.kinds(family)
    }
    return {**pages, DOCS / "README.md": index()}


def differences() -> list[str]:
    """The derived files that are missing, differ, or belong to no primitive."""
    wanted = expected()
    wrong = [str(p.relative_to(DOCS)) for p, text in wanted.items() if not p.is_file() or p.read_text() != text]
    stray = [str(p.relative_to(DOCS)) for p in (DOCS / "primitives").rglob("*.md") if p not in wanted]
    return sorted(wrong + stray)


def main() -> int:
    """Writes the files, or with `--check` names those that differ."""
    if "--check" in sys.argv[1:]:
        found = differences()
        print("\n".join(found) or "the derived documents are in sync")
        return int(bool(found))
    for path, text in expected().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
