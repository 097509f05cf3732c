"""A plan as the text of a readable module."""

from atentdsl.codegen.loading import as_module
from atentdsl.codegen.module import Compiled, generate
from atentdsl.codegen.sources import NotSelfContained

__all__ = ["Compiled", "NotSelfContained", "as_module", "generate"]
