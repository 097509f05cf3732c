"""What is said of each way a value can be wrong: from a validation's findings to diagnostics at their places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from atentdsl.primitives import registry
from atentdsl.recipe.attack_names import WRITTEN
from atentdsl.recipe.grammar import Place, Shape, follow, header, number, singular
from atentdsl.recipe.merging import Written, changed_by_name
from atentdsl.recipe.toml_text import value_text
from atentdsl.recipe.unknown_keys import unknown_key
from atentdsl.source import Diagnostic, KeyPath, suggest

_BOUNDS = {
    "greater_than": ("above", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("below", "lt"),
    "less_than_equal": ("at most", "le"),
}
_TYPES = {
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "a string",
    "bool_type": "true or false",
    "list_type": "an array",
}
_PATTERNS = {
    r"^[A-Za-z0-9][A-Za-z0-9._-]*$": "begin with a letter or digit; go on with letters, digits, `.`, `_` and `-`",
    r"^[a-z][a-z0-9_]*$": "begin with a small letter; go on with small letters, digits and `_`",
    r"^[^\x00-\x1f\x7f]+$": 'write `"random"`, or a path to a run, a safetensors file or a state dict',
    rf"^{WRITTEN.pattern}$": "write a name of `atentdsl list attacks`, settings behind it as in `pgd-9,restarts=2`; "
    "the recipe's own samplers are `sampler`, and another's attack by `--attack`",
}
_LONGEST = 60


def diagnoses(whole: Written, table: str, findings: Sequence[Any]) -> list[Diagnostic]:
    """The findings of one table's validation as diagnostics, without what another one explains.

    Args:
        whole: the recipe.
        table: the top-level table.
        findings: what `ValidationError.errors()` gives.
    """
    places = [follow((table, *finding["loc"])) for finding in findings]
    said: list[Diagnostic] = []
    explained: set[tuple[KeyPath, str]] = set()
    for place, finding in zip(places, findings, strict=True):
        if finding["type"] == "extra_forbidden":
            diagnostic, meant = unknown_key(whole, place)
            said.append(diagnostic)
            explained |= {(place.path[:-1], name) for name in meant}
    for place, finding in zip(places, findings, strict=True):
        if finding["type"] == "missing":
            if (place.path[:-1], place.path[-1]) not in explained:
                said.append(_missing(whole, place))
        elif finding["type"] != "extra_forbidden" and not _of_another(whole, place.path):
            said.append(_wrong(whole, place, finding))
    return said


def _of_another(whole: Written, path: KeyPath) -> bool:
    """Whether nobody wrote this value: a sampler's name is its space, and what is wrong is said of that."""
    around = whole.walk_to(path[:-1])
    return isinstance(around.value, dict) and around.child(path[-1]) is None


def _missing(whole: Written, place: Place) -> Diagnostic:
    table = place.table.name if place.table else "the recipe"
    meaning = f": {place.shape.description}" if place.shape and place.shape.description else ""
    key, at = place.path[-1], whole.walk_to(place.path[:-1]).key()
    other = changed_by_name(whole, int(place.path[1])) if place.path[0] == "sampler" and key == "moves" else None
    context, more = other or (None, "")
    mend = f"add `{key} = …`{meaning}" + (f"; {more}" if more else "")
    return Diagnostic("missing-key", f"{table} needs `{key}`", at, "", context, mend)


def _wrong(whole: Written, place: Place, finding: Mapping[str, Any]) -> Diagnostic:
    """What is wrong with a value that is there."""
    kind, context = finding["type"], finding.get("ctx", {})
    found = whole.walk_to(place.path)
    name, shape = name_of(whole, place.path), place.shape or Shape(None)
    if kind in {"union_tag_invalid", "union_tag_not_found"}:
        return _kind(found, name, place)
    if shape.words:
        where = f" in {place.table.name}" if place.table and not place.table.slot else ""
        return _choice(found, name, shape.words, where=where, code=shape.code)
    if kind in _BOUNDS:
        word, key = _BOUNDS[kind]
        message = f"`{name}` must be {word} {number(context[key])}"
        reached = _reached(found, finding["input"]) if shape.schedules else found
        label = "" if reached is found else "its schedule says this"
        return Diagnostic("out-of-range", message, reached.at(), label, help=f"accepted: {shape.interval(name)}")
    if kind == "finite_number":
        interval = shape.interval(name)
        mend = f"accepted: {interval}" if interval else "write an ordinary number"
        return Diagnostic("out-of-range", f"`{name}` must be a finite number", found.at(), "this is not", help=mend)
    if kind in {"too_short", "too_long", "string_too_long"}:
        return _length(found, name, kind, context, shape)
    if kind == "string_pattern_mismatch":
        mend = _PATTERNS.get(context["pattern"], f"it matches `{context['pattern']}`")
        return Diagnostic("unknown-value", f"`{name}` cannot be {_shown(found)}", found.at(), help=mend)
    wanted = context.get("wanted") or _TYPES.get(kind, "a table")
    if shape.element is not None and shape.element.models:
        wanted = "an array of tables"
    return wrong_type(found, name, wanted, place.path, shape)


def _reached(schedule: Written, number: float) -> Written:
    """Where a schedule says the number; itself where it is one."""
    said = [schedule.child(key) for key in ("value", "start", "peak", "end")]
    values = [value for child in said if child for value in (child.value if isinstance(child.value, list) else [child])]
    return next((value for value in values if value.value == number), schedule)


def wrong_type(found: Written, name: str, wanted: str, path: KeyPath, shape: Shape) -> Diagnostic:
    """`wrong-type`: with how to write it instead."""
    mend = _type_mend(found, wanted, path, shape)
    return Diagnostic("wrong-type", f"`{name}` must be {wanted}", found.at(), f"this is {_said(found)}", help=mend)


def _kind(found: Written, name: str, place: Place) -> Diagnostic:
    """A slot's table without a kind, or of a kind that is not there."""
    assert place.shape is not None, "a kind is asked for where a slot is"
    slot = place.shape.slot or place.shape.schedules
    assert slot is not None, "a kind is asked for where a slot is"
    family = slot.family
    kinds = registry.kinds(family)
    said = found.child("kind")
    if said is None:
        mend = f"add `kind = …`, one of: {', '.join(kinds)}"
        return Diagnostic("missing-key", f"`{header(place.path)}` needs `kind`", found.key(), help=mend)
    return _choice(said, "kind", kinds, f"{singular(family)} ")


def _choice(
    found: Written, name: str, words: Sequence[str], of: str = "", where: str = "", code: bool = False
) -> Diagnostic:
    accepted = f"accepted: {', '.join(words)}" + (", or `module:attribute`, a network of your own" if code else "")
    if not isinstance(found.value, str):
        label = f"this is {_said(found)}"
        return Diagnostic("wrong-type", f"`{name}` must be a string", found.at(), label, help=accepted)
    near = suggest(found.value, words)
    help_ = (f"did you mean `{near}`?  " if near else "") + accepted
    return Diagnostic("unknown-value", f"unknown {of}`{name}`{where}: {_shown(found)}", found.at(), help=help_)


def _length(found: Written, name: str, kind: str, context: Mapping[str, Any], shape: Shape) -> Diagnostic:
    bound = context["min_length" if kind == "too_short" else "max_length"]
    unit = "character" if kind == "string_too_long" else "entry" if bound == 1 else "entries"
    unit += "s" * (unit == "character" and bound != 1)
    word = "at least" if kind == "too_short" else "at most"
    message, label = f"`{name}` must have {word} {bound} {unit}", f"this has {len(found.value)}"
    return Diagnostic("out-of-range", message, found.at(), label, help=f"{name}: {shape.description}")


def _type_mend(found: Written, wanted: str, path: KeyPath, shape: Shape) -> str:
    value = found.value
    if isinstance(value, str) and wanted in {"a number", "a whole number", "a number or a table"}:
        return _number_mend(value, whole=wanted == "a whole number")
    if isinstance(value, float) and wanted == "a whole number" and value.is_integer():
        return f"write {int(value)}"
    if wanted == "true or false":
        no = value == 0 or str(value).lower() in {"false", "no", "off", "0"}
        return f"write {'false' if no else 'true'}"
    if wanted == "a table":
        return _table_mend(found, path, shape)
    if wanted == "an array of tables":
        return f"write `{header((*path, 0))}`, with two pairs of brackets"
    if wanted == "an array":
        return "write it in brackets" if isinstance(value, dict) else f"write [{_shown(found).strip('`')}]"
    return f"write {wanted}"


def _number_mend(text: str, whole: bool) -> str:
    dividend, slash, divisor = text.partition("/")
    try:
        if slash and float(divisor) and not whole:
            return f"TOML does not compute: write {float(dividend) / float(divisor)!r}"
        float(text) if not whole else int(text)
    except ValueError:
        return "numbers stand without quotes"
    return f"write {text} without quotes"


def _table_mend(found: Written, path: KeyPath, shape: Shape) -> str:
    if isinstance(found.value, list) and isinstance(path[-1], str) and found.key() == found.at():
        return f"write `{header(path)}`, with one pair of brackets"
    kinds = registry.kinds(shape.slot.family) if shape.slot else ()
    if isinstance(found.value, str) and kinds:
        kind = found.value if found.value in kinds else suggest(found.value, kinds)
        return f'write {{ kind = "{kind}", … }}' if kind else f"write {{ kind = … }} with one of: {', '.join(kinds)}"
    return "write it as `key = value` pairs in braces" if isinstance(path[-1], int) else f"write `{header(path)}`"


def name_of(whole: Written, path: KeyPath) -> str:
    """The last key that is written on the path: a lone number stands for the table that it abbreviates."""
    for end in range(1, len(path)):
        if whole.walk_to(path[: end + 1]) is whole.walk_to(path[:end]):
            path = path[:end]
            break
    last = path[-1]
    return last if isinstance(last, str) else f"{path[-2]}[{last}]"


def _said(found: Written) -> str:
    names = {
        bool: "a truth value",
        int: "a whole number",
        float: "a number",
        str: "a string",
        dict: "a table",
        list: "an array",
    }
    return names.get(type(found.value), "a date or time")


def _shown(found: Written) -> str:
    text = value_text(found.plain())
    return f"`{text if len(text) <= _LONGEST else text[: _LONGEST - 1] + '…'}`"
