import socket
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atentdsl.runtime.roots import VARIABLE, NotDownloaded, Root, cache, data_root, download, torchvision_command

FILES = ("set/raw/a", "set/raw/b")
WRITE = """
import pathlib, sys
raw = pathlib.Path(sys.argv[1]) / "set" / "raw"
raw.mkdir(parents=True)
(raw / "a").write_text("new a")
"""
WRITE_BOTH = WRITE + '(raw / "b").write_text("new b")\n'


def python(script):
    return [sys.executable, "-c", script]


def held(root):
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


@given(
    given=st.none() | st.just("given"),
    named=st.none() | st.sampled_from(["", "named"]),
    xdg=st.none() | st.sampled_from(["", "relative", "absolute"]),
)
def test_the_first_that_is_given_is_the_root(tmp_path_factory, given, named, xdg):
    home, folder = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("folder")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        for variable, value in ((VARIABLE, named), ("XDG_CACHE_HOME", xdg)):
            if value is None:
                patch.delenv(variable, raising=False)
            else:
                patch.setenv(variable, str(folder) if value == "absolute" else value)
        found = data_root(None if given is None else Path(given))
        in_cache = folder / "atentdsl" if xdg == "absolute" else home / ".cache/atentdsl"
        assert cache() == in_cache
    if given:
        assert (found.path, found.is_cache) == (Path("given"), False)
    elif named:
        assert (found.path, found.is_cache) == (Path("named"), False)
    else:
        assert (found.path, found.is_cache) == (in_cache, True)
    assert list(home.iterdir()) == list(folder.iterdir()) == []  # choosing makes no folder


def test_a_tilde_is_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(VARIABLE, "~/data")
    assert data_root().path == tmp_path / "data"
    assert data_root(Path("~/other")) == Root(tmp_path / "other", "the folder given")


def test_a_download_is_moved_into_place_and_nothing_else_is_left(tmp_path, capfd):
    into = tmp_path / "made" / "on the way"
    download(python(WRITE_BOTH + "print('out'); print('err', file=sys.stderr)"), FILES, into)
    assert held(into) == {"set/raw/a": "new a", "set/raw/b": "new b"}
    assert [path.name for path in into.iterdir()] == ["set"]
    assert capfd.readouterr() == ("", "")


def test_only_the_files_asked_for_are_kept_and_what_was_there_is_replaced(tmp_path):
    (tmp_path / "set/raw").mkdir(parents=True)
    (tmp_path / "set/raw/a").write_text("old a")
    (tmp_path / "set/mine").write_text("mine")
    download(python(WRITE_BOTH), FILES[:1], tmp_path)
    assert held(tmp_path) == {"set/raw/a": "new a", "set/mine": "mine"}


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (WRITE_BOTH + "raise SystemExit('no more space')", "no more space"),
        (WRITE_BOTH + "raise SystemExit(7)", "status 7"),
        (WRITE_BOTH + "raise RuntimeError('not its checksum\\n\\n')", "not its checksum"),
        (WRITE, "no set/raw/b"),
        ("", "no set/raw/a"),
    ],
)
def test_a_download_that_fails_says_why_and_changes_nothing(tmp_path, script, reason, capfd):
    (tmp_path / "set/raw").mkdir(parents=True)
    (tmp_path / "set/raw/b").write_text("old b")
    with pytest.raises(NotDownloaded, match=reason):
        download(python(script), FILES, tmp_path)
    assert held(tmp_path) == {"set/raw/b": "old b"}
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    assert capfd.readouterr() == ("", "")


def test_a_download_is_stopped_at_its_limit(tmp_path):
    alive = tmp_path / "alive"
    into = tmp_path / "into"
    script = WRITE_BOTH + f"import time; time.sleep(3); pathlib.Path({str(alive)!r}).touch(); time.sleep(60)"
    begin = time.monotonic()
    with pytest.raises(NotDownloaded, match="stopped after 1 s"):
        download(python(script), FILES, into, limit=1)
    assert time.monotonic() - begin < 3
    assert list(into.iterdir()) == []
    time.sleep(max(0.0, begin + 4 - time.monotonic()))
    assert not alive.exists()


def test_a_folder_that_cannot_be_written_is_no_crash(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NotDownloaded, match="Not a directory"):
        download(python(WRITE_BOTH), FILES, tmp_path / "file" / "root")
    with pytest.raises(NotDownloaded, match="No such file"):
        download([str(tmp_path / "no command")], FILES, tmp_path)
    assert held(tmp_path) == {"file": ""}


@pytest.fixture
def proxy(monkeypatch):
    """A server that takes connections and never answers; every download of a child process goes through it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        for variable in ("http_proxy", "https_proxy"):
            monkeypatch.setenv(variable, f"http://127.0.0.1:{server.getsockname()[1]}")
            monkeypatch.delenv(variable.upper(), raising=False)
        for variable in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(variable, raising=False)
        yield server


def test_torchvision_gives_up_a_silent_server(tmp_path, proxy, monkeypatch):
    monkeypatch.setattr("atentdsl.runtime.roots.STALL", 0.2)
    with pytest.raises(NotDownloaded, match="timed out"):
        download(torchvision_command("MNIST"), ["MNIST/raw/train-images-idx3-ubyte"], tmp_path, limit=60)
    proxy.settimeout(0)
    proxy.accept()[0].close()  # it was asked
    assert list(tmp_path.iterdir()) == []
    assert socket.getdefaulttimeout() is None
