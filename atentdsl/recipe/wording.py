"""What is said of each way a value can be wrong."""

from __future__ import annotations

from typing import Any

from atentdsl.primitives import registry
from atentdsl.primitives.primitive import Part
from atentdsl.recipe.merging import Written
from atentdsl.source import Diagnostic, KeyPath, Span, suggest

_TYPES = {
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "a string",
    "bool_type": "true or false",
    "list_type": "an array",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "dict_type": "a table",
}
_BOUNDS = {
    "greater_than": ("above", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("below", "lt"),
    "less_than_equal": ("at most", "le"),
}


def unknown_key(whole: Written, path: KeyPath, accepted: list[str], table: str = "") -> Diagnostic:
    """`unknown-key`: with the nearest accepted word, and all of them."""
    found = _follow(whole, path)
    key = str(path[-1])
    near = suggest(key, accepted)
    where = f" in {table}" if table else ""
    header = found.document.table(found.path[:-1]) if len(path) > 1 else None
    return Diagnostic(
        "unknown-key",
        f"unknown key `{key}`{where}",
        found.key(),
        f"not a parameter of {table.split(' ')[-1]}" if table else "not a table of a recipe",
        (header, f"this table is a {table}") if header and table else None,
        (f"did you mean `{near}`?  " if near else "") + f"accepted: {', '.join(accepted)}",
    )


def diagnose(whole: Written, base: KeyPath, details: Any) -> Diagnostic:
    """One finding of the validation as a diagnostic at its place."""
    path, tags = _path(whole, (*base, *details["loc"]))
    kind: str = details["type"]
    context: dict[str, Any] = details.get("ctx", {})
    name = str(path[-1]) if isinstance(path[-1], str) else f"{path[-2]}[{path[-1]}]"
    if kind == "extra_forbidden":
        accepted, table = _accepted(path, tags, base)
        return unknown_key(whole, path, accepted, table)
    if kind == "missing":
        table = _table_name(path[:-1], tags)
        place = _place(whole, path[:-1])
        return Diagnostic("missing-key", f"{table} needs `{name}`", place, help=f"add `{name} = …`")
    found = _follow(whole, path)
    at = found.at()
    if kind in _TYPES or kind == "table_type":
        wanted = context.get("wanted") or _TYPES[kind]
        return Diagnostic(
            "wrong-type", f"`{name}` is {wanted}", at, f"this is {_said(found)}", help=_type_help(found, wanted)
        )
    if kind == "finite_number":
        return Diagnostic("out-of-range", f"`{name}` is finite", at, "this is not", help="write an ordinary number")
    if kind in _BOUNDS:
        word, key = _BOUNDS[kind]
        return Diagnostic(
            "out-of-range", f"`{name}` is {word} {context[key]:g}", at, help=f"the bound is {context[key]:g}"
        )
    if kind in {"too_short", "too_long", "string_too_long"}:
        return _length(name, kind, context, found)
    if kind == "string_pattern_mismatch":
        return Diagnostic("out-of-range", f"`{name}` cannot be this", at, help=_pattern_help(name))
    if kind in {"literal_error", "union_tag_invalid"}:
        return _choice(name, found, context)
    if kind == "union_tag_not_found":
        family = str(path[-2] if isinstance(path[-1], int) else path[-1])
        return Diagnostic("missing-key", f"`{family}` needs a `kind`", found.key(), help=f"one of {_kinds(family)}")
    return Diagnostic("wrong-value", f"`{name}`: {details['msg']}", at)


def _choice(name: str, found: Written, context: dict[str, Any]) -> Diagnostic:
    accepted = [
        word.strip().strip("'")
        for word in context.get("expected_tags", context.get("expected", "")).replace(" or ", ", ").split(",")
    ]
    said = context.get("tag", found.value)
    place = found.value["kind"].at() if isinstance(found.value, dict) and "kind" in found.value else found.at()
    near = suggest(said, accepted) if isinstance(said, str) else None
    what = f"kind of `{name}`" if "tag" in context else f"`{name}`"
    help_ = (f"did you mean `{near}`?  " if near else "") + f"accepted: {', '.join(accepted)}"
    return Diagnostic("unknown-value", f"unknown {what}: {_shown(said)}", place, help=help_)


def _length(name: str, kind: str, context: dict[str, Any], found: Written) -> Diagnostic:
    if name == "sampler":
        second = found.value[context.get("max_length", 1)]
        help_ = "several samplers come with the weights' space; keep one"
        return Diagnostic("inconsistent", "a recipe has at most one sampler", second.key(), help=help_)
    bound = context.get("min_length") if kind == "too_short" else context.get("max_length")
    word = "at least" if kind == "too_short" else "at most"
    unit = "characters" if kind == "string_too_long" else "entries"
    return Diagnostic("out-of-range", f"`{name}` has {word} {bound} {unit}", found.at(), help="see `atentdsl list`")


def _pattern_help(name: str) -> str:
    if name.startswith("attacks"):
        return "write `pgd-20` for twenty steps of projected gradient descent"
    return "begin with a letter or digit; go on with letters, digits, `.`, `_` and `-`"


def _type_help(found: Written, wanted: str) -> str | None:
    value = found.value
    if isinstance(value, str) and wanted in {"a number", "a whole number"}:
        try:
            float(value)
        except ValueError:
            return "numbers stand without quotes"
        return f"write {value} without quotes"
    if isinstance(value, float) and wanted == "a whole number" and value.is_integer():
        return f"write {int(value)}"
    if wanted == "an array" and not isinstance(value, dict | list):
        return f"write [{_shown(value).strip('`')}]"
    if isinstance(value, int) and wanted == "true or false":
        return "write true or false"
    return f"write {wanted}"


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


def _shown(value: Any) -> str:
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return f"`{text if len(text) <= 60 else text[:57] + '…'}`"


def _path(whole: Written, loc: tuple[str | int, ...]) -> tuple[KeyPath, dict[KeyPath, str]]:
    """The path of keys in a location that also names the kinds it passed; and those kinds by path."""
    path: KeyPath = ()
    tags: dict[KeyPath, str] = {}
    found: Written | None = whole
    for step, key in enumerate(loc):
        entries = found.value if found is not None else None
        kind = entries["kind"].value if isinstance(entries, dict) and "kind" in entries else None
        inside = isinstance(entries, dict) and key in entries
        last = step == len(loc) - 1
        family = _family(path)
        names_kind = family is not None and key in registry.kinds(family) and path not in tags
        if names_kind and not last and (kind in (None, key)):
            tags[path] = str(key)
            continue
        path = (*path, key)
        index = isinstance(entries, list) and isinstance(key, int)
        found = entries[key] if entries is not None and (inside or index) else None
    return path, tags


def _family(path: KeyPath) -> str | None:
    """The family of primitives that a table at this path is filled by."""
    names = {
        "sampler": "samplers",
        "kernel": "kernels",
        "start": "starts",
        "projection": "projections",
        "averaging": "averaging",
        "coupling": "couplings",
        "objective": "objectives",
        "optimizer": "optimizers",
        "lr": "schedules",
    }
    words = [key for key in path if isinstance(key, str)]
    return names.get(words[-1]) if words else None


def _kinds(family_word: str) -> str:
    family = _family((family_word,))
    return ", ".join(f"`{kind}`" for kind in registry.kinds(family)) if family else "its kinds"


def _accepted(path: KeyPath, tags: dict[KeyPath, str], base: KeyPath) -> tuple[list[str], str]:
    """The fields that the table around this key accepts, and what to call that table."""
    table = path[:-1]
    family = _family(table)
    if table in tags and family is not None:
        fields = registry.primitive(family, tags[table]).parameters.model_fields
        keys = [name for name in fields if name != "kind" or len(registry.kinds(family)) > 1]
        word = next(key for key in reversed(table) if isinstance(key, str))
        return keys, f"{'schedule' if family == 'schedules' else word} `{tags[table]}`"
    from atentdsl.recipe.tables import Data, Evaluate, Header, Model

    if table and table[-1] == "target":
        from atentdsl.primitives.density import Target

        return list(Target.model_fields), "table `target`"
    tables: dict[str, type[Part]] = {"recipe": Header, "data": Data, "model": Model, "evaluate": Evaluate}
    return list(tables[str(table[-1])].model_fields), f"table `{table[-1]}`"


def _table_name(path: KeyPath, tags: dict[KeyPath, str]) -> str:
    word = next((str(key) for key in reversed(path) if isinstance(key, str)), "the recipe")
    return f"{word} `{tags[path]}`" if path in tags else f"`[{word}]`"


def _follow(whole: Written, path: KeyPath) -> Written:
    """The value at the path, or the nearest one around it that is written."""
    found = whole
    for key in path:
        value: Any = found.value
        inside = isinstance(value, dict) and key in value
        if not inside and not (isinstance(value, list) and isinstance(key, int) and key < len(value)):
            break
        found = value[key]
    return found


def _place(whole: Written, path: KeyPath) -> Span:
    found = _follow(whole, path)
    return found.key() if found.path else Span(found.document.name, 1, 1, 1)
