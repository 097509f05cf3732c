"""Networks named as `module:attribute`: code of the user's own, which is announced before it runs."""

from __future__ import annotations

import copy
import importlib
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

import torch

from atentdsl.runtime.errors import UserCodeRefused
from atentdsl.runtime.modes import mode_kept

__all__ = ["build", "is_code"]

NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)


def is_code(name: str) -> bool:
    """Whether a network's name is `module:attribute`.

    >>> is_code("my_nets.small:Net"), is_code("small_cnn"), is_code("../my_nets:Net")
    (True, False, False)
    """
    return NAME.fullmatch(name) is not None


def build(name: str, shape: tuple[int, ...], classes: int, seed: int = 0) -> torch.nn.Module:
    """The network that `module:attribute` names: (batch, *shape) in [0, 1] to (batch, classes) logits.

    The attribute is a network, of which a copy is made, or is called without arguments and gives one. The module is
    looked for in the working directory first, as `python -m` does, and what is going to run is said on standard error.
    What is drawn from torch's global generator depends on `seed` alone, and the generators are left as they were. The
    network is on the CPU; nothing is put before it.

    Args:
        name: the module and the attribute.
        shape: of an image.
        classes: how many logits an image has.
        seed: of the weights.

    Raises:
        UserCodeRefused: there is no such module or attribute, it raises something, or it gives no network that answers
            two blank images with (2, classes) logits.

    >>> build("torch.nn:Identity", (10,), 10)(torch.zeros(2, 10)).shape
    torch.Size([2, 10])
    """
    if not is_code(name):
        raise UserCodeRefused(name, "it is not written `module:attribute`")
    module, _, attribute = name.partition(":")
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        # Not torch.manual_seed: that would also seed the GPUs' generators, which the fork does not put back. And twice:
        # a module draws when it is imported first, and not again.
        torch.default_generator.manual_seed(seed)
        value = _attribute(name, _imported(name, module), attribute)
        torch.default_generator.manual_seed(seed)
        network = _network(name, value)
        _answers(name, network, shape, classes)
    return network


def _imported(name: str, module: str) -> Any:
    """The module, after saying that its code is going to run."""
    # As `python -m` does, and for as long: the code may import more of its own when it is called.
    if not {"", os.getcwd()} & set(sys.path):
        sys.path.insert(0, os.getcwd())
    importlib.invalidate_caches()  # the file may have been written a moment ago
    file = _file(name, module)
    print(f"atentdsl: running the code of {name}, from {file}", file=sys.stderr)
    with _its_errors(name):
        return importlib.import_module(module)


def _file(name: str, module: str) -> str:
    """The module's file, relative to the working directory where it is inside; nothing is imported to find it."""
    loaded = sys.modules.get(module)
    origin = getattr(loaded, "__file__", None) if loaded else _origin(name, module)
    if origin is None:
        return "no file"
    path = Path(origin)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _origin(name: str, module: str) -> str | None:
    """Asks Python's finders part by part: `importlib.util.find_spec` would import the packages on the way."""
    first, *rest = module.split(".")
    found = (finder.find_spec(first, None) for finder in sys.meta_path)
    spec, known = next((one for one in found if one is not None), None), first
    for part in rest:
        if spec is None:
            break
        # By its own name alone: by its whole name, a folder without __init__.py would ask for the package around it,
        # which is not imported yet. A module that is a file holds none.
        inside = spec.submodule_search_locations
        spec, known = None if inside is None else PathFinder.find_spec(part, list(inside)), f"{known}.{part}"
    if spec is None:
        hint = f"; write `{known.removesuffix('.py')}:…`, without .py" if known.endswith(".py") else ""
        raise UserCodeRefused(name, f"there is no module `{known}` here or among the installed packages{hint}")
    return spec.origin if spec.has_location else None


def _attribute(name: str, module: Any, attribute: str) -> Any:
    value = module
    for part in attribute.split("."):
        with _its_errors(name):  # a module may compute its attributes
            if not hasattr(value, part):
                raise UserCodeRefused(name, f"`{name.partition(':')[0]}` has no `{attribute}`")
            value = getattr(value, part)
    return value


def _network(name: str, value: Any) -> torch.nn.Module:
    if isinstance(value, torch.nn.Module):
        with _its_errors(name):
            # Training changes weights in place, and the module keeps its own: a second run would begin from the first.
            made: Any = copy.deepcopy(value)
    elif callable(value):
        make: Callable[[], Any] = value
        with _its_errors(name):
            made = make()
    else:
        raise UserCodeRefused(name, f"it is of type {type(value).__name__}: neither a torch.nn.Module nor to be called")
    if not isinstance(made, torch.nn.Module):
        raise UserCodeRefused(name, f"calling it gives no torch.nn.Module but a value of type {type(made).__name__}")
    return made.to("cpu")


def _answers(name: str, network: torch.nn.Module, shape: tuple[int, ...], classes: int) -> None:
    """One forward pass on two blank images: an answer of another shape would only fail in training, or not at all."""
    with _its_errors(name), mode_kept(network), torch.no_grad():
        answer: Any = network.eval()(torch.zeros(2, *shape))
    wanted = f"{classes} logits for each of two images of shape {shape}"
    if not isinstance(answer, torch.Tensor):
        raise UserCodeRefused(name, f"it answers with a value of type {type(answer).__name__}, not with {wanted}")
    if answer.shape != (2, classes) or not answer.is_floating_point():
        raise UserCodeRefused(name, f"it answers {answer.dtype} {tuple(answer.shape)}, not {wanted}")


@contextmanager
def _its_errors(name: str) -> Iterator[None]:
    """What the user's code raises is an error of that code: it is said with its place, and as nothing of ours.

    A module that is a script may also try to end the process.
    """
    try:
        yield
    except UserCodeRefused:
        raise
    except (Exception, SystemExit) as error:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_outside(frame.filename)]
        place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
        raise UserCodeRefused(name, f"it raised {type(error).__name__}: {error}{place}") from error


def _is_outside(file: str) -> bool:
    """Whether a file is the user's own: not this one, Python's import machinery or torch's."""
    return (
        not file.startswith(("<frozen", str(Path(torch.__file__).parent)))
        and file != __file__
        and file != copy.__file__
    )
