import os
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from atentdsl.runtime import user_code
from atentdsl.runtime.errors import UserCodeRefused

SHAPE, CLASSES = (1, 8, 8), 10

NETS = """
from torch import nn

class Small(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(64, 10))

    @staticmethod
    def wide():
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 20), nn.Linear(20, 10))

def small():
    return Small()

made = Small()
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The working directory, from which modules are imported; after the test nothing of it is left."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("own_")]:
        del sys.modules[name]


def write(here, text, name="own_nets.py"):
    path = here / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def built(name, seed=0):
    return user_code.build(name, SHAPE, CLASSES, seed)


def weights(network):
    return {name: tensor.tolist() for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize("attribute", ["Small", "small", "made", "Small.wide"])
def test_a_class_a_function_and_a_network_are_built_and_announced(here, capsys, attribute):
    write(here, NETS)
    network = built(f"own_nets:{attribute}")
    assert network(torch.zeros(3, *SHAPE)).shape == (3, 10)
    assert all(part.training for part in network.modules())
    announced = f"atentdsl: running the code of own_nets:{attribute}, from own_nets.py\n"
    assert capsys.readouterr().err == announced


def test_a_module_in_a_package_is_found_by_its_dots(here, capsys):
    write(here, NETS, "own_nets/deep/nets.py")
    built("own_nets.deep.nets:small")
    assert "from own_nets/deep/nets.py" in capsys.readouterr().err


def test_a_module_from_elsewhere_is_announced_with_its_whole_path(here, capsys):
    with pytest.raises(UserCodeRefused):
        built("torch.nn:Flatten")
    assert f"torch.nn:Flatten, from {torch.nn.__file__}\n" in capsys.readouterr().err


def test_the_working_directory_comes_first(here, tmp_path_factory, monkeypatch, capsys):
    other = tmp_path_factory.mktemp("installed")
    write(other, "raise RuntimeError('the other one')")
    monkeypatch.syspath_prepend(other)
    write(here, NETS)
    built("own_nets:small")
    assert "from own_nets.py" in capsys.readouterr().err


def test_what_runs_is_announced_before_it_does(here, capsys):
    write(here, "import sys\nprint('the package runs', file=sys.stderr)", "own_nets/__init__.py")
    write(here, "import sys\nprint('the module runs', file=sys.stderr)\n" + NETS, "own_nets/nets.py")
    built("own_nets.nets:small")
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "atentdsl: running the code of own_nets.nets:small, from own_nets/nets.py",
        "the package runs",
        "the module runs",
    ]


def test_weights_depend_on_the_seed_alone(here):
    write(here, NETS)
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    first = weights(built("own_nets:small", 1))
    assert torch.equal(torch.rand(2), expected)
    assert weights(built("own_nets:small", 1)) == first
    assert weights(built("own_nets:small", 2)) != first


def test_training_a_network_that_the_module_holds_leaves_the_module_s(here):
    write(here, NETS)
    first = built("own_nets:made")
    before = weights(first)
    with torch.no_grad():
        first[1].weight.zero_()
    assert weights(built("own_nets:made")) == before


def test_parts_stay_in_their_modes_and_batch_statistics_are_untouched(here):
    write(
        here,
        "from torch import nn\n\ndef net():\n"
        "    frozen = nn.BatchNorm1d(64).eval()\n"
        "    return nn.Sequential(nn.Flatten(), frozen, nn.BatchNorm1d(64), nn.Linear(64, 10))\n",
    )
    network = built("own_nets:net")
    assert [part.training for part in network] == [True, False, True, True]
    assert network[2].num_batches_tracked == 0


def test_a_lazy_network_is_complete_once_it_is_built(here):
    write(here, "from torch import nn\n\ndef net():\n    return nn.Sequential(nn.Flatten(), nn.LazyLinear(10))\n")
    assert built("own_nets:net")[1].weight.shape == (10, 64)
    assert weights(built("own_nets:net", 3)) == weights(built("own_nets:net", 3))


HEAD = "import torch\nfrom torch import nn\n\n"
FAILURES = {
    "no attribute": ("", "other", "`own_nets` has no `other`"),
    "no attribute inside": ("class A: pass", "A.b", "`own_nets` has no `A.b`"),
    "neither": ("net = 3", "net", "it is of type int: neither a torch.nn.Module nor to be called"),
    "no Module": ("def net(): return [1]", "net", "calling it gives no torch.nn.Module but a value of type list"),
    "arguments": ("def net(classes): return nn.Flatten()", "net", r"it raised TypeError: .*classes"),
    "raised at import": ("1 / 0", "net", r"it raised ZeroDivisionError: division by zero \(own_nets\.py:4\)"),
    "no Python": ("def", "net", "it raised SyntaxError: invalid syntax"),
    "a script": ("raise SystemExit(3)", "net", r"it raised SystemExit: 3 \(own_nets\.py:4\)"),
    "an import of its own": ("import no_such_thing", "net", "it raised ModuleNotFoundError: .*'no_such_thing'"),
    "raised in building": (
        "def net():\n    raise OSError('gone')",
        "net",
        r"it raised OSError: gone \(own_nets\.py:5\)",
    ),
    "raised in an answer": ("def net(): return nn.Linear(3, 10)", "net", r"it raised RuntimeError: .*mat1 and mat2"),
    "another shape": (
        "def net(): return nn.Flatten()",
        "net",
        r"it answers torch.float32 \(2, 64\), not 10 logits for each of two images of shape \(1, 8, 8\)",
    ),
    "no floats": (
        "class Net(nn.Module):\n    def forward(self, x): return torch.zeros(2, 10, dtype=torch.int64)",
        "Net",
        r"it answers torch.int64 \(2, 10\)",
    ),
    "two answers": (
        "class Net(nn.Module):\n    def forward(self, x): return x, x",
        "Net",
        "it answers with a value of type tuple, not with 10 logits",
    ),
}


@pytest.mark.parametrize(("text", "attribute", "reason"), FAILURES.values(), ids=FAILURES)
def test_what_cannot_be_used_says_why(here, text, attribute, reason):
    write(here, HEAD + text)
    name = f"own_nets:{attribute}"
    with pytest.raises(UserCodeRefused, match=reason) as caught:
        built(name)
    assert caught.value.name == name
    assert str(caught.value).startswith(f"code {name} cannot be used: ")


@pytest.mark.parametrize(
    ("name", "missing", "hint"),
    [
        ("own_nts:net", "own_nts", ""),
        ("own_nets.deep:net", "own_nets.deep", ""),
        ("own_nets.py:net", "own_nets.py", "; write `own_nets:…`, without .py"),
        ("torch.no_such_part:net", "torch.no_such_part", ""),
    ],
)
def test_a_module_that_is_not_there_is_named_and_nothing_runs(here, capsys, name, missing, hint):
    write(here, "raise RuntimeError('it ran')")
    with pytest.raises(UserCodeRefused) as caught:
        built(name)
    assert caught.value.reason == f"there is no module `{missing}` here or among the installed packages{hint}"
    assert capsys.readouterr().err == ""
    assert "own_nets" not in sys.modules


@pytest.mark.parametrize(
    "name", ["", "small_cnn", "a:b:c", "../a:b", "a/b:c", "a b:c", "a:b()", ":b", "a:", "a..b:c", "a:b\n"]
)
def test_what_is_not_written_as_module_and_attribute_is_none(here, name):
    assert not user_code.is_code(name)
    with pytest.raises(UserCodeRefused, match="not written `module:attribute`"):
        built(name)


def test_a_module_that_was_written_a_moment_ago_is_found(here):
    """Python looks into a folder again when its time has changed, which is coarse on some file systems."""
    time = here.stat().st_mtime_ns
    with pytest.raises(UserCodeRefused):
        built("own_nets:small")
    write(here, NETS)
    os.utime(here, ns=(time, time))
    built("own_nets:small")


def test_an_interruption_is_not_the_code_s_error(here):
    write(here, "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        built("own_nets:net")


def test_code_that_imports_when_it_is_called_finds_its_neighbours_later(here):
    write(here, "from torch import nn\nlayers = [nn.Flatten(), nn.Linear(64, 10)]", "own_layers.py")
    write(
        here,
        "from torch import nn\n\nclass Net(nn.Module):\n"
        "    def forward(self, x):\n"
        "        if self.training:\n"
        "            import own_layers\n"
        "            return own_layers.layers[1](own_layers.layers[0](x))\n"
        "        return x.new_zeros(len(x), 10)\n",
    )
    network = built("own_nets:Net")
    assert "own_layers" not in sys.modules
    assert network(torch.zeros(2, *SHAPE)).shape == (2, 10)
    assert isinstance(network, nn.Module)
    assert Path(sys.modules["own_layers"].__file__).parent == here
