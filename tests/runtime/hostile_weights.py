"""Weights files that write a file where their code runs: pickles, an exported program, a TorchScript archive."""

from __future__ import annotations

import contextlib
import io
import pickle
import shutil
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import nn


class Copying:
    """Copies a file where it is unpickled."""

    def __init__(self, ran: Path) -> None:
        self.ran = ran

    def __reduce__(self) -> Any:
        return shutil.copyfile, (__file__, str(self.ran))


class Saving(nn.Module):
    """Saves a file where it is loaded from TorchScript."""

    def __init__(self, ran: str) -> None:
        super().__init__()
        self.ran = ran
        self.register_buffer("weight", torch.ones(2))

    @torch.jit.export
    def __getstate__(self) -> tuple[torch.Tensor, str, bool]:
        return self.weight, self.ran, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, str, bool]) -> None:
        torch.save(state[0], state[1])
        self.weight = state[0]
        self.ran = state[1]
        self.training = state[2]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight


def saved(value: Any, **named: Any) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, **named)
    return file.getvalue()


def exported(path: Path, network: nn.Module | None = None, shape: tuple[int, ...] = (1, 2)) -> None:
    torch.export.save(torch.export.export(network or nn.Linear(2, 2), (torch.zeros(shape),)), path)


def scripted(path: Path, network: nn.Module | None = None) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls TorchScript deprecated
        torch.jit.script(network or nn.Linear(2, 2)).save(str(path))


PICKLES = {
    "a pickle": lambda ran: pickle.dumps(Copying(ran)),
    "a pickle of protocol 2": lambda ran: pickle.dumps(Copying(ran), protocol=2),
    "a pickle of protocol 0": lambda ran: pickle.dumps(Copying(ran), protocol=0),
    "torch.save": lambda ran: saved(Copying(ran)),
    "torch.save in protocol 4": lambda ran: saved(Copying(ran), pickle_protocol=4),
    "torch.save's old format": lambda ran: saved(Copying(ran), _use_new_zipfile_serialization=False),
    "the old format in protocol 4": lambda ran: saved(
        Copying(ran), _use_new_zipfile_serialization=False, pickle_protocol=4
    ),
    "beside a state dict": lambda ran: saved({"state_dict": nn.Linear(2, 2).state_dict(), "epoch": Copying(ran)}),
    "in a state dict": lambda ran: saved({"weight": torch.ones(2, 2), "bias": Copying(ran)}),
}


def payload_in_program(path: Path, ran: Path) -> None:
    """An exported program whose example inputs are a pickle that torch does not read without running code."""
    exported(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    (inputs,) = (name for name in members if name.endswith("sample_inputs/model.pt"))
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, saved(Copying(ran)) if name == inputs else content)


def payload_in_old_program(path: Path, ran: Path) -> None:
    """The same in the layout of torch 2.7 and older."""
    from torch._export.serde import serialize
    from torch._export.serde.schema import SCHEMA_VERSION

    program = serialize.serialize(torch.export.export(nn.Linear(2, 2), (torch.zeros(1, 2),))).exported_program
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("version", ".".join(map(str, SCHEMA_VERSION)))
        archive.writestr("serialized_exported_program.json", program)
        archive.writestr("serialized_state_dict.pt", saved(Copying(ran)))
        archive.writestr("serialized_constants.pt", saved({}))
        archive.writestr("serialized_example_inputs.pt", saved(()))


def payload_in_script(path: Path, ran: Path) -> None:
    scripted(path, Saving(str(ran)))
    ran.unlink(missing_ok=True)


def load_program(path: Path) -> None:
    with contextlib.suppress(AssertionError):  # what the payload gave is no tuple of inputs; by then it has run
        torch.export.load(path)


def load_script(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.load(path)


ARCHIVES = {
    "an exported program": (payload_in_program, load_program, "an exported program"),
    "an exported program of torch 2.7": (payload_in_old_program, load_program, "an exported program"),
    "a TorchScript archive": (payload_in_script, load_script, "a TorchScript archive"),
}
"""How each is made, what loads it and so runs its code, and what it is called."""
