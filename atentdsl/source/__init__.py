"""The text of a recipe: TOML with the position of every key and value, and the diagnostics that point into it.

    document = read(pathlib.Path("recipes/atent_linf.toml"))
    document.data["sampler"][0]["kernel"]["noise"]
    document.key(("sampler", 0, "kernel", "noise"))         # where it is written

Whatever the bytes are, `read` and `parse` answer with a `Document` or raise a `RecipeError`.
"""

from atentdsl.source.diagnostic import Diagnostic, RecipeError
from atentdsl.source.document import Document
from atentdsl.source.reading import LONGEST_FILE, parse, read
from atentdsl.source.rendering import FORMATS, Format, render
from atentdsl.source.span import KeyPath, Span
from atentdsl.source.spelling import suggest
from atentdsl.source.tokens import DEEPEST

__all__ = [
    "DEEPEST",
    "FORMATS",
    "LONGEST_FILE",
    "Diagnostic",
    "Document",
    "Format",
    "KeyPath",
    "RecipeError",
    "Span",
    "parse",
    "read",
    "render",
    "suggest",
]
