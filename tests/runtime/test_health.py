"""Facts and findings about a machine, by real faults wherever one can be made: mounts, control groups, limits."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import importlib.metadata
import json
import os
import resource
import subprocess
import sys
import sysconfig
from pathlib import Path
from unittest import mock

import attrs
import pytest
import torch

from atentdsl.runtime import datasets, health, machine, roots
from atentdsl.runtime.datasets import cifar10, mnist
from atentdsl.runtime.errors import DataMissing
from atentdsl.runtime.health import allowance, data, folders, libraries

SITE = Path(sysconfig.get_paths()["purelib"])


def ask(expression, **settings):
    """The value of an expression of this project in a process of its own, which loads no torch."""
    script = (
        f"import json, sys; from atentdsl.runtime.health import allowance; json.dump({expression}, sys.stdout);"
        "sys.exit('torch._C' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, **settings)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def mounted(tmp_path):
    """Mounts a small file system in memory, with the options given; it is gone after the test."""
    places = []

    def mount(options, *, again=None):
        place = again or tmp_path / f"mount-{len(places)}"
        if again is None:
            place.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            pytest.skip("there is no mount command")
        if done.returncode:
            pytest.skip(f"mounting is not permitted here: {done.stderr.strip()}")
        if again is None:
            places.append(place)
        return place

    yield mount
    for place in places:
        subprocess.run(["umount", str(place)], check=True)


# The whole


@pytest.fixture(scope="module")
def examined(tmp_path_factory):
    folder = tmp_path_factory.mktemp("here")
    return folder, health.examine(folder / "data", folder / "runs")


def test_the_facts_are_the_machines(examined):
    import torchvision  # where it is asked for: it takes a second, in every process that collects the tests

    facts = examined[1].facts
    assert facts.versions.torch == torch.__version__
    assert facts.versions.torchvision == torchvision.__version__
    assert facts.versions.cuda == torch.version.cuda
    assert facts.processor.threads == os.cpu_count()
    assert 0 < facts.processor.available <= os.cpu_count()
    assert facts.processor.torch_threads == torch.get_num_threads()
    assert facts.processor.omp_num_threads == os.environ["OMP_NUM_THREADS"]
    assert len(facts.devices) == torch.cuda.device_count()
    assert (facts.no_cuda is None) == bool(facts.devices)
    assert facts.precision.float32
    assert list(facts.precision.bfloat16) == ["cpu", *(device.name for device in facts.devices)]
    assert set(facts.data.sets) == set(datasets.names())
    assert facts.data.sets["digits"] == "undamaged"


def test_the_examination_leaves_nothing_and_is_json(examined):
    folder, found = examined
    assert list(folder.iterdir()) == []
    said = json.loads(json.dumps(found.to_json()))
    assert said["facts"]["data"]["root"] == str(folder / "data")
    assert [finding["about"] for finding in said["findings"]] == [finding.about for finding in found.findings]
    assert "data" in {finding.about for finding in found.findings}, "the folder given is not there"


def test_facts_and_findings_do_not_change(examined):
    for value in (examined[1], examined[1].facts, examined[1].findings[0]):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            value.facts = value.processor = value.wrong = None


# torch and torchvision


def farm(folder, package, without):
    """A package by links, lacking one of its files; a folder for PYTHONPATH."""
    left_out = SITE / package / without
    assert left_out.exists()
    opened = [path for path in left_out.parents if path.is_relative_to(SITE / package)]
    for source in reversed(opened):
        target = folder / source.relative_to(SITE)
        target.mkdir()
        for path in source.iterdir():
            if path not in opened and path != left_out:
                (target / path.name).symlink_to(path)
    for libraries_of in SITE.glob("*.libs"):
        (folder / libraries_of.name).symlink_to(libraries_of)
    (folder / "nvidia").symlink_to(SITE / "nvidia")
    return folder


def found_with(path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(path))
    monkeypatch.delenv(libraries.VISIBLE, raising=False)
    return libraries.libraries()


def test_torchvision_without_its_operators_is_found(tmp_path, monkeypatch):
    """As after an upgrade of torch alone: the library of operators cannot be loaded."""
    found = found_with(farm(tmp_path, "torchvision", "_C_stable.so"), monkeypatch)
    (finding,) = (finding for finding in found.findings if finding.about != "device")
    assert finding.about == "torchvision"
    assert finding.wrong.startswith(f"torchvision {importlib.metadata.version('torchvision').split('+')[0]}")
    assert f"does not fit torch {torch.__version__}: " in finding.wrong
    assert "nms" in finding.wrong or "custom C++ ops" in finding.wrong
    assert "pip install" in finding.mend
    assert found.threads == torch.get_num_threads(), "torch itself works"


def test_torch_without_one_of_its_libraries_is_found(tmp_path, monkeypatch):
    found = found_with(farm(tmp_path, "torch", "lib/libtorch_cpu.so"), monkeypatch)
    (finding,) = found.findings
    assert finding.about == "torch"
    assert "does not work: " in finding.wrong
    assert "libtorch_cpu.so" in finding.wrong
    assert (found.threads, found.cuda, found.devices, found.no_cuda, found.digits) == (None, None, (), None, None)


def test_a_torch_that_ends_the_process_is_found(tmp_path, monkeypatch):
    (tmp_path / "torch.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGILL)")
    (finding,) = found_with(tmp_path, monkeypatch).findings
    assert finding.about == "torch"
    assert finding.wrong.endswith("does not work: the process was ended by SIGILL")


def test_a_torch_that_does_not_answer_is_found(tmp_path, monkeypatch):
    (tmp_path / "torch.py").write_text("import time; time.sleep(600)")
    monkeypatch.setattr(libraries, "LIMIT", 1.0)
    (finding,) = found_with(tmp_path, monkeypatch).findings
    assert finding.wrong.endswith("does not work: no answer in 1 s")


def test_what_a_library_prints_is_no_answer(tmp_path, monkeypatch):
    (tmp_path / "torch.py").write_text("print('{no json'); print('[1]'); raise ImportError('built for another Python')")
    (finding,) = found_with(tmp_path, monkeypatch).findings
    assert finding.wrong.endswith("does not work: ImportError: built for another Python")


# Devices


def test_a_device_that_is_named_and_not_there_is_found(monkeypatch):
    if torch.cuda.is_available() or torch.version.cuda is None:
        pytest.skip("torch without CUDA, or a machine that has the device that is to be missing")
    monkeypatch.setenv(libraries.VISIBLE, "0")
    (finding,) = libraries.libraries().findings
    assert finding.about == "device"
    assert finding.wrong.startswith(
        f"torch is built for CUDA {torch.version.cuda} and finds no device, though CUDA_VIS"
    )


def card(root, vendor="0x10de", kind="0x030200"):
    folder = root / "sys/bus/pci/devices/0000:00:04.0"
    folder.mkdir(parents=True)
    (folder / "vendor").write_text(f"{vendor}\n")
    (folder / "class").write_text(f"{kind}\n")


@pytest.mark.parametrize(
    ("vendor", "kind", "number"),
    [("0x10de", "0x030200", 1), ("0x10de", "0x030000", 1), ("0x10de", "0x040300", 0), ("0x1002", "0x030000", 0)],
)
def test_a_card_that_torch_does_not_find_is_found(tmp_path, monkeypatch, vendor, kind, number):
    """No card here can lose its driver: what the system shows of one is written by hand."""
    monkeypatch.delenv(libraries.VISIBLE, raising=False)
    card(tmp_path, vendor, kind)
    findings = libraries.no_device("13.2", "Found no NVIDIA driver on your system", tmp_path)
    assert len(findings) == number
    for finding in findings:
        assert "though there is an NVIDIA card: Found no NVIDIA driver" in finding.wrong
        assert "--device cpu" in finding.mend


def test_a_driver_without_a_device_is_found_and_devices_hidden_on_purpose_are_not(tmp_path, monkeypatch):
    monkeypatch.delenv(libraries.VISIBLE, raising=False)
    assert libraries.no_device("13.2", "No CUDA GPUs are available", tmp_path) == ()
    card(tmp_path)
    (tmp_path / "proc/driver/nvidia").mkdir(parents=True)
    (tmp_path / "proc/driver/nvidia/version").write_text("NVRM version")
    (finding,) = libraries.no_device("13.2", "No CUDA GPUs are available", tmp_path)
    assert "an NVIDIA card and NVIDIA's driver is loaded: No CUDA GPUs" in finding.wrong
    assert libraries.no_device("13.2", None, tmp_path) == ()
    for hidden in ("", "-1"):
        monkeypatch.setenv(libraries.VISIBLE, hidden)
        assert libraries.no_device("13.2", "No CUDA GPUs are available", tmp_path) == ()


@pytest.mark.parametrize(
    ("capability", "by"),
    [("7.5", None), ("8.0", "capability 8.0"), ("9.0", "capability 9.0"), ("12.0", "capability 12.0")],
)
def test_bfloat16_needs_capability_8(capability, by):
    device = libraries.Device("cuda:0", "a card", 8 * 2**30, capability, None)
    assert health.bfloat16(frozenset({"avx2"}), (device,)) == {"cpu": None, "cuda:0": by}


@pytest.mark.parametrize(
    ("text", "by"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx512f avx512_bf16 amx_bf16 amx_tile\n\n", "amx_bf16, avx512_bf16"),
        ("processor\t: 0\nflags\t\t: fpu avx2\n\nprocessor\t: 1\nflags\t\t: fpu avx2\n\n", None),
        ("processor\t: 0\nFeatures\t: fp asimd bf16 i8mm\n\n", "bf16"),
        ("", None),
    ],
)
def test_bfloat16_of_a_processor_is_read_from_its_flags(tmp_path, monkeypatch, text, by):
    monkeypatch.setattr(machine, "CPUINFO", tmp_path / "cpuinfo")
    assert machine.processor_flags() == frozenset()
    (tmp_path / "cpuinfo").write_text(text)
    assert health.bfloat16(machine.processor_flags(), ()) == {"cpu": by}


# Cores


def test_an_affinity_lessens_the_cores():
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system has no affinity")
    one = {min(os.sched_getaffinity(0))}
    assert ask("allowance.cores()", preexec_fn=lambda: os.sched_setaffinity(0, one)) <= 1


@pytest.fixture
def half_a_core():
    """A control group that allows half a core, in whichever version this machine has; what enters it."""
    version_1, version_2 = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")
    place = (version_1 if version_1.is_dir() else version_2) / f"atentdsl-test-{os.getpid()}"
    try:
        place.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    try:
        if (place / "cpu.max").is_file():
            (place / "cpu.max").write_text("50000 100000")
        elif (place / "cpu.cfs_quota_us").is_file():
            (place / "cpu.cfs_quota_us").write_text("50000")
        else:
            pytest.skip("control groups have no quota here")
        (place / "below").mkdir()
        yield lambda: (place / "below/cgroup.procs").write_text(str(os.getpid()))
    finally:
        for folder in (place / "below", place):
            with contextlib.suppress(FileNotFoundError):
                folder.rmdir()


def test_a_quota_lessens_the_cores(half_a_core):
    assert ask("[allowance.quota(), allowance.cores()]", preexec_fn=half_a_core) == [0.5, 0.5]


MOUNT_2 = "30 24 0:26 {root} {place} rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
MOUNT_1 = "33 32 0:29 {root} {place} rw,nosuid - cgroup cgroup rw,cpu,cpuacct\n"


@pytest.mark.parametrize(
    ("mount", "root", "group", "files", "allowed"),
    [
        (MOUNT_2, "/", "0::/a/b", {"a/cpu.max": "150000 100000", "a/b/cpu.max": "max 100000"}, 1.5),
        (MOUNT_2, "/", "0::/a/b", {"a/cpu.max": "150000 100000", "a/b/cpu.max": "50000 50000"}, 1.0),
        (MOUNT_2, "/", "0::/", {"cpu.max": "200000 100000"}, 2.0),
        (MOUNT_2, "/", "0::/", {"cpu.max": "max 100000"}, None),
        (MOUNT_2, "/", "0::/", {}, None),
        (MOUNT_2, "/", "0::/", {"cpu.max": "no numbers"}, None),
        (MOUNT_1, "/docker/1f", "5:cpu,cpuacct:/docker/1f", {"cpu.cfs_quota_us": "25000"}, 0.25),
        (MOUNT_1, "/", "5:cpu,cpuacct:/x", {"x/cpu.cfs_quota_us": "-1"}, None),
        (MOUNT_1, "/", "5:cpu,cpuacct:/x", {"x/cpu.cfs_quota_us": "300000", "cpu.cfs_quota_us": "-1"}, 3.0),
        (MOUNT_1, "/", "5:memory:/x", {"x/cpu.cfs_quota_us": "300000"}, None),
    ],
)
def test_the_quotas_of_both_versions_are_read(tmp_path, mount, root, group, files, allowed):
    place = tmp_path / "groups"
    for name, text in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(f"{text}\n")
        (place / name).with_name("cpu.cfs_period_us").write_text("100000\n")
    (tmp_path / "mountinfo").write_text(mount.format(root=root, place=place))
    (tmp_path / "cgroup").write_text(f"{group}\n")
    assert allowance.quota(tmp_path) == allowed


def limited(name, most):
    return lambda: resource.setrlimit(name, (most, resource.getrlimit(name)[1]))


@pytest.mark.parametrize(
    ("name", "most", "wrong", "mend"),
    [
        (resource.RLIMIT_AS, 2**36, "address space is limited to 68719476736 bytes", "`ulimit -v unlimited`"),
        (resource.RLIMIT_FSIZE, 2**20, "a file's size is limited to 1048576 bytes", "`ulimit -f unlimited`"),
        (resource.RLIMIT_NOFILE, 255, "only 255 files may be open at once", "`ulimit -n 256`"),
        (resource.RLIMIT_NOFILE, 256, None, None),
    ],
)
def test_limits_are_found(name, most, wrong, mend):
    said = ask("[[f.about, f.wrong, f.mend] for f in allowance.limits()]", preexec_fn=limited(name, most))
    before = [[finding.about, finding.wrong, finding.mend] for finding in allowance.limits()]
    new = [finding for finding in said if finding not in before]
    if wrong is None:
        assert new == []
    else:
        assert [finding[:2] for finding in new] == [["limits", wrong]]
        assert new[0][2].startswith(mend)


# The folder of the runs


def wrongs(path):
    return [finding.wrong for finding in folders.out(path)[1]]


@pytest.mark.parametrize("name", ["", "runs", "a/b/runs"])
def test_a_folder_that_can_be_made_is_fine(tmp_path, name):
    folder, _ = folders.out(tmp_path / name)
    assert not [wrong for wrong in wrongs(tmp_path / name) if "are free at" not in wrong]
    assert folder.free > 0
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_folders_place_is_found(tmp_path):
    (tmp_path / "runs").write_text("")
    assert wrongs(tmp_path / "runs") == [f"{tmp_path}/runs is no folder"]
    assert wrongs(tmp_path / "runs/deep/er") == [
        f"{tmp_path}/runs/deep/er cannot be made: {tmp_path}/runs is no folder"
    ]
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    assert wrongs(tmp_path / "link") == [f"{tmp_path}/link is no folder"]


def test_a_read_only_file_system_is_found(mounted):
    place = mounted("size=4m")
    (place / "runs").mkdir()
    mounted("remount,ro", again=place)
    for name in ("", "runs", "new/runs"):
        assert wrongs(place / name) == [f"{place / name} cannot be written: Read-only file system"]


def test_little_space_and_none_are_found(mounted):
    place = mounted("size=4m")
    assert wrongs(place / "runs") == [f"4.2 MB are free at {place}/runs, less than 1 GB"]
    with pytest.raises(OSError, match="No space"):
        (place / "large").write_bytes(bytes(5 * 2**20))
    assert wrongs(place / "runs") == [f"{place}/runs cannot be written: No space left on device"]
    assert [path.name for path in place.iterdir()] == ["large"]


def test_a_file_system_without_room_for_another_file_is_found(mounted):
    place = mounted("size=4m,nr_inodes=2")
    assert wrongs(place) == [f"{place} cannot be written: No space left on device"]


def test_a_folder_of_somebody_else_is_found(tmp_path):
    tmp_path.chmod(0o500)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)  # root may write everywhere
    try:
        assert wrongs(tmp_path / "runs")[0].endswith("cannot be written: Permission denied")
    finally:
        os.seteuid(user)
        tmp_path.chmod(0o700)


def test_a_file_size_that_does_not_suffice_is_found(tmp_path):
    script = (
        "import sys, pathlib; from atentdsl.runtime.health import folders;"
        "print([f.wrong for f in folders.out(pathlib.Path(sys.argv[1]))[1]])"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    # A pipe has no size, so what is found can be said.
    said = subprocess.run(
        command, capture_output=True, text=True, preexec_fn=limited(resource.RLIMIT_FSIZE, 0), check=True
    )
    assert f"{tmp_path} cannot be written: File too large" in said.stdout
    assert list(tmp_path.iterdir()) == []


def refusing(number):
    def refuse(*arguments):
        raise OSError(number, os.strerror(number))

    return refuse


@pytest.mark.parametrize(
    ("module", "name", "instead", "wrong"),
    [
        (fcntl, "flock", refusing(errno.ENOLCK), "a file cannot be locked: No locks available"),
        (fcntl, "flock", lambda *_: None, "a file cannot be locked: a lock keeps nobody out"),
        (os, "replace", refusing(errno.EPERM), "a file cannot be replaced in one step: Operation not permitted"),
        (os, "replace", lambda *_: None, "a file cannot be replaced in one step: the old file is still there"),
    ],
)
def test_a_file_system_without_locks_or_renaming_is_found(tmp_path, monkeypatch, module, name, instead, wrong):
    """No file system that lacks them can be had everywhere, so the calls themselves refuse."""
    monkeypatch.setattr(module, name, instead)
    assert f"{tmp_path}: {wrong}" in wrongs(tmp_path)
    assert list(tmp_path.iterdir()) == []


# Data


@pytest.fixture
def files(tmp_path):
    """A root with four files that are MNIST's as long as they stay as they are."""
    hashes = {}
    for number, name in enumerate(mnist.FILES):
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes([number]) * 99)
        hashes[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    with mock.patch.dict(mnist.SHA256, hashes):
        yield tmp_path / "root"


def test_an_undamaged_root_is_fine(files):
    facts, findings = data.data(files, True)
    assert findings == ()
    assert (facts.root, facts.source, facts.exists) == (str(files), "the folder given", True)
    assert facts.free > 0
    assert facts.sets == {"digits": "undamaged", "cifar10": "not there", "mnist": "undamaged"}


def test_damaged_and_missing_files_are_named_with_their_hashes(files):
    names = mnist.FILES
    (files / names[0]).write_bytes(b"another")
    (files / names[3]).unlink()
    facts, (damaged, missing) = data.data(files, True)
    found = hashlib.sha256(b"another").hexdigest()
    assert damaged.wrong.startswith(f"MNIST is damaged: {files / names[0]} ")
    assert damaged.wrong.endswith(f"sha256 {found}, expected {mnist.SHA256[names[0]]}")
    assert damaged.mend == "put an undamaged copy in its place"
    assert missing.wrong == f"MNIST in {files} is not whole: {names[3]} is not there"
    assert facts.sets["mnist"] == "1 of 4 files not there, 1 of 4 files damaged"


def test_published_batches_and_copies_of_cifar10_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(cifar10, "COUNTS", {"train": 1, "test": 1})
    for split in cifar10.COUNTS:
        for label in cifar10.LABELS:
            (tmp_path / cifar10.COPIES / split / label).mkdir(parents=True)
            (tmp_path / cifar10.COPIES / split / label / "0000.jpg").write_bytes(b"not opened")
    facts, findings = data.data(tmp_path, True)
    assert (facts.sets["cifar10"], findings) == ("JPEG copies, all there", ())
    (tmp_path / cifar10.COPIES / "test/dog/0000.jpg").unlink()
    facts, (finding,) = data.data(tmp_path, True)
    assert facts.sets["cifar10"] == "JPEG copies, damaged"
    assert finding.wrong.endswith("test/dog holds 0 .jpg files, not 1")
    (tmp_path / cifar10.FOLDER).mkdir()
    (tmp_path / cifar10.FILES[0]).write_bytes(b"another")
    facts, (damaged, missing) = data.data(tmp_path, True)
    assert facts.sets["cifar10"] == "5 of 6 files not there, 1 of 6 files damaged"
    assert damaged.wrong.endswith(f"expected {cifar10.MD5[cifar10.FILES[0]]}")
    assert missing.wrong == f"CIFAR-10 in {tmp_path} is not whole: {', '.join(cifar10.FILES[1:])} are not there"


def test_a_root_that_is_not_there_is_found_by_its_source(tmp_path, monkeypatch):
    monkeypatch.setenv(roots.VARIABLE, str(tmp_path / "gone"))
    facts, (finding,) = data.data(None, True)
    assert facts.source == roots.VARIABLE
    assert finding.wrong == f"the data root {tmp_path}/gone ({roots.VARIABLE}) does not exist"
    assert data.data(tmp_path, True)[1] == (), "the folder given is in force"
    (tmp_path / "gone").write_text("")
    assert data.data(None, True)[1][0].wrong.endswith("is no folder")


def test_an_empty_cache_is_fine_unless_there_is_no_room(tmp_path, monkeypatch, mounted):
    monkeypatch.delenv(roots.VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    facts, findings = data.data(None, True)
    assert (facts.source, facts.exists) == ("the cache", False)
    assert facts.sets["mnist"].startswith("not there; the first run")
    assert not [finding for finding in findings if "are free at" not in finding.wrong]
    place = mounted("size=1m")
    monkeypatch.setenv("XDG_CACHE_HOME", str(place))
    (finding,) = data.data(None, True)[1]
    assert finding.wrong == f"1.0 MB are free at {place}/atentdsl, less than 1 GB"
    assert list(place.iterdir()) == []


def test_damaged_digits_are_found(tmp_path):
    damage = DataMissing("digits.csv.gz has another sha256", "an undamaged copy in its place", "mnist/sgd")
    facts, (finding,) = data.data(tmp_path, damage)
    assert (finding.about, finding.wrong) == ("data", damage.missing)
    assert facts.sets["digits"] == "damaged"
    assert data.data(tmp_path, None)[0].sets["digits"] == "not tried"
