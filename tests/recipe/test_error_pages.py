"""Every error code has a page, every page a code; what a page shows wrong is wrong so, and what it mends loads."""

from __future__ import annotations

import ast
import re
import shutil
from pathlib import Path

import pytest

from atentdsl.cli import run
from atentdsl.recipe import load
from atentdsl.source import LONGEST_FILE, RecipeError

ROOT = Path(__file__).parents[2]
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "docs/errors").glob("*.md")}
CODE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
MAKERS = {"Diagnostic", "_failure", "_refused"}
# Made by the tests below, since no text can show them.
ELSEWHERE = {"unreadable", "file-too-large", "not-utf8"}


def codes() -> set[str]:
    """Every code that the program can give, read from its source."""
    found: set[str] = set()
    for folder in ("source", "recipe"):
        for path in (ROOT / "atentdsl" / folder).glob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in MAKERS:
                    found |= {arg.value for arg in node.args[:2] if _is_code(arg)}
                elif (isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "CODE") or (
                    isinstance(node, ast.keyword) and node.arg == "code"
                ):
                    found |= {node.value.value} if _is_code(node.value) else set()
    return found


def _is_code(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and bool(CODE.fullmatch(node.value))


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)\n```", page, re.DOTALL)


def test_every_code_has_a_page_and_every_page_a_code():
    assert codes() == set(PAGES)
    assert len(PAGES) > 15


def test_pages_are_headed_by_their_code_and_say_what_to_do():
    for code, page in PAGES.items():
        assert page.startswith(f"# `{code}`\n\n"), code
        assert bool(blocks(page, "toml") or blocks(page, "sh")) == (code not in ELSEWHERE), code
        assert ("Mended" in page) == (code not in ELSEWHERE), code


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the shipped recipes in it."""
    shutil.copytree(ROOT / "recipes", tmp_path, dirs_exist_ok=True)
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(file: str | Path) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        load(file)
    return [mistake.code for mistake in caught.value.diagnostics]


@pytest.mark.parametrize("code", sorted(code for code in PAGES if blocks(PAGES[code], "toml")))
def test_the_recipe_of_a_page_is_wrong_as_it_says_and_the_mended_one_loads(code, folder):
    wrong, mended = blocks(PAGES[code], "toml")
    (folder / "mine.toml").write_text(wrong, encoding="utf-8")
    assert set(found("mine.toml")) == {code}
    (folder / "mine.toml").write_text(mended, encoding="utf-8")
    assert load("mine.toml").name == "mine"


@pytest.mark.parametrize("code", sorted(code for code in PAGES if blocks(PAGES[code], "sh")))
def test_the_command_of_a_page_is_wrong_as_it_says_and_the_mended_one_is_fine(code, folder, capsys):
    wrong, mended = (block.split() for block in blocks(PAGES[code], "sh"))
    assert wrong[0] == mended[0] == "atentdsl"
    assert run(wrong[1:]) == 2
    assert re.findall(r"^error\[(.*?)\]", capsys.readouterr().err, re.MULTILINE) == [code]
    assert run(mended[1:]) == 0


def test_what_no_page_can_show(tmp_path):
    loop = tmp_path / "loop.toml"
    loop.symlink_to(loop)
    assert found(loop) == ["unreadable"]
    (tmp_path / "large.toml").write_text("#" * (LONGEST_FILE + 1))
    assert found(tmp_path / "large.toml") == ["file-too-large"]
    (tmp_path / "bytes.toml").write_bytes(b'schema = 1\nname = "\xe9"\n')
    assert found(tmp_path / "bytes.toml") == ["not-utf8"]
