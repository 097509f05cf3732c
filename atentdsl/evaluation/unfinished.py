"""What an evaluation that was stopped had found, so that the same one goes on from there and ends with the same bits.

<cache>/unfinished/<digest>.jsonl    a line for each batch that an attack took more than a moment for

The folder is the user's own and not the run's: a run's directory may come from anywhere, and an evaluation believes
nothing in it but the weights. The file is named by the digest of all that answers depend on, and a line by that of its
images, labels and seed, so that whatever differs is asked anew. At the evaluation's end the file goes.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from atentdsl.evaluation.attacks import Attack, modules
from atentdsl.recipe import Recipe
from atentdsl.runtime.accuracy import Withstands
from atentdsl.runtime.data import tensors_sha256
from atentdsl.runtime.manifest import versions
from atentdsl.runtime.roots import cache

__all__ = ["Unfinished", "depends_on"]

MOMENT = 1.0  # seconds; what took less is asked again
KEPT = 30 * 24 * 3600.0  # seconds; of an evaluation that nobody goes on with


@attrs.define(eq=False)
class Unfinished:
    """The answers of one evaluation, in a file while it lasts.

    Attributes:
        path: the file, which need not be there.
        known: the answers, by the digests of what was asked: a character an image, `1` where it withstood.
        taken: how many were not asked for again.

    >>> import tempfile
    >>> def attack(model, x, y, seed):  # too quick to be kept
    ...     return y == 0
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     unfinished = Unfinished.of({"recipe": "sgd"}, Path(folder))
    ...     unfinished.known["7 " + tensors_sha256({"x": torch.zeros(2, 3), "y": torch.tensor([0, 1])})] = "01"
    ...     remembered = unfinished.remember(attack)
    ...     for seed in (7, 8):
    ...         print(remembered(nn.Identity(), torch.zeros(2, 3), torch.tensor([0, 1]), seed), unfinished.taken)
    tensor([False,  True]) 1
    tensor([ True, False]) 1
    """

    path: Path
    known: dict[str, str] = attrs.field(factory=dict, repr=False)
    taken: int = 0

    @classmethod
    def of(cls, named: Mapping[str, Any], folder: Path | None = None) -> Unfinished:
        """That of the evaluation which depends on all this, as JSON can say it; in the user's cache where not given.

        A line that is torn or none counts as not there, and files that are left for a month are removed.
        """
        folder = cache() / "unfinished" if folder is None else folder
        digest = hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()
        path = folder / f"{digest}.jsonl"
        with suppress(OSError):
            for left in folder.glob("*.jsonl"):
                if time.time() - left.stat().st_mtime > KEPT:
                    left.unlink()
        return cls(path, _read(path))

    def remember(self, attack: Withstands) -> Withstands:
        """The attack that answers from the file what stands in it, and writes there what it answers."""

        def asked(model: nn.Module, x: Tensor, y: Tensor, seed: int) -> Tensor:
            question = f"{seed} {tensors_sha256({'x': x, 'y': y})}"
            said = self.known.get(question, "")
            if len(said) == len(y) and said:
                self.taken += 1
                return torch.tensor([one == "1" for one in said], dtype=torch.bool, device=y.device)
            begin = time.monotonic()
            held = attack(model, x, y, seed)
            answer = "".join("1" if one else "0" for one in held.tolist())
            if time.monotonic() - begin >= MOMENT:
                self._keep(question, answer)
            return held

        return asked

    def end(self) -> None:
        """The evaluation is over: its file goes."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)

    def _keep(self, question: str, answer: str) -> None:
        """Writes one line, whole; where that is not possible the evaluation goes on without."""
        line = json.dumps({"asked": question, "withstand": answer}) + "\n"
        with suppress(OSError):
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(self.path, flags, 0o600)
            try:
                # A line that was torn by a kill must not swallow this one.
                os.write(descriptor, ("\n" + line).encode())
            finally:
                os.close(descriptor)
            self.known[question] = answer


def depends_on(recipe: Recipe, network: nn.Module, attacks: Sequence[Attack], device: torch.device) -> dict[str, Any]:
    """All that the answers depend on beside images, labels and seed: recipe, weights, attacks, versions, this code.

    Only of a network whose code is this package's own; another's may change without a trace here.
    """
    return {
        "recipe": recipe.digest(),
        "weights": tensors_sha256(dict(sorted(network.state_dict().items()))),
        "attacks": [[attack.name, attack.settings()] for attack in attacks],
        "modules": modules(attacks),
        "device": str(device),
        "threads": torch.get_num_threads() if device.type == "cpu" else None,  # sums round by them
        "versions": versions(),
        "code": _code(),
    }


def _read(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return {}
    found = {}
    for line in lines:
        with suppress(ValueError, TypeError, KeyError):
            told = json.loads(line)
            question, answer = told["asked"], told["withstand"]
            if isinstance(question, str) and isinstance(answer, str) and set(answer) <= {"0", "1"}:
                found[question] = answer
    return found


def _code() -> str:
    """sha256 of the package's modules, which one version may have several of while it is developed."""
    seen = hashlib.sha256()
    package = Path(__file__).parents[1]
    for path in sorted(package.rglob("*.py")):
        seen.update(f"{path.relative_to(package)}\n".encode())
        seen.update(path.read_bytes())
    return seen.hexdigest()
