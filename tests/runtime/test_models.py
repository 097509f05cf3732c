import inspect
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from atentdsl.runtime import models
from atentdsl.runtime.models import preact_resnet18
from atentdsl.runtime.normalise import Normalise

FINITE = st.floats(-2, 2, width=32)
POSITIVE = st.floats(0.0625, 4, width=32)


def test_names_are_the_files_of_the_folder():
    files = {path.stem for path in Path(models.__file__).parent.glob("*.py")} - {"__init__"}
    assert set(models.names()) == files
    assert list(models.names()) == sorted(models.names())


def test_an_unknown_name_lists_the_known():
    with pytest.raises(ValueError, match=r"unknown model 'cnn'; known: .*mlp, .*small_cnn"):
        models.build("cnn", (1, 8, 8), 10, [0.5], [0.5], seed=0)


# Normalise


@given(st.lists(st.tuples(FINITE, POSITIVE), min_size=1, max_size=4), st.integers(0, 3), st.integers(0, 2**32 - 1))
def test_normalise_is_x_minus_mean_over_std_by_channel(moments, axes, seed):
    mean, std = zip(*moments, strict=True)
    shape = (2, len(mean), *range(2, 2 + axes))
    x = np.random.default_rng(seed).random(shape, dtype=np.float32)
    out = Normalise(mean, std)(torch.from_numpy(x)).numpy()
    assert out.shape == shape
    for channel, (m, s) in enumerate(moments):
        assert np.array_equal(out[:, channel], (x[:, channel] - np.float32(m)) / np.float32(s))


@given(POSITIVE, st.floats(0, 0.5), st.integers(0, 2**32 - 1))
def test_a_radius_is_in_units_of_the_input(std, radius, seed):
    generator = torch.Generator().manual_seed(seed)
    x, delta = torch.rand(2, 3, 1, 4, 4, dtype=torch.float64, generator=generator)
    layer = Normalise([0.5], [std]).double()
    moved = layer(x + radius * delta) - layer(x)
    torch.testing.assert_close(moved, radius * delta / std, rtol=1e-12, atol=1e-13)


def test_normalise_is_part_of_the_state_and_is_not_trained():
    layer = Normalise([0.5, 0.25], [0.5, 0.5])
    assert set(layer.state_dict()) == {"mean", "std"}
    assert list(layer.parameters()) == []


@pytest.mark.parametrize(
    ("mean", "std"),
    [([], []), ([0.5], [0.5, 0.5]), ([0.5], [0.0]), ([0.5], [-1.0]), ([float("nan")], [1.0]), ([0.5], [float("inf")])],
)
def test_normalise_refuses_moments_that_are_none(mean, std):
    with pytest.raises(ValueError, match="mean"):
        Normalise(mean, std)


@pytest.mark.parametrize("shape", [(2,), (2, 1, 4, 4), (2, 4, 4, 3)])
def test_normalise_refuses_other_channels_rather_than_broadcast(shape):
    with pytest.raises(ValueError, match=r"\(batch, 3, ...\)"):
        Normalise([0.5] * 3, [0.5] * 3)(torch.zeros(shape))


# build


@settings(max_examples=20)
@given(
    st.sampled_from(["mlp", "small_cnn", "lenet5"]),
    st.tuples(st.integers(1, 3), st.integers(4, 13), st.integers(4, 13)),
    st.integers(2, 12),
    st.integers(0, 2**40),
)
def test_a_network_is_its_seed_and_leaves_the_global_generator(name, shape, classes, seed):
    moments = [0.5] * shape[0], [0.25] * shape[0]
    before = torch.get_rng_state()
    model = models.build(name, shape, classes, *moments, seed=seed)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    again = models.build(name, shape, classes, *moments, seed=seed)
    other = models.build(name, shape, classes, *moments, seed=seed + 1)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
    x = torch.rand(2, *shape, generator=torch.Generator().manual_seed(1))
    logits = model(x)
    assert logits.shape == (2, classes)
    # No dropout, no batch norm: an example's logits depend neither on the mode nor on the rest of the batch.
    assert torch.equal(model.eval()(x), logits)
    torch.testing.assert_close(model(x[:1]), logits[:1])


@pytest.mark.parametrize("name", ["mlp", "small_cnn"])
def test_the_network_sees_normalised_inputs(name):
    plain = models.build(name, (1, 8, 8), 10, [0.0], [1.0], seed=0)
    shifted = models.build(name, (1, 8, 8), 10, [0.5], [0.25], seed=0)
    x = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(shifted(x), plain((x - 0.5) / 0.25))
    assert not torch.allclose(shifted(x), plain(x))


def test_a_network_is_made_on_the_cpu_whatever_the_default_device():
    with torch.device("meta"):
        model = models.build("mlp", (1, 8, 8), 10, [0.5], [0.5], seed=0)
    assert {tensor.device.type for tensor in model.state_dict().values()} == {"cpu"}


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("small_cnn", [(1, 3, 8), (1, 8, 3), (64,)]),
        ("lenet5", [(1, 3, 28), (1, 28, 3), (784,)]),
        ("cnn7", [(1, 15, 28), (1, 28, 15), (1, 8, 8), (784,)]),
        ("preact_resnet18", [(3, 7, 32), (3, 32, 7), (3072,)]),
    ],
)
def test_a_network_refuses_what_it_cannot_pool(name, shapes):
    for shape in shapes:
        with pytest.raises(ValueError, match=f"{name} wants"):
            models.build(name, shape, 10, [0.5] * shape[0], [0.5] * shape[0], seed=0)


def convolution(inputs, outputs, side):
    return outputs * inputs * side * side + outputs


def layer(inputs, outputs):
    return inputs * outputs + outputs


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        # Paper, A.1: four convolutions of 3 x 3, then 1024 x 200, 200 x 200, 200 x 10.
        (
            "cnn7",
            [
                *(convolution(1, 32, 3), convolution(32, 32, 3), convolution(32, 64, 3), convolution(64, 64, 3)),
                *(layer(1024, 200), layer(200, 200), layer(200, 10)),
            ],
        ),
        # Paper, A.1: two convolutions, then 3136 x 1024, 1024 x 10; 5 x 5 by the published code.
        ("lenet5", [convolution(1, 32, 5), convolution(32, 64, 5), layer(3136, 1024), layer(1024, 10)]),
    ],
)
def test_the_papers_networks_have_its_sizes(name, layers):
    model = models.build(name, (1, 28, 28), 10, [0.5], [0.5], seed=0)
    sizes = [p.numel() for p in model.parameters()]
    assert [weights + biases for weights, biases in zip(sizes[::2], sizes[1::2], strict=True)] == layers
    assert sum(sizes) == {"cnn7": 312_202, "lenet5": 3_274_634}[name]
    kinds = [type(part) for part in model.modules()]
    assert kinds.count(torch.nn.MaxPool2d) == 2
    assert kinds.count(torch.nn.ReLU) == len(layers) - 1
    assert [part.p for part in model.modules() if isinstance(part, torch.nn.Dropout)] == [0.5] * (name == "cnn7")


@settings(max_examples=20)
@given(
    st.tuples(st.integers(1, 3), st.integers(16, 33), st.integers(16, 33)), st.integers(2, 12), st.integers(0, 2**40)
)
def test_cnn7_takes_every_image_from_16_x_16(shape, classes, seed):
    moments = [0.5] * shape[0], [0.25] * shape[0]
    before = torch.get_rng_state()
    model = models.build("cnn7", shape, classes, *moments, seed=seed)
    assert torch.equal(torch.get_rng_state(), before)
    again = models.build("cnn7", shape, classes, *moments, seed=seed)
    other = models.build("cnn7", shape, classes, *moments, seed=seed + 1)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
    assert model(torch.zeros(2, *shape)).shape == (2, classes)


def test_cnn7_begins_without_an_opinion_and_learns_one():
    model = models.build("cnn7", (1, 28, 28), 10, [0.1], [0.3], seed=0)
    x = torch.rand(8, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    y = torch.arange(8)
    assert torch.equal(model(x), torch.zeros(8, 10))
    convolutions = [part for part in model.modules() if isinstance(part, torch.nn.Conv2d)]
    for part in convolutions:
        fan_in = part.weight[0].numel()
        assert float(part.weight.detach().square().mean()) == pytest.approx(2 / fan_in, rel=0.2)
        assert not part.bias.any()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):  # the first step reaches the last layer alone, the second all of them
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    assert all(p.grad.any() for p in model.parameters())


def test_cnn7_drops_in_train_mode_alone():
    model = models.build("cnn7", (1, 28, 28), 10, [0.1], [0.3], seed=0)
    torch.nn.init.normal_(model[1][-1].weight)
    x = torch.rand(4, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x))


# preact_resnet18


@pytest.fixture(scope="module")
def resnet():
    return models.build("preact_resnet18", (3, 32, 32), 10, [0.5] * 3, [0.25] * 3, seed=0)


def block(inputs, outputs):
    """Two 3 x 3 convolutions, batch norms of two numbers a channel, a 1 x 1 shortcut where the width changes."""
    convolutions = 9 * inputs * outputs + 9 * outputs * outputs
    return 2 * inputs + 2 * outputs + convolutions + (inputs * outputs if inputs != outputs else 0)


def test_the_resnet_has_the_published_number_of_parameters(resnet):
    """By hand: 1,728 in the stem, 147,968 + 525,184 + 2,098,944 + 8,392,192 in blocks, 1,024 and 5,130 behind them."""
    pairs = [(64, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 512), (512, 512)]
    blocks = [part for part in resnet.modules() if isinstance(part, preact_resnet18.Block)]
    found = [sum(p.numel() for p in part.parameters()) for part in blocks]
    assert found == [block(*pair) for pair in pairs]
    assert [sum(found[i : i + 2]) for i in range(0, 8, 2)] == [147_968, 525_184, 2_098_944, 8_392_192]
    assert sum(p.numel() for p in resnet.parameters()) == 1_728 + sum(found) + 1_024 + 5_130 == 11_172_170


def test_the_resnet_halves_the_image_three_times_and_never_before_its_blocks(resnet):
    shapes = []
    network = resnet[1]
    with torch.no_grad():
        x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
        for part in network:
            x = part(x)
            shapes.append(tuple(x.shape[1:]))
    blocks = [(width, side, side) for width, side in ((64, 32), (128, 16), (256, 8), (512, 4)) for _ in range(2)]
    assert shapes == [(64, 32, 32), *blocks, (512, 4, 4), (512, 4, 4), (512, 1, 1), (512,), (10,)]
    strides = [part.stride[0] for part in network.modules() if isinstance(part, torch.nn.Conv2d)]
    # Of each block the shortcut comes last, where it has one.
    assert strides == [1, *(1, 1), *(1, 1), *(2, 1, 2), *(1, 1), *(2, 1, 2), *(1, 1), *(2, 1, 2), *(1, 1)]


@pytest.mark.parametrize(("inputs", "outputs", "stride"), [(4, 4, 1), (4, 6, 2), (4, 6, 1), (4, 4, 2)])
def test_a_block_adds_its_convolutions_to_its_shortcut(inputs, outputs, stride):
    """He et al., 2016, Fig. 1(b), written once more by functions; what a block adds to is cut off by no ReLU."""
    made = preact_resnet18.Block(inputs, outputs, stride).double()
    for norm in (made.norm1, made.norm2):
        torch.nn.init.normal_(norm.weight)
        torch.nn.init.normal_(norm.bias)
    x = torch.randn(3, inputs, 6, 5, dtype=torch.float64)

    def activated(x, norm):
        mean, variance = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), keepdim=True, unbiased=False)
        scaled = (x - mean) / (variance + norm.eps).sqrt() * norm.weight[:, None, None] + norm.bias[:, None, None]
        return scaled.clamp(min=0)

    first = activated(x, made.norm1)
    middle = torch.nn.functional.conv2d(first, made.conv1.weight, stride=stride, padding=1)
    last = torch.nn.functional.conv2d(activated(middle, made.norm2), made.conv2.weight, padding=1)
    kept = x
    if inputs != outputs or stride != 1:
        kept = torch.einsum("oi,bihw->bohw", made.shortcut.weight[:, :, 0, 0], first)[..., ::stride, ::stride]
    torch.testing.assert_close(made(x), last + kept)
    assert bool((made(x) < 0).any())


@settings(max_examples=5)
@given(st.tuples(st.integers(1, 3), st.integers(8, 20), st.integers(8, 20)), st.integers(2, 12), st.integers(0, 2**40))
def test_the_resnet_takes_every_image_from_8_x_8(shape, classes, seed):
    moments = [0.5] * shape[0], [0.25] * shape[0]
    with mock.patch.object(preact_resnet18, "WIDTHS", (4, 8, 16, 32)):
        model, again, other = (
            models.build("preact_resnet18", shape, classes, *moments, seed=number) for number in (seed, seed, seed + 1)
        )
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
    x = torch.rand(3, *shape, generator=torch.Generator().manual_seed(1))
    assert model(x).shape == (3, classes)
    model.eval()
    torch.testing.assert_close(model(x[:1]), model(x)[:1])


def test_moments_must_be_those_of_the_channels():
    with pytest.raises(ValueError, match="3 means"):
        models.build("mlp", (3, 8, 8), 10, [0.5], [0.5], seed=0)


@pytest.mark.parametrize("name", ["mlp", "small_cnn"])
def test_a_network_learns_the_digits(name):
    from atentdsl.runtime import datasets
    from atentdsl.runtime.batches import batches

    arrays = datasets.load("digits")
    model = models.build(name, (1, 8, 8), 10, [0.3], [0.38], seed=0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for epoch in range(6):
        for x, y in batches(arrays.training(), 64, seed=0, epoch=epoch, first_step=22 * epoch):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
    x, y = arrays.test().take(slice(None))
    assert float((model(x).argmax(1) == y).float().mean()) > 0.9


def test_every_network_can_be_built_by_name():
    for name in models.names():
        module = __import__(f"atentdsl.runtime.models.{name}", fromlist=["build"])
        assert list(inspect.signature(module.build).parameters) == ["shape", "classes"]
