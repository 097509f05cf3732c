"""Examples: which images are shown, and what is attacked of them."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from atentdsl.evaluation.examples import examples, spread
from atentdsl.runtime.data import Images
from atentdsl.runtime.errors import NotFinite


@given(st.lists(st.integers(0, 5), max_size=40), st.integers(0, 12))
def test_no_class_is_shown_twice_before_every_class_that_is_left_is_shown(labels, number):
    places = spread(labels, number)
    assert len(places) == len(set(places)) == min(number, len(labels))
    shown = Counter(labels[place] for place in places)
    for label, count in Counter(labels).items():
        own = [place for place in places if labels[place] == label]
        first = [place for place, other in enumerate(labels) if other == label]
        assert own == first[: len(own)], "a class's images are in their own order"
        assert all(shown[label] >= min(count, other - 1) for other in shown.values())


class Raising:
    """Each restart adds to the second input: 0.5, then 0.75. Remembers what it was made on."""

    name, restarts = "raising", 3

    def __init__(self):
        self.made_on = []

    def require_classes(self, model, x):
        pass

    def perturbed(self, model, x, y, seed, restart=0):
        self.made_on.append((restart, len(x), seed))
        torch.rand(3)
        return x + torch.tensor([0.0, 0.5 + 0.25 * restart])


class Logits(nn.Module):
    """The inputs themselves, times four."""

    def forward(self, x):
        return 4 * x


def test_an_image_that_a_restart_breaks_is_left_as_that_restart_made_it():
    x = torch.tensor([[0.9, 0.0], [0.7, 0.0], [0.25, 0.0], [1.0, 0.0]])
    images, attack, model = Images(x, torch.tensor([0, 0, 0, 1]), 2), Raising(), Logits().train()
    state = torch.get_rng_state()
    found = examples(model, images, attack, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    # By class: image 0, then 3, of class 1 and wrong as it is, then 1 and 2. Image 2 falls at once, 1 at the second.
    assert found.places == (0, 3, 1, 2)
    assert found.labels == (0, 1, 0, 0)
    assert [(restart, count) for restart, count, _ in attack.made_on] == [(0, 4), (1, 2), (2, 1)]
    assert len({seed for *_, seed in attack.made_on}) == 1
    added = (found.z - found.x)[:, 1].tolist()
    assert added == [1.0, 0.5, 0.75, 0.5]
    assert [answer.predicted for answer in found.clean] == [0, 0, 0, 0]
    assert [answer.predicted for answer in found.attacked] == [1, 0, 1, 1]
    assert found.clean[3].confidence == pytest.approx(1 / (1 + 2.718281828459045**-1.0), rel=1e-9)


def test_answers_that_are_no_numbers_are_refused():
    class Empty(nn.Module):
        def forward(self, x):
            return x / 0 * 0

    with pytest.raises(NotFinite, match="image 0 of those shown"):
        examples(Empty(), Images(torch.ones(2, 3), torch.tensor([0, 1]), 3), None, 0)
