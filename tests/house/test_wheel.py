"""The wheel carries all it needs: installed elsewhere, it works from an empty folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = out.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A second environment with the wheel in it; its dependencies are read from the first."""
    place = tmp_path_factory.mktemp("second") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True, timeout=300)
    command = [sys.executable, "-m", "pip", "--python", str(place / "bin/python"), "install", "--quiet"]
    subprocess.run([*command, "--no-deps", "--no-index", str(wheel)], check=True, timeout=300)
    (site,) = (place / "lib").glob("python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return place / "bin"


def typed(installed, folder, *words):
    environment = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    return subprocess.run(
        [installed / "atentdsl", *words], cwd=folder, capture_output=True, text=True, timeout=300, check=False,
        env=environment,
    )  # fmt: skip


def test_it_is_the_wheel_that_runs(installed, tmp_path):
    probe = "import atentdsl; print(atentdsl.__file__)"
    done = subprocess.run([installed / "python", "-c", probe], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert str(installed.parent) in done.stdout


def test_check_compile_and_three_steps_from_an_empty_folder(installed, tmp_path):
    done = typed(installed, tmp_path, "check", "recipes/atent_linf.toml", "sgd")
    assert done.returncode == 0, done.stderr
    done = typed(installed, tmp_path, "compile", "atent_linf")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "generated/atent_linf.py").read_text() == (ROOT / "generated/atent_linf.py").read_text()
    done = typed(installed, tmp_path, "run", "recipes/atent_linf.toml", "--max-steps", "3")
    assert done.returncode == 0, done.stderr
    run = tmp_path / done.stdout.splitlines()[-1]
    assert json.loads((run / "manifest.json").read_text())["seed"] == 0
    assert (run / "checkpoints/best.safetensors").is_file()


def test_it_carries_recipes_templates_types_and_licence(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for recipe in (ROOT / "recipes").rglob("*.toml"):
        assert f"atentdsl/shipped_recipes/{recipe.relative_to(ROOT / 'recipes')}" in names
    assert "atentdsl/py.typed" in names
    assert "atentdsl/codegen/templates/train.py.j2" in names
    assert {f"atentdsl/reporting/templates/{name}" for name in ("report.html.j2", "report.css")} <= set(names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not any(name.startswith(("tests/", "docs/")) for name in names)
