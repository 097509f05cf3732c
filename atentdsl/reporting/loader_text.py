"""The text of an exported network's `model.py`: its architecture and a loader, without this package.

An installed architecture comes with its own source, and imports torch and safetensors alone. A network that a recipe
names as `module:attribute` stays where it is: its loader imports that module, and says so.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
import textwrap
from collections.abc import Iterable

from atentdsl.runtime import models, user_code
from atentdsl.runtime.normalise import Normalise

__all__ = ["WEIGHTS", "loader_text"]

WEIGHTS = "weights.safetensors"
WIDTH = 120  # of a line
ALLOWED = {"torch", "safetensors"}
OWN_IMPORTS = ("import hashlib", "from pathlib import Path", "import safetensors.torch", "import torch")

READING = '''
def _weights() -> dict[str, torch.Tensor]:
    """The tensors of the file beside this one, if they are those that were exported."""
    data = (Path(__file__).parent / "{weights}").read_bytes()
    if hashlib.sha256(data).hexdigest() != WEIGHTS_SHA256:
        raise ValueError("{weights} is not the file that was exported with this module")
    return safetensors.torch.load(data)
'''

INSTALLED = '''
def load_model() -> torch.nn.Module:
    """The network with its weights, on the CPU, in eval mode.

    It maps images (batch, {shape}), float32 in [0, 1], to logits (batch, {classes}), float32. Its normalisation is its
    first layer.
    """
    # The weights that a network is built with are drawn, and then replaced.
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        network = build(SHAPE, CLASSES)
        model = torch.nn.Sequential(Normalise([0.0] * SHAPE[0], [1.0] * SHAPE[0]), network)
    model.load_state_dict(_weights())
    return model.eval()
'''

FOREIGN = '''
def load_model() -> torch.nn.Module:
    """The network with its weights, on the CPU, in eval mode: runs the code of `{module}`.

    It maps images (batch, {shape}), float32 in [0, 1], to logits (batch, {classes}). What it does to them before its
    first layer is its own affair: nothing stands before it.
    """
    # The weights that a network is built with are drawn, and then replaced.
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        value = operator.attrgetter("{attribute}")(importlib.import_module("{module}"))
        # The module keeps a network of its own as it is.
        model = copy.deepcopy(value) if isinstance(value, torch.nn.Module) else value()
    model.to("cpu").load_state_dict(_weights())
    return model.eval()
'''


def loader_text(name: str, shape: tuple[int, ...] | None, classes: int | None, sha256: str, about: str) -> str:
    """The module's text; the same arguments give the same text, and no code of the user's is run.

    Args:
        name: an installed network's, or `module:attribute`.
        shape: of an image, (channels, height, width); None where it is not known, and not asked for.
        classes: how many logits an image has; None likewise.
        sha256: of the weights' file.
        about: what the network is, for the docstring.

    Raises:
        ValueError: an installed network without shape and classes, or one whose source needs more than torch.

    >>> text = loader_text("mlp", (1, 8, 8), 10, "0" * 64, "A perceptron.")
    >>> [line for line in text.splitlines() if line.startswith(("import", "from"))]
    ... # doctest: +NORMALIZE_WHITESPACE
    ['from __future__ import annotations', 'import hashlib', 'import math', 'from collections.abc import Sequence',
     'from pathlib import Path', 'import safetensors.torch', 'import torch', 'from torch import nn']
    """
    facts = {
        "weights": WEIGHTS,
        "shape": "*input" if shape is None else ", ".join(map(str, shape)),
        "classes": "classes" if classes is None else classes,
    }
    constants = [f'WEIGHTS_SHA256 = "{sha256}"']
    if user_code.is_code(name):
        module, _, attribute = name.partition(":")
        imports = {*OWN_IMPORTS, "import copy", "import importlib", "import operator"}
        blocks = [READING.format(**facts), FOREIGN.format(**facts, module=module, attribute=attribute)]
    else:
        if shape is None or classes is None:
            raise ValueError(f"the images' shape and the number of classes are wanted for {name}")
        constants = [f"SHAPE = {shape!r}  # of an image", f"CLASSES = {classes}", *constants]
        needed, source = _architecture(name)
        imports = {*OWN_IMPORTS, *needed, "import math", "from collections.abc import Sequence"}
        blocks = [inspect.getsource(Normalise), source, READING.format(**facts), INSTALLED.format(**facts)]
    closing = '\n"""' if "\n" in about.strip() else '"""'
    head = f'"""{about.strip()}{closing}\n\nfrom __future__ import annotations\n\n{_sorted(imports)}\n\n'
    return head + "\n".join(constants) + "\n\n\n" + "\n\n\n".join(block.strip("\n") for block in blocks) + "\n"


def _architecture(name: str) -> tuple[set[str], str]:
    """What an installed network's file imports, and the rest of it, its docstring as a comment."""
    text = inspect.getsource(importlib.import_module(f"{models.__name__}.{name}"))
    tree, lines = ast.parse(text), text.splitlines()
    imports: set[str] = set()
    for node in tree.body:
        listing = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        if isinstance(node, ast.Import | ast.ImportFrom):
            imports |= _imports(name, node)
        elif not listing and node is not tree.body[0]:
            continue
        assert node.end_lineno is not None, "parsed from text"
        lines[node.lineno - 1 : node.end_lineno] = [""] * (node.end_lineno - node.lineno + 1)
    comment = _comment(ast.get_docstring(tree) or "")
    # Constants stand right below the comment, as below the docstring; a function or class two lines further down.
    source = "\n".join(lines).strip("\n")
    gap = "\n\n\n" if source.startswith(("def ", "class ", "@")) else "\n\n"
    return imports, comment + gap + source


def _comment(text: str) -> str:
    """The paragraphs as comments, filled anew: the mark takes room on each line."""
    lines: list[str] = []
    for paragraph in text.split("\n\n"):
        lines += ["", *(textwrap.wrap(paragraph, WIDTH - len("# ")))]
    return "\n".join(f"# {line}".rstrip() for line in lines[1:])


def _imports(name: str, node: ast.Import | ast.ImportFrom) -> set[str]:
    """The statements that a module needs, one a name."""
    if isinstance(node, ast.Import):
        wanted, made = {alias.name for alias in node.names}, {f"import {ast.unparse(alias)}" for alias in node.names}
    else:
        wanted = {node.module or ""}
        made = {f"from {node.module} import {ast.unparse(alias)}" for alias in node.names}
    if wanted == {"__future__"}:
        return set()
    strange = {module for module in wanted if not _is_standard(module) and module.split(".")[0] not in ALLOWED}
    if strange:
        raise ValueError(f"the network {name} imports {', '.join(sorted(strange))}: it cannot stand alone")
    return made


def _is_standard(module: str) -> bool:
    return module.split(".")[0] in sys.stdlib_module_names


def _sorted(imports: Iterable[str]) -> str:
    """The statements as a formatter sorts them: the standard library first, whole modules before their names."""
    whole = sorted(line for line in imports if line.startswith("import "))
    named: dict[str, list[str]] = {}
    for line in imports:
        if line.startswith("from "):
            module, _, what = line.removeprefix("from ").partition(" import ")
            named.setdefault(module, []).append(what)
    lines = whole + [f"from {module} import {', '.join(sorted(named[module]))}" for module in sorted(named)]
    groups = [[line for line in lines if _is_standard(line.split()[1]) is standard] for standard in (True, False)]
    return "\n\n".join("\n".join(group) for group in groups if group)
