import copy
import io
import pickle
import re

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from runtime.hostile_weights import ARCHIVES, PICKLES, exported, saved, scripted
from torch import nn

from atentdsl.runtime import checkpoint, foreign_weights, models
from atentdsl.runtime.errors import CheckpointBroken, NotARunDirectory, WeightsRefused

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool]
NAMES = st.from_regex(r"[a-z]+(\.[a-z0-9]+){0,2}", fullmatch=True)


@st.composite
def tensors(draw):
    """A tensor of any bits, sometimes not contiguous."""
    dtype = draw(st.sampled_from(DTYPES))
    shape = draw(st.lists(st.integers(0, 3), max_size=3))
    size = torch.Size(shape).numel() * dtype.itemsize
    data = bytearray(draw(st.binary(min_size=size, max_size=size)))
    if dtype == torch.bool:
        data = bytearray(byte & 1 for byte in data)
    tensor = (torch.frombuffer(data, dtype=dtype) if size else torch.empty(0, dtype=dtype)).reshape(shape)
    return tensor.transpose(0, -1) if tensor.dim() > 1 and draw(st.booleans()) else tensor


STATES = st.dictionaries(NAMES, tensors(), min_size=1, max_size=4)


def bits(state):
    return {
        name: (t.dtype, tuple(t.shape), t.contiguous().flatten().view(torch.uint8).tolist())
        for name, t in state.items()
    }


def as_safetensors(state):
    return safetensors.torch.save({name: tensor.contiguous() for name, tensor in state.items()})


def parallel(state):
    return {f"module.{name}": tensor for name, tensor in state.items()}


FORMS = {
    "safetensors": as_safetensors,
    "state dict": saved,
    "old format": lambda state: saved(state, _use_new_zipfile_serialization=False),
    "parameters": lambda state: saved({n: nn.Parameter(t, t.is_floating_point()) for n, t in state.items()}),
    "state_dict": lambda state: saved({"epoch": 3, "optimizer": {"lr": 0.1}, "state_dict": state}),
    "model_state_dict": lambda state: saved({"model_state_dict": state, "loss": 0.5}),
    "model": lambda state: saved({"model": state}),
    "parallel": lambda state: saved(parallel(state)),
    "parallel inside": lambda state: saved({"state_dict": parallel(state)}),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("weights")


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=40)
@given(state=STATES, name=st.sampled_from(["weights.pt", "weights.safetensors", "weights.pt2", "weights"]))
def test_a_state_comes_back_bit_for_bit_whatever_its_file_is_called(folder, form, state, name):
    path = folder / name
    path.write_bytes(FORMS[form](state))
    read = foreign_weights.read(path)
    assert bits(read) == bits(state)
    assert not any(tensor.requires_grad for tensor in read.values())


def test_a_prefix_that_not_every_name_has_is_a_part_of_the_name(tmp_path):
    (tmp_path / "w").write_bytes(saved({"module.a": torch.ones(1), "b": torch.ones(1)}))
    assert set(foreign_weights.read(tmp_path / "w")) == {"module.a", "b"}


def run_directory(folder, model):
    for name in ("recipe.toml", "module.py", "manifest.json"):
        (folder / name).write_text("")
    (folder / "checkpoints").mkdir()
    checkpoint.save(model, folder / "checkpoints/best.safetensors")
    return folder


def test_a_run_gives_its_best_checkpoint(tmp_path):
    model = nn.Sequential()
    model.add_module("module", nn.Linear(2, 2))  # a name of the run's own network is no DataParallel's
    run = run_directory(tmp_path, model)
    assert bits(foreign_weights.read(run)) == bits(model.state_dict())
    best = run / "checkpoints/best.safetensors"
    assert foreign_weights.weights_file(run) == best
    best.write_bytes(as_safetensors(model.state_dict()))
    with pytest.raises(CheckpointBroken, match="no sha256"):
        foreign_weights.read(run)
    best.unlink()
    with pytest.raises(CheckpointBroken, match="no such file"):
        foreign_weights.read(run)


def test_a_checkpoint_of_ours_is_checked(tmp_path):
    checkpoint.save(nn.Linear(2, 2), tmp_path / "w")
    whole = bytearray((tmp_path / "w").read_bytes())
    whole[-1] ^= 1
    (tmp_path / "w").write_bytes(whole)
    with pytest.raises(WeightsRefused, match=r"damaged safetensors file: .*sha256 differs"):
        foreign_weights.read(tmp_path / "w")


def refused(path, reason, trust=False):
    with pytest.raises(WeightsRefused, match=reason) as caught:
        foreign_weights.read(path, trust)
    assert caught.value.path == path
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors", "weights.pt2"])
@pytest.mark.parametrize("trust", [False, True])
@pytest.mark.parametrize("kind", PICKLES)
def test_the_code_in_a_pickle_does_not_run(tmp_path, monkeypatch, kind, trust, name):
    ran, path = tmp_path / "ran", tmp_path / "unguarded"
    path.write_bytes(PICKLES[kind](ran))
    load = pickle.load if kind.startswith("a pickle") else lambda file: torch.load(file, weights_only=False)
    with path.open("rb") as file:
        load(file)
    assert ran.exists(), "unguarded, it runs"
    ran.unlink()
    named = tmp_path / name
    path.rename(named)
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    refused(named, "cannot be read without running code: it names shutil.copyfile", trust)
    assert not ran.exists()


@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors", "weights.pt2"])
@pytest.mark.parametrize("kind", ARCHIVES)
def test_the_code_in_an_archive_does_not_run_and_no_loader_of_torch_sees_it(tmp_path, monkeypatch, kind, name):
    make, load, called = ARCHIVES[kind]
    ran, path = tmp_path / "ran", tmp_path / "unguarded.pt2"
    make(path, ran)
    assert not ran.exists()
    load(path)
    assert ran.exists(), "unguarded, it runs"
    ran.unlink()
    named = tmp_path / name
    path.rename(named)
    seen = []
    for module in (torch, torch.jit, torch.export):
        monkeypatch.setattr(module, "load", lambda *given, **named: seen.append(given))
    refused(named, f"it is {called}: loading it can run code that it holds; if you trust .*, pass --trust")
    assert not ran.exists()
    assert seen == []


@pytest.mark.parametrize("make", [exported, scripted])
def test_an_archive_that_is_trusted_gives_its_state(tmp_path, make):
    network = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(4), nn.Linear(4, 3)).eval()
    path = tmp_path / "theirs"
    make(path, network, *([(1, 4)] if make is exported else []))
    refused(path, "pass --trust")
    assert bits(foreign_weights.read(path, trust=True)) == bits(network.state_dict())


def test_a_trusted_archive_that_is_damaged_is_refused(tmp_path):
    import zipfile

    path = tmp_path / "theirs"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("theirs/archive_format", "pt2")
    refused(path, "it is an exported program, and torch cannot load it", trust=True)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([torch.ones(1)], "no dict of tensors but a list"),
        (torch.ones(1), "no dict of tensors but a lone tensor"),
        ({}, "an empty dict"),
        ({"state_dict": {}}, "an empty dict"),
        ({"weight": torch.ones(1), "epoch": 3}, "no weights, 'epoch': an int"),
        ({"state_dict": {"a": torch.ones(1), "b": "x"}}, "no weights, 'b': a str"),
        ({0: torch.ones(1)}, "no weights, 0: a lone tensor"),
        (dict.fromkeys("abcde", 1), "'a': an int, 'b': an int, 'c': an int and 2 more"),
        ({"weight": torch.eye(2).to_sparse()}, "'weight': a torch.sparse_coo tensor"),
        ({"weight": torch.ones(2, device="meta")}, "'weight': a torch.strided tensor on meta"),
        (nn.Linear(2, 2), "names torch.nn.modules.linear.Linear; save the state dict alone"),
    ],
)
def test_what_holds_no_state_dict_is_refused_with_what_it_is(tmp_path, value, reason):
    (tmp_path / "w.pt").write_bytes(saved(value))
    refused(tmp_path / "w.pt", re.escape(reason))


def test_what_is_not_there_or_no_run_is_refused(tmp_path):
    refused(tmp_path / "nowhere.pt", "there is no such file")
    with pytest.raises(NotARunDirectory, match=r"manifest\.json"):
        foreign_weights.read(tmp_path)


WHOLE = {
    "safetensors": as_safetensors({"weight": torch.ones(2, 2), "bias": torch.ones(2)}),
    "torch": saved({"weight": torch.ones(2, 2), "bias": torch.ones(2)}),
    "old": saved({"weight": torch.ones(2, 2)}, _use_new_zipfile_serialization=False),
    "program": None,
    "script": None,
}


def whole(kind, folder):
    if WHOLE[kind] is None:
        {"program": exported, "script": scripted}[kind](folder / "archive")
        WHOLE[kind] = (folder / "archive").read_bytes()
    return WHOLE[kind]


@pytest.mark.parametrize("kind", WHOLE)
@settings(max_examples=30)
@given(data=st.data())
def test_a_damaged_file_is_refused_or_gives_tensors(folder, kind, data):
    """Cut short, or with a byte changed: never an error of another kind, and never anything but tensors by name."""
    content = whole(kind, folder)
    at = data.draw(st.integers(0, len(content) - 1))
    changed = content[:at] + data.draw(st.sampled_from([b"", b"\0" + content[at + 1 :], b"\xff" + content[at + 1 :]]))
    path = folder / "damaged"
    path.write_bytes(changed)
    try:
        read = foreign_weights.read(path)
    except WeightsRefused:
        return
    assert kind not in {"program", "script"}
    assert len(changed) == len(content)
    assert all(isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in read.items())


@settings(max_examples=30)
@given(st.binary(max_size=200), st.sampled_from([b"", b"PK\3\4", b"\x80\2", b"\x80\4", b"\x20\0\0\0\0\0\0\0{"]))
def test_any_other_file_is_refused(folder, data, beginning):
    path = folder / "other"
    path.write_bytes(beginning + data)
    with pytest.raises(WeightsRefused):
        foreign_weights.read(path)


def mlp(seed=0):
    return models.build("mlp", (1, 8, 8), 10, [0.3], [0.4], seed)


def test_a_whole_model_is_filled():
    model, other = mlp(1), mlp(2)
    other[0].mean.fill_(0.7)
    foreign_weights.fill(model, other.state_dict())
    assert bits(model.state_dict()) == bits(other.state_dict())


def test_a_network_alone_goes_behind_the_normalisation():
    """Its names are those of a Sequential, as ours are: only all of them tell."""
    model, other = mlp(1), mlp(2)[1]
    foreign_weights.fill(model, other.state_dict())
    assert bits(model[1].state_dict()) == bits(other.state_dict())
    assert model[0].mean.item() == pytest.approx(0.3)


def test_a_network_with_a_normalisation_of_its_own_goes_behind_ours():
    inner, other = mlp(1), mlp(2)
    model = nn.Sequential(copy.deepcopy(mlp()[0]), inner)
    foreign_weights.fill(model, other.state_dict())
    assert bits(inner.state_dict()) == bits(other.state_dict())


def test_weights_keep_the_model_s_precision():
    model, other = nn.BatchNorm1d(2), nn.BatchNorm1d(2).double()
    other.weight.data.fill_(0.3)
    foreign_weights.fill(model, other.state_dict())
    assert model.weight.dtype == torch.float32
    assert torch.equal(model.weight, torch.full((2,), 0.3))


PLAIN = {"0.weight": torch.ones(2, 2), "0.bias": torch.ones(2), "1.weight": torch.ones(2, 2), "1.bias": torch.ones(2)}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"1.bias": None}, "the model's '1.bias' is not in it$"),
        ({"2.bias": torch.ones(2)}, "the model has no '2.bias'$"),
        (
            {"0.weight": torch.ones(2, 3)},
            r"'0.weight' is torch.float32 \(2, 3\), the model's is torch.float32 \(2, 2\)$",
        ),
        ({"0.bias": torch.ones(2, dtype=torch.int64)}, "'0.bias' is torch.int64 .*, the model's is torch.float32"),
        ({"0.bias": torch.ones(2, dtype=torch.complex64)}, "'0.bias' is torch.complex64"),
        (
            {"0.bias": None, "0.weight": None, "9.a": torch.ones(1), "9.b": torch.ones(1), "1.bias": torch.ones(7)},
            "the model's '0.weight' is not in it; the model's '0.bias' is not in it; the model has no '9.a'; "
            "and 2 more$",
        ),
    ],
)
def test_weights_that_do_not_fit_are_named_and_leave_the_model(tmp_path, changes, reason):
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    before = bits(model.state_dict())
    given = {name: tensor for name, tensor in (PLAIN | changes).items() if tensor is not None}
    with pytest.raises(WeightsRefused, match=reason) as caught:
        foreign_weights.fill(model, given, tmp_path / "theirs")
    assert caught.value.path == tmp_path / "theirs"
    assert bits(model.state_dict()) == before
    with pytest.raises(WeightsRefused, match=r"^the weights cannot be used"):
        foreign_weights.fill(model, given)


@pytest.mark.parametrize(
    ("theirs", "named"),
    [(lambda: mlp()[1], "the model's '1.weight' is not in it"), (mlp, "the model's '1.1.weight' is not in it")],
)
def test_what_does_not_fit_is_named_as_their_file_names_it(theirs, named):
    model = mlp(1)
    before = bits(model.state_dict())
    given = {name: tensor for name, tensor in theirs().state_dict().items() if not name.endswith("1.weight")}
    with pytest.raises(WeightsRefused, match=named):
        foreign_weights.fill(model, given)
    assert bits(model.state_dict()) == before


def test_a_state_that_is_no_tensor_is_refused():
    class Extra(nn.Linear):
        def get_extra_state(self):
            return {"a": 1}

    with pytest.raises(WeightsRefused, match=r"'_extra_state' is torch\.float32 .*, the model's is of type dict"):
        foreign_weights.fill(
            Extra(1, 1), {"weight": torch.ones(1, 1), "bias": torch.ones(1), "_extra_state": PLAIN["0.bias"]}
        )


def test_reading_uses_what_is_open_and_not_a_name(tmp_path, monkeypatch):
    """`torch.load` goes by a name's ending where it is given one."""
    given = []
    load = torch.load

    def noting(file, **named):
        given.append(file)
        return load(file, **named)

    monkeypatch.setattr(torch, "load", noting)
    (tmp_path / "w.safetensors").write_bytes(saved(PLAIN))
    assert bits(foreign_weights.read(tmp_path / "w.safetensors")) == bits(PLAIN)
    assert isinstance(given[0], io.BufferedReader)
