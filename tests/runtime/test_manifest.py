import hashlib
import importlib
import importlib.metadata
import json
import os
import pickle
import platform
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from atentdsl.runtime import devices, manifest
from atentdsl.runtime.errors import (
    CheckpointBroken,
    DataMissing,
    DeviceUnavailable,
    Diverged,
    NotARunDirectory,
    UserCodeRefused,
    WeightsRefused,
)
from atentdsl.runtime.policy import Policy


def make(**changes):
    given_values = {
        "seed": 7,
        "device": torch.device("cpu"),
        "policy": Policy("bfloat16", channels_last=True),
        "recipe_hash": "r",
        "module_hash": "m",
        "data_hashes": {"training": "t", "test": "u"},
        "command": ["atentdsl", "run", "x.toml"],
    }
    return manifest.manifest(**(given_values | changes))


def test_the_manifest_is_json_and_says_what_was_given():
    made = make()
    assert json.loads(json.dumps(made, allow_nan=False)) == made
    assert (made["seed"], made["device"]) == (7, "cpu")
    assert made["policy"] == {
        "precision": "bfloat16",
        "channels_last": True,
        "flush_subnormals": False,
        "keep_freed": False,
        "fused": False,
        "graph": False,
    }
    assert (made["recipe_sha256"], made["module_sha256"]) == ("r", "m")
    assert made["data_sha256"] == {"training": "t", "test": "u"}
    assert made["command"] == ["atentdsl", "run", "x.toml"]
    assert make(command=None)["command"] is None


def test_versions_are_those_that_run():
    versions = make()["versions"]
    assert versions["torch"] == torch.__version__
    assert type(versions["torch"]) is str
    assert versions["python"] == platform.python_version()
    assert versions["numpy"] == numpy.__version__
    assert versions["torchvision"] == importlib.metadata.version("torchvision")


def test_a_version_is_unknown_where_the_package_is_not_installed(monkeypatch, tmp_path):
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    assert make()["versions"]["atentdsl"] == "unknown"
    (tmp_path / "atentdsl-9.8.7.dist-info").mkdir()
    (tmp_path / "atentdsl-9.8.7.dist-info" / "METADATA").write_text("Name: atentdsl\nVersion: 9.8.7\n")
    importlib.invalidate_caches()
    assert make()["versions"]["atentdsl"] == "9.8.7"


def test_the_start_is_now_in_utc():
    started = datetime.fromisoformat(make()["started"])
    assert started.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - started) < timedelta(seconds=30)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_sha256_is_of_the_file_that_is_written(text):
    assert manifest.sha256_text(text) == hashlib.sha256(text.encode("utf-8")).hexdigest()


def test_the_machine_is_described():
    machine = devices.describe()
    assert machine["threads"] == os.cpu_count()
    assert machine["torch_threads"] == torch.get_num_threads()
    assert len(machine["gpus"]) == torch.cuda.device_count()
    if Path("/proc/meminfo").exists():
        kilobytes = int(Path("/proc/meminfo").read_text().split()[1])
        assert machine["memory"] == pytest.approx(kilobytes * 1024, rel=0.01)
        assert machine["cores"] is None or 1 <= machine["cores"] <= machine["threads"]


def test_a_device_is_chosen():
    assert devices.choose("cpu") == torch.device("cpu")
    if torch.cuda.is_available():
        here = torch.zeros(1, device="cuda").device
        assert devices.choose("auto") == devices.choose("cuda") == here
    else:
        assert devices.choose("auto") == torch.device("cpu")
        with pytest.raises(DeviceUnavailable, match=r"cuda was asked for, but torch .*; choose auto or cpu"):
            devices.choose("cuda")
    with pytest.raises(DeviceUnavailable, match="unknown device 'gpu'; choose one of auto, cpu, cuda"):
        devices.choose("gpu")


@pytest.mark.parametrize(
    "error",
    [
        DataMissing("no files", "them there", "atent_linf"),
        Diverged(3, 40, Path("runs/last.safetensors")),
        Diverged(3, 40, None),
        CheckpointBroken(Path("x"), "torn"),
        NotARunDirectory(Path("x"), ("recipe.toml",)),
        WeightsRefused(Path("x"), "it is a list"),
        WeightsRefused(None, "it is a list"),
        UserCodeRefused("own_nets:small", "there is no such module"),
    ],
)
def test_errors_come_through_a_process_boundary(error):
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)


def test_divergence_names_the_last_good_checkpoint():
    assert "runs/last.safetensors" in str(Diverged(3, 40, Path("runs/last.safetensors")))
    assert "epoch 3 at step 40" in str(Diverged(3, 40, None))
