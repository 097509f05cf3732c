"""Interval bounds: they hold, are exact for one layer, and are of the network in eval mode, whatever it is made of."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import relu

from atentdsl.runtime import enclosures, following, interval_bounds, models
from atentdsl.runtime.errors import BoundsUnknown
from atentdsl.runtime.interval_bounds import bounds, require_bounds, worst_logits
from atentdsl.runtime.models import preact_resnet18
from atentdsl.runtime.normalise import Normalise
from atentdsl.runtime.policy import Policy
from atentdsl.runtime.precision import prepared
from atentdsl.testing import edited

CLASSES, SIDE, POINTS = 3, 6, 10_000
ROUNDING = 1e-10  # of float64, relative to numbers of order ten


class Sum(nn.Module):
    """A residual block with arithmetic of its own."""

    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner = inner
        self.gain = nn.Parameter(torch.tensor(-0.75))
        self.register_buffer("shift", torch.tensor(0.3))

    def forward(self, x):
        kept = x.reshape(x.size(0), -1).view(x.shape)
        return torch.relu(self.inner(x) * self.gain / -1.5) - 0.5 * kept + (1.0 - self.shift)


def randomised(model, seed):
    """Every weight and statistic of order one, gains of batch norm of both signs, in float64."""
    generator = torch.Generator().manual_seed(seed)
    model = model.double()
    with torch.no_grad():
        for parameter in (p for p in model.parameters() if p.dim()):
            size = parameter[0].numel() ** 0.5 if parameter.dim() > 1 else 1.0
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) / size)
        for part in model.modules():
            if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
                part.running_mean.copy_(torch.randn(part.running_mean.shape, generator=generator))
                part.running_var.copy_(0.25 + torch.rand(part.running_var.shape, generator=generator))
    return model


OF_IMAGES = {
    "convolution": lambda c: [nn.Conv2d(c, 3, 3, padding=1)],
    "convolution with strides, round the edges": lambda c: [nn.Conv2d(c, c, 2, 2, 1, padding_mode="circular")],
    "batch norm": lambda c: [nn.BatchNorm2d(c)],
    "max pooling": lambda c: [nn.MaxPool2d(2, 1)],
    "average pooling": lambda c: [nn.AvgPool2d(2, 1, padding=1)],
    "adaptive pooling": lambda c: [nn.AdaptiveAvgPool2d(2)],
    "relu": lambda c: [nn.ReLU(inplace=True)],
    "leaky relu": lambda c: [nn.LeakyReLU(0.2)],
    "sigmoid": lambda c: [nn.Sigmoid()],
    "dropout": lambda c: [nn.Dropout2d(0.5)],
    "a sum": lambda c: [Sum(nn.Sequential(nn.Conv2d(c, c, 3, padding=1), nn.BatchNorm2d(c)))],
    "normalisation": lambda c: [Normalise([0.4] * c, [0.3] * c)],
}
OF_ROWS = {
    "linear": lambda n: [nn.Linear(n, 5)],
    "linear without bias": lambda n: [nn.Linear(n, n, bias=False)],
    "batch norm": lambda n: [nn.BatchNorm1d(n)],
    "relu": lambda n: [nn.ReLU()],
    "tanh": lambda n: [nn.Tanh()],
    "dropout": lambda n: [nn.Dropout(0.5)],
    "a sum": lambda n: [Sum(nn.Linear(n, n))],
}


def network(images, rows, seed, last="linear"):
    """A network of these layers, in train mode."""
    layers = [nn.Identity()]
    for name in images:
        channels = nn.Sequential(*layers).double().eval()(torch.zeros(1, 1, SIDE, SIDE, dtype=torch.float64)).shape[1]
        layers += OF_IMAGES[name](channels)
    layers.append(nn.Flatten())
    for name in rows:
        units = nn.Sequential(*layers).double().eval()(torch.zeros(1, 1, SIDE, SIDE, dtype=torch.float64)).shape[1]
        layers += OF_ROWS[name](units)
    units = nn.Sequential(*layers).double().eval()(torch.zeros(1, 1, SIDE, SIDE, dtype=torch.float64)).shape[1]
    layers += [nn.Linear(units, CLASSES), *({"linear": [], "relu": [nn.ReLU()]}[last])]
    return randomised(nn.Sequential(*layers), seed).train()


def ball(seed, radius):
    """Two images, some of whose pixels are at the box's edge, and random points around them, corners among them."""
    generator = torch.Generator().manual_seed(seed)
    x = (torch.rand(2, 1, SIDE, SIDE, generator=generator, dtype=torch.float64) * 1.4 - 0.2).clamp(0, 1)
    away = 2 * torch.rand(POINTS // 2, *x.shape, generator=generator, dtype=torch.float64) - 1
    away[::2] = away[::2].sign()
    return x, (x + radius * away).clamp(0, 1)


def holds(module, model, seed, radius):
    """Whether no logit, and no lead over the label, at 10,000 points of two balls is outside of the module's bounds."""
    x, points = ball(seed, radius)
    y = torch.tensor([0, 2])
    with torch.no_grad():
        low, high = module.bounds(model, (x - radius).clamp(0, 1), (x + radius).clamp(0, 1))
        worst = module.worst_logits(model, x, y, radius)
        logits = copy.deepcopy(model).eval()(points.flatten(0, 1)).view(*points.shape[:2], -1)
    lead = logits - logits.gather(2, y[None, :, None].expand(len(points), -1, 1))
    room = ROUNDING * (1 + float(logits.abs().max()))
    inside = (logits >= low - room).all() and (logits <= high + room).all()
    tighter = (worst <= high - low.gather(1, y[:, None]) + room).all(dim=1) | (worst == 0).any(dim=1)
    return bool(inside and (lead <= worst + room).all() and tighter.all())


LAYERS = st.tuples(
    st.lists(st.sampled_from(sorted(OF_IMAGES)), max_size=4), st.lists(st.sampled_from(sorted(OF_ROWS)), max_size=3)
)


@settings(max_examples=25)
@given(LAYERS, st.integers(0, 10**6), st.sampled_from([0.01, 0.1, 0.4, 1.0]), st.sampled_from(["linear", "relu"]))
def test_no_point_of_the_ball_is_outside_the_bounds(layers, seed, radius, last):
    assert holds(interval_bounds, network(*layers, seed, last), seed, radius)


def with_edit(module, old, new):
    """The bounds with one edit of the module that they, or what they call, are in."""
    mutant = edited(module, old, new)
    if module is interval_bounds:
        return mutant
    around = edited(interval_bounds, '"""Interval bounds: what', '"""Edited: what')
    if module is enclosures:
        seeing = edited(following, '"""A network as a list of operations that a box of', '"""Edited: of')
        tables = ("FUNCTIONS", "METHODS", "MODULES", "SHAPES", "CONSTANT_FACTOR", "fault")
        vars(seeing).update({name: getattr(mutant, name) for name in tables})
        vars(around).update(MODULES=mutant.MODULES, Enclosure=mutant.Enclosure, follow=seeing.follow)
    return around


MUTANTS = {
    "the weights' sign kept": (enclosures, "(box.radius, layer.weight.abs())", "(box.radius, layer.weight)"),
    "a convolution's sign kept": (enclosures, "layer.weight.abs(), None)", "layer.weight, None)"),
    "the bias taken from the radius": (
        enclosures,
        "layer.weight.abs(), None)",
        "layer.weight.abs(), -layer.bias.abs())",
    ),
    "a gain's sign kept": (enclosures, "else weight.abs() * (var", "else weight * (var"),
    "no gain": (enclosures, "else weight.abs() * (var", "else (var"),
    "ends the wrong way round": (
        enclosures,
        "(layer(box.low), layer(box.high))",
        "(layer(box.high), layer(box.low))",
    ),
    "an increasing layer on the radius": (
        enclosures,
        "Enclosure.between(layer(box.low), layer(box.high))",
        "Enclosure(layer(box.centre), layer(box.radius))",
    ),
    "half the radius": (enclosures, "(high - low) / 2", "(high - low) / 4"),
    "radii that cancel in a sum": (enclosures, "one.radius + other.radius", "(one.radius - other.radius).abs()"),
    "a factor's sign kept": (enclosures, "box.radius * abs(factor)", "box.radius * factor"),
    "a divisor's sign kept": (enclosures, "box.radius / abs(divisor)", "box.radius / divisor"),
    "no normalisation of the radius": (
        enclosures,
        "box.radius / layer.std.view(-1, *[1] * (box.radius.dim() - 2))",
        "box.radius",
    ),
    "the label's row kept": (
        interval_bounds,
        "layer.weight - layer.weight[y][:, None]",
        "layer.weight.expand(len(y), -1, -1)",
    ),
    "differences with their sign": (interval_bounds, "weight.abs() @ box.radius", "weight @ box.radius"),
    "biases that are not taken away": (interval_bounds, "found + layer.bias - layer.bias[y][:, None]", "found"),
}


CHAINS = {
    "relu": (nn.ReLU(), lambda h: np.maximum(h, 0)),
    "leaky relu": (nn.LeakyReLU(0.1), lambda h: np.where(h > 0, h, 0.1 * h)),
    "tanh": (nn.Tanh(), np.tanh),
    "sigmoid": (nn.Sigmoid(), lambda h: 1 / (1 + np.exp(-h))),
    "batch norm": (nn.BatchNorm1d(1), lambda h: (h - 0.5) / np.sqrt(4 + 1e-5) * -2 + 0.25),
    "a sum": (Sum(nn.Identity()), None),
}


def is_exact_on_a_chain(module):
    """Whether one unit after another keeps the very range of its values; where two paths meet, the sum of theirs."""
    for name, (layer, by_numpy) in CHAINS.items():
        model = nn.Sequential(nn.Linear(1, 1), layer, nn.Linear(1, 1)).double().requires_grad_(False)
        if name == "batch norm":
            tensors = (layer.running_mean, layer.running_var, layer.weight, layer.bias)
            for tensor, value in zip(tensors, (0.5, 4.0, -2.0, 0.25), strict=True):
                tensor.fill_(value)
        model[0].weight.fill_(-3.0)
        model[0].bias.fill_(1.0)
        model[2].weight.fill_(-2.0)
        model[2].bias.fill_(0.5)
        ends = 1 - 3 * np.array([0.2, 0.6])
        if name == "a sum":  # the two paths, each at its own worst end
            one, other = np.maximum(ends * 0.5, 0), -0.5 * ends + 0.7
            wanted = sorted(0.5 - 2 * np.array([one.min() + other.min(), one.max() + other.max()]))
        else:
            wanted = sorted(0.5 - 2 * by_numpy(ends))
        low, high = module.bounds(model, torch.full((1, 1), 0.2).double(), torch.full((1, 1), 0.6).double())
        if not np.allclose([float(low), float(high)], wanted, atol=1e-7):
            return False
    return True


def test_a_chain_of_single_units_is_bounded_exactly():
    assert is_exact_on_a_chain(interval_bounds)


@pytest.fixture(scope="module")
def known():
    """Networks on which every rule is at work, each with two seeds."""
    images = ["normalisation", "convolution", "batch norm", "relu", "a sum", "max pooling"]
    layers = [(images, ["linear", "tanh", "a sum"]), (["normalisation"], []), (["a sum"], []), ([], ["batch norm"])]
    layers += [(["convolution"], ["linear"]), (["batch norm", "relu"], [])]
    return [(network(*each, seed), seed) for each in layers for seed in range(2)]


def test_without_an_edit_the_bounds_hold(known):
    assert all(holds(interval_bounds, model, seed, 0.3) for model, seed in known)


@pytest.mark.parametrize("name", MUTANTS)
def test_an_edit_of_the_propagation_is_noticed(name, known):
    mutant = with_edit(*MUTANTS[name])
    assert not (is_exact_on_a_chain(mutant) and all(holds(mutant, model, seed, 0.3) for model, seed in known))


def one_layer(seed, classes=4, units=5):
    rng = np.random.default_rng(seed)
    weight, bias = rng.normal(size=(classes, units)), rng.normal(size=classes)
    layer = nn.Linear(units, classes).double().requires_grad_(False)
    layer.weight.copy_(torch.from_numpy(weight))
    layer.bias.copy_(torch.from_numpy(bias))
    x = np.clip(rng.uniform(-0.3, 1.3, size=(3, units)), 0, 1)
    return layer, weight, bias, x, rng.integers(0, classes, size=3)


@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.05, 0.3, 1.0]))
@settings(max_examples=40)
def test_one_layer_is_bounded_exactly_by_corners_of_the_box(seed, radius):
    """Numpy's corner of each row: the far end where a weight is positive, the near one where it is negative."""
    layer, weight, bias, x, y = one_layer(seed)
    near, far = np.maximum(x - radius, 0), np.minimum(x + radius, 1)
    low, high = (bound.numpy() for bound in bounds(layer, torch.from_numpy(near), torch.from_numpy(far)))
    worst = worst_logits(layer, torch.from_numpy(x), torch.from_numpy(y), radius).numpy()
    for n, (a, b) in enumerate(zip(near, far, strict=True)):
        for j, row in enumerate(weight):
            np.testing.assert_allclose(high[n, j], row @ np.where(row > 0, b, a) + bias[j], atol=1e-12)
            np.testing.assert_allclose(low[n, j], row @ np.where(row > 0, a, b) + bias[j], atol=1e-12)
            ahead = row - weight[y[n]]
            wanted = ahead @ np.where(ahead > 0, b, a) + bias[j] - bias[y[n]]
            np.testing.assert_allclose(worst[n, j], wanted, atol=1e-12)


def test_the_box_of_inputs_cuts_the_ball():
    """At a black pixel and a white one half of the ball is left: by hand 0.2, and not 0.4, on each side of nothing."""
    model = nn.Flatten()
    x = torch.tensor([[0.0, 1.0, 0.5]])
    worst = worst_logits(model, x, torch.tensor([0]), 0.2)
    torch.testing.assert_close(worst, torch.tensor([[0.0, 1.0, 0.7]]))
    for edit in ((("(x - radius).clamp(0, 1)", "(x - radius)")), (("(x + radius).clamp(0, 1)", "(x + radius)"))):
        assert not torch.allclose(
            with_edit(interval_bounds, *edit).worst_logits(model, x, torch.tensor([0]), 0.2), worst
        )


@pytest.mark.parametrize("last", ["linear", "relu"])
def test_a_radius_of_zero_gives_the_logits_and_a_larger_one_more_of_everything(last):
    model = network(["convolution", "batch norm", "relu", "max pooling"], ["linear", "tanh"], 3, last)
    x, _ = ball(1, 0.0)
    y = torch.tensor([1, 2])
    with torch.no_grad():
        logits = copy.deepcopy(model).eval()(x)
        for bound in bounds(model, x, x):
            torch.testing.assert_close(bound, logits, rtol=1e-12, atol=1e-12)
        here = worst_logits(model, x, y, 0.0)
        torch.testing.assert_close(here, logits - logits.gather(1, y[:, None]), rtol=1e-12, atol=1e-12)
        for radius in (0.01, 0.1, 0.5, 1.0):
            wider = worst_logits(model, x, y, radius)
            assert (wider >= here - 1e-12).all()
            assert (wider.gather(1, y[:, None]) == 0).all()
            here = wider


def test_the_last_layer_is_bounded_in_differences():
    """By hand: logits h and 2 h, h from 1/4 to 3/4, differ by -h, -1/4 at most; each by itself, by 3/4 - 1/2."""
    layer = nn.Linear(1, 2, bias=False).requires_grad_(False)
    layer.weight.copy_(torch.tensor([[1.0], [2.0]]))
    worst = worst_logits(layer, torch.tensor([[0.5]]), torch.tensor([1]), 0.25)
    torch.testing.assert_close(worst, torch.tensor([[-0.25, 0.0]]))
    apart = worst_logits(nn.Sequential(layer, nn.Identity()), torch.tensor([[0.5]]), torch.tensor([1]), 0.25)
    torch.testing.assert_close(apart, torch.tensor([[0.25, 0.0]]))


def test_nothing_of_the_network_changes_and_no_mask_is_drawn():
    model = network(["convolution", "batch norm", "relu", "dropout"], ["linear", "dropout"], 0)
    before, drawn = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    x, _ = ball(0, 0.1)
    first = worst_logits(model, x, torch.tensor([0, 1]), 0.1)
    assert all(part.training for part in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), drawn)
    assert torch.equal(first, worst_logits(model.eval(), x, torch.tensor([0, 1]), 0.1))


def test_bounds_are_made_in_float32_where_passes_run_in_bfloat16():
    model = models.build("small_cnn", (1, 8, 8), 10, [0.3], [0.4])
    x, y = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 3])
    plain = worst_logits(model, x, y, 0.1)
    fast = prepared(model, Policy("bfloat16"))
    assert torch.equal(worst_logits(fast, x, y, 0.1), plain)
    assert not torch.equal(fast(x), model(x))
    assert not torch.equal(with_edit(
        interval_bounds, "model.network if isinstance(model, Prepared) else model", "model"
    ).bounds(nn.Identity(), x, x)[0], plain)  # fmt: skip


@pytest.mark.parametrize("name", models.names())
def test_bounds_go_through_every_shipped_network(monkeypatch, name):
    monkeypatch.setattr(preact_resnet18, "WIDTHS", (4, 8, 8, 8))
    model = models.build(name, (1, 16, 16), CLASSES, [0.3], [0.4]).double().requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(2, 1, 16, 16, generator=generator, dtype=torch.float64)
    if name == "cnn7":  # whose last layer begins at nothing
        model[1][-1].weight.normal_(generator=generator)
    low, high = bounds(model, (x - 0.01).clamp(0, 1), (x + 0.01).clamp(0, 1))
    points = (x + 0.01 * (2 * torch.rand(200, *x.shape, generator=generator, dtype=torch.float64) - 1)).clamp(0, 1)
    logits = model.eval()(points.flatten(0, 1)).view(200, 2, -1)
    assert ((logits >= low) & (logits <= high)).all()
    assert (high > low).all()


class Calls(nn.Module):
    """A network that is a function."""

    def __init__(self, function):
        super().__init__()
        self.inner, self.function = nn.ReLU(inplace=True), function

    def forward(self, x):
        return self.function(self, x)


WITHOUT_STATISTICS = nn.BatchNorm1d(2, track_running_stats=False)
HOOKED = nn.Linear(2, 2)
HOOKED.register_forward_pre_hook(lambda *_: None)
REFUSED = {
    "a layer": (nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.GELU())), "layer `1.0` (GELU): no rule"),
    "the network itself": (nn.LayerNorm(2), "the network (LayerNorm): no rule"),
    "batch norm without statistics": (nn.Sequential(WITHOUT_STATISTICS), "layer `0` (BatchNorm1d): it keeps no"),
    "a falling slope": (nn.Sequential(nn.LeakyReLU(-0.1)), "layer `0` (LeakyReLU): it is not increasing"),
    "indices": (nn.Sequential(nn.MaxPool1d(2, return_indices=True)), "layer `0` (MaxPool1d): it returns indices"),
    "hooks": (nn.Sequential(HOOKED), "layer `0` (Linear): it has hooks"),
    "a function": (nn.Sequential(Calls(lambda _, x: torch.softmax(x, 1))), "`softmax` in layer `0` (Calls): no rule"),
    "a method": (Calls(lambda _, x: x.sin()), "`sin` in the network (Calls): no rule"),
    "a product": (Calls(lambda _, x: x * x), "`mul` in the network (Calls): it multiplies"),
    "a quotient": (Calls(lambda _, x: 1 / x), "`truediv` in the network (Calls): it multiplies or divides"),
    "a way to call": (Calls(lambda _, x: torch.add(x, x, alpha=2)), "`add` in the network (Calls): it is called with"),
    "control flow": (Calls(lambda _, x: x if x.sum() > 0 else -x), "the network (Calls): its forward cannot be"),
    "a change in place": (Calls(lambda own, x: own.inner(x) + x), "layer `inner` (ReLU): it changes a value in place"),
    "a function in place": (Calls(lambda _, x: relu(x, inplace=True) + x), "`relu` in the network (Calls): it changes"),
    "a tensor of its own": (Calls(lambda _, x: x + torch.ones(2)), "the network (Calls): it computes with a tensor"),
    "two outputs": (Calls(lambda _, x: (x, x)), "the network (Calls): it returns something else"),
    "a constant": (Calls(lambda _, x: 1.0), "the network (Calls): it returns something else"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_bounds_cannot_go_through_is_named(name):
    model, says = REFUSED[name]
    with pytest.raises(BoundsUnknown) as caught:
        require_bounds(model)
    assert says in str(caught.value)
    assert "they go through linear layers, convolutions" in str(caught.value)
    with pytest.raises(BoundsUnknown):
        worst_logits(model, torch.zeros(1, 2), torch.tensor([0]), 0.1)
