"""Weights from elsewhere: safetensors, a run, or what `torch.save` wrote; nothing in the file is ever run.

What a file is, its content says and not its name. torch's own loaders are given a file only when it is known what they
do with it: some of them answer an unknown file by unpickling it, which runs whatever code it holds.
"""

from __future__ import annotations

import io
import pickletools
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from atentdsl.runtime import checkpoint
from atentdsl.runtime.directory import BEST, RunDirectory
from atentdsl.runtime.errors import CheckpointBroken, WeightsRefused
from atentdsl.runtime.normalise import Normalise

__all__ = ["fill", "read", "weights_file"]

WRAPPERS = ("state_dict", "model_state_dict", "model")
DATA_PARALLEL = "module."

# A safetensors header is at most 100 MB long: its length, eight bytes, cannot be mistaken for a pickle's beginning.
LONGEST_HEADER = 100_000_000
ZIP = b"PK\x03\x04"
# torch.save's old format is four pickles after one another, the last of which holds the value.
OLD_FORMAT = 4

# By these members torch tells its zip archives apart; the last is where torch 2.7 and older kept an exported program.
TORCHSCRIPT = re.compile(r"(^|/)(constants\.pkl|bytecode\.pkl|code/.*)$")
EXPORTED = re.compile(
    r"(^|/)(archive_format|models/[^/]*\.json|data/aotinductor/.*|serialized_exported_program\.json)$"
)


def weights_file(path: Path) -> Path:
    """The file that `read` takes the weights from: `path` itself, or the best checkpoint of a run directory.

    Raises:
        WeightsRefused: there is nothing at `path`.
        NotARunDirectory: it is a folder, but no run's.

    >>> from pathlib import Path
    >>> weights_file(Path("nowhere.pt"))
    Traceback (most recent call last):
        ...
    atentdsl.runtime.errors.WeightsRefused: weights nowhere.pt cannot be used: there is no such file
    """
    if path.is_dir():
        return RunDirectory.open(path).checkpoint(BEST)
    if not path.is_file():
        raise WeightsRefused(path, "there is no such file")
    return path


def read(path: Path, trust: bool = False) -> dict[str, Tensor]:
    """The tensors at `path` by their names, on the CPU.

    Args:
        path: a run directory, whose best checkpoint is taken; a safetensors file; or a file of `torch.save` that holds
            a dict of tensors, itself or under `state_dict`, `model_state_dict` or `model`. `module.`, which
            DataParallel puts before every name, is taken off.
        trust: takes a TorchScript archive or an exported program too. Loading one can run code that it holds.

    Raises:
        WeightsRefused: there is no such file, it is damaged, holds something else, or would have to run code; says what
            it is.
        NotARunDirectory: a folder that is no run's.
        CheckpointBroken: a run's checkpoint is missing or damaged.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     torch.save({"epoch": 3, "state_dict": {"module.bias": torch.ones(2)}}, file.name)
    ...     read(Path(file.name))
    {'bias': tensor([1., 1.])}
    """
    file = weights_file(path)
    if file != path:
        return checkpoint.read(file, sealed=True)[0]
    with path.open("rb") as opened:
        beginning = opened.read(9)
        if beginning[8:] == b"{" and int.from_bytes(beginning[:8], "little") <= LONGEST_HEADER:
            return _safetensors(path)
        opened.seek(0)
        kind = _archive(path, opened) if beginning.startswith(ZIP) else None
        opened.seek(0)
        if kind is None:
            return _tensors(path, _unpickled(path, opened))
        if not trust:
            why = "loading it can run code that it holds; if you trust whoever made it, pass --trust"
            raise WeightsRefused(path, f"it is {kind}: {why}")
        return _plain(path, _trusted(path, opened, kind))


def fill(model: torch.nn.Module, tensors: Mapping[str, Tensor], path: Path | None = None) -> None:
    """Copy `tensors` into `model`, on its device and in its dtypes.

    Where the model is a network behind our normalisation and the tensors are those of the network alone, they go there,
    and the normalisation stays as it is.

    Args:
        model: what is filled.
        tensors: one for each name of the model's state.
        path: where they come from, for the message.

    Raises:
        WeightsRefused: names are missing or too many, or shapes differ; the model is as it was.

    >>> model = torch.nn.Sequential(Normalise([0.5], [0.25]), torch.nn.Linear(1, 1, bias=False))
    >>> fill(model, {"weight": torch.full((1, 1), 3.0)})
    >>> model.state_dict()["1.weight"].item(), model.state_dict()["0.mean"].item()
    (3.0, 0.5)
    """
    target = model
    if isinstance(model, torch.nn.Sequential) and len(model) == 2 and isinstance(model[0], Normalise):
        # A network of layers in a row has names like ours: they are its own if they are all there, or our mean is not.
        alone = tensors.keys() == model[1].state_dict().keys() or "0.mean" not in tensors
        target = model[1] if alone else model
    state = target.state_dict()
    wrong = [f"the model's {name!r} is not in it" for name in state if name not in tensors]
    wrong += [f"the model has no {name!r}" for name in tensors if name not in state]
    for name, tensor in tensors.items():
        own = state.get(name)
        if own is not None and not _fits(own, tensor):
            wrong.append(f"{name!r} is {_shown(tensor)}, the model's is {_shown(own)}")
    if wrong:
        more = f"; and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise WeightsRefused(path, "; ".join(wrong[:3]) + more)
    target.load_state_dict(dict(tensors))


def _fits(own: Any, tensor: Tensor) -> bool:
    """Floats of any width go into floats; whole numbers and truth values change only among themselves."""
    if not isinstance(own, Tensor):
        return False
    same_kind = (own.is_floating_point(), own.is_complex()) == (tensor.is_floating_point(), tensor.is_complex())
    return own.shape == tensor.shape and same_kind


def _shown(value: Any) -> str:
    return f"{value.dtype} {tuple(value.shape)}" if isinstance(value, Tensor) else f"of type {type(value).__name__}"


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return checkpoint.read(path)[0]
    except CheckpointBroken as error:
        raise WeightsRefused(path, f"it is a damaged safetensors file: {error.reason}") from error


def _archive(path: Path, opened: IO[bytes]) -> str | None:
    """What a zip archive is, where loading it runs more than the weights-only unpickler: its members say."""
    try:
        with zipfile.ZipFile(opened) as archive:
            members = archive.namelist()
    except Exception as error:
        # Damage can make the index into anything; whatever that raises, the members are not known.
        raise WeightsRefused(path, f"it begins like a zip archive and cannot be read as one: {error}") from error
    if any(EXPORTED.search(name) for name in members):
        return "an exported program"
    if any(TORCHSCRIPT.search(name) for name in members):
        return "a TorchScript archive"
    return None


def _unpickled(path: Path, opened: IO[bytes]) -> Any:
    """What `torch.save` wrote, read by the unpickler that knows tensors and containers and calls nothing else."""
    try:
        # The open file and not its name: by a name that ends in .safetensors, torch.load takes another way. Said here,
        # weights_only holds against the environment variable that turns it off where it goes unsaid.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles of other protocols, which then fail
            return torch.load(opened, map_location="cpu", weights_only=True)
    except Exception as error:
        opened.seek(0)
        raise WeightsRefused(path, _why(error, opened)) from error


def _why(error: Exception, opened: IO[bytes]) -> str:
    """Why the weights-only unpickler refused a file; the globals that it names are what would be called."""
    refused = re.search(r"GLOBAL (\S+)", str(error))
    named = [refused[1]] if refused else _globals(opened)
    if not named:
        return "it is neither safetensors nor what torch.save makes of a dict of tensors"
    more = f" and {len(named) - 3} more" if len(named) > 3 else ""
    return (
        f"it is a pickle that cannot be read without running code: it names {', '.join(named[:3])}{more}; "
        "save the state dict alone, `torch.save(model.state_dict(), …)`, or as safetensors"
    )


def _globals(opened: IO[bytes]) -> list[str]:
    """The globals that a file's pickles name, in order, read off their opcodes: nothing is looked up or called."""
    found: list[str] = []
    try:
        if opened.read(4) == ZIP:
            with zipfile.ZipFile(opened) as archive:
                member = next(name for name in archive.namelist() if name.endswith("data.pkl"))
                opened = io.BytesIO(archive.read(member))
        opened.seek(0)
        for _ in range(OLD_FORMAT):
            _scan(opened, found)
    except Exception:
        # No pickle, or one cut short: what was found until there is what can be said.
        pass
    return list(dict.fromkeys(found))


def _scan(opened: IO[bytes], found: list[str]) -> None:
    texts: list[str] = []
    kept: list[str] = []  # what the memo holds, as far as it is text
    for code, argument, _ in pickletools.genops(opened):
        if code.name in {"GLOBAL", "INST"}:
            found.append(str(argument).replace(" ", "."))
        elif code.name == "STACK_GLOBAL":
            found.append(".".join(texts[-2:]))
        elif code.name == "MEMOIZE":
            kept.append(texts[-1] if texts else "")
        elif code.name in {"BINGET", "LONG_BINGET"} and isinstance(argument, int) and argument < len(kept):
            texts.append(kept[argument])
        elif isinstance(argument, str):
            texts.append(argument)


def _trusted(path: Path, opened: IO[bytes], kind: str) -> Any:
    """The state of an archive that the user trusts; loading it may run its code."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch calls TorchScript deprecated
            if kind == "a TorchScript archive":
                return torch.jit.load(opened, map_location="cpu").state_dict()  # type: ignore[no-untyped-call]
            return torch.export.load(opened).state_dict
    except Exception as error:
        raise WeightsRefused(path, f"it is {kind}, and torch cannot load it: {error}") from error


def _tensors(path: Path, value: Any) -> dict[str, Tensor]:
    """The dict of tensors that a file of `torch.save` holds, itself or under one of the usual keys."""
    if not isinstance(value, Mapping):
        raise WeightsRefused(path, f"it holds no dict of tensors but {_named(value)}")
    inner = next((value[key] for key in WRAPPERS if isinstance(value.get(key), Mapping)), value)
    tensors = _plain(path, inner)
    if all(name.startswith(DATA_PARALLEL) for name in tensors):
        tensors = {name.removeprefix(DATA_PARALLEL): tensor for name, tensor in tensors.items()}
    return tensors


def _plain(path: Path, value: Mapping[Any, Any]) -> dict[str, Tensor]:
    """The dict, if it holds ordinary tensors by their names, and nothing else."""
    other = [f"{key!r}: {_named(entry)}" for key, entry in value.items() if not _ordinary(key, entry)]
    if other:
        more = f" and {len(other) - 3} more" if len(other) > 3 else ""
        raise WeightsRefused(path, f"it holds a dict with what are no weights, {', '.join(other[:3])}{more}")
    if not value:
        raise WeightsRefused(path, "it holds an empty dict")
    return {key: entry.detach() for key, entry in value.items()}


def _ordinary(key: Any, entry: Any) -> bool:
    dense = isinstance(entry, Tensor) and entry.layout is torch.strided and not entry.is_quantized
    return isinstance(key, str) and dense and entry.device.type == "cpu"


def _named(value: Any) -> str:
    if isinstance(value, Tensor):
        layout = "a quantised" if value.is_quantized else f"a {value.layout}"
        return f"{layout} tensor on {value.device}" if not _ordinary("", value) else "a lone tensor"
    kind = type(value).__name__
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"
