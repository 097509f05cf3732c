"""Attacks one after the other: who is attacked, what each figure and the worst of them count."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import atentdsl
from atentdsl.evaluation import attacks, evaluation, report
from atentdsl.evaluation.ball import Ball
from atentdsl.runtime import accuracy
from atentdsl.runtime.data import Images
from atentdsl.runtime.errors import MemoryExhausted
from atentdsl.testing.mutants import edited

LINF, L2 = Ball("linf", 0.1), Ball("l2", 0.5)


class First(nn.Module):
    """An image's first pixel is its number, an eighth its class; right are those whose label says so."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.one_hot((x.flatten(1)[:, 0] * 1024).round().long() % 4, 4).float()


@attrs.define(eq=False)
class Spy:
    """An attack that breaks what it is told to, and notes whom it met."""

    name: str
    ball: Ball
    breaks: Callable[[int], bool]
    met: list[list[int]] = attrs.field(factory=list)

    def settings(self) -> dict[str, Any]:
        return {"norm": self.ball.norm, "radius": self.ball.radius}

    def withstands(self, model: nn.Module, x: Tensor, y: Tensor, seed: int) -> Tensor:
        numbers = (x.flatten(1)[:, 0] * 1024).round().long().tolist()
        self.met.append(numbers)
        return torch.tensor([not self.breaks(i) for i in numbers], dtype=torch.bool)


def images(n: int, wrong: set[int]) -> Images:
    x = torch.zeros(n, 1, 2, 2)
    x[:, 0, 0, 0] = torch.arange(n) / 1024
    y = torch.tensor([(i + (i in wrong)) % 4 for i in range(n)], dtype=torch.long)
    return Images(x, y, 4)


def all_met(spy: Spy) -> list[int]:
    return sorted(i for batch in spy.met for i in batch)


@settings(max_examples=60)
@given(st.data())
def test_figures_are_those_counted_image_by_image(data):
    """Against a count by hand: each image, each attack in its turn."""
    n = data.draw(st.integers(1, 40))
    batch = data.draw(st.integers(1, 45))
    independent = data.draw(st.booleans())
    subsets = st.sets(st.integers(0, n - 1))
    wrong = data.draw(subsets)
    broken = [data.draw(subsets) for _ in range(data.draw(st.integers(0, 4)))]
    balls = [data.draw(st.sampled_from([LINF, L2])) for _ in broken]
    spies = [
        Spy(f"a{i}", ball, breaks.__contains__) for i, (ball, breaks) in enumerate(zip(balls, broken, strict=True))
    ]
    found = evaluation(First(), images(n, wrong), spies, "test", 0, batch, independent=independent)

    assert found["clean_accuracy"] == (n - len(wrong)) / n
    for i, spy in enumerate(spies):
        earlier = [] if independent else [j for j in range(i) if balls[j] == balls[i]]
        expected = [k for k in range(n) if k not in wrong and not any(k in broken[j] for j in earlier)]
        assert all_met(spy) == expected
        assert [len(met) for met in spy.met] == [min(batch, len(expected) - k) for k in range(0, len(expected), batch)]
        said = found["attacks"][f"a{i}"]
        assert said["attacked"] == len(expected)
        assert said.get("after", []) == [f"a{j}" for j in earlier]
        assert said["robust_accuracy"] == sum(k not in broken[i] for k in expected) / n
    assert [Ball(w["norm"], w["radius"]) for w in found["worst"]] == list(dict.fromkeys(balls))
    for worst in found["worst"]:
        own = [i for i, ball in enumerate(balls) if ball == Ball(worst["norm"], worst["radius"])]
        assert worst["attacks"] == [f"a{i}" for i in own]
        held = [k for k in range(n) if k not in wrong and not any(k in broken[i] for i in own)]
        assert worst["robust_accuracy"] == len(held) / n
        assert worst["robust_interval"][0] <= len(held) / n <= worst["robust_interval"][1]


# A module, an edit of it, and what the edit spoils.
MUTANTS = {
    "another ball goes on": (report, "if attacks[j].ball == attack.ball", "if True"),
    "nothing is passed over": (report, "[] if independent else", "[] if True else"),
    "the wrong are attacked": (accuracy, "standing = right.clone()", "standing = torch.ones_like(right)"),
    "the broken are attacked": (accuracy, "standing &= held[earlier]", "pass"),
    "the best of all": (report, ".all(dim=0)", ".any(dim=0)"),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_seen(name, monkeypatch):
    def found() -> dict[str, Any]:
        spies = [Spy("one", LINF, lambda i: i % 3 == 0), Spy("two", L2, lambda i: i % 2 == 0)]
        spies.append(Spy("three", LINF, lambda i: i > 15))
        subject = edited(module, old, new) if edits else module
        if module is report:
            said = subject.evaluation(First(), images(20, {1, 4, 5}), spies, "test", 0, 6)
        else:
            monkeypatch.setattr(report, "answers", subject.answers)
            said = report.evaluation(First(), images(20, {1, 4, 5}), spies, "test", 0, 6)
        return {"met": [all_met(spy) for spy in spies], **said}

    module, old, new = MUTANTS[name]
    edits = False
    shipped = found()
    edits = True
    assert found() != shipped


def network() -> tuple[nn.Module, Images]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 24), nn.ReLU(), nn.Linear(24, 5)).eval()
    x = torch.rand(150, 1, 6, 6)
    return model, Images(x, model(x).argmax(dim=1), 5)


def test_the_worst_of_gradient_attacks_is_the_least_of_each_image_by_itself():
    """Made independently, so that what one attack says of an image is known whatever the others do."""
    model, data = network()
    texts = ["fgsm", "pgd-2", "pgd-2,loss=margin", "cw", "pgd-3,norm=l2,radius=0.4"]
    recipe = atentdsl.load("sgd", ["evaluate.radius=0.04", f"evaluate.attacks={texts!r}"])
    found = attacks(recipe, 5)
    said = evaluation(model, data, found, "test", 0, independent=True)
    assert [w["attacks"] for w in said["worst"]] == [texts[:4], texts[4:]]
    held = accuracy.answers(model, data, [a.withstands for a in found], 0).held
    least = sum(all(bool(held[i][k]) for i in range(4)) for k in range(150)) / 150
    assert said["worst"][0]["robust_accuracy"] == least
    shares = [said["attacks"][text]["robust_accuracy"] for text in texts]
    assert least < min(shares[:3]) < max(shares[:3]) < said["clean_accuracy"], "no cheap attack alone is the worst"
    assert said["worst"][1]["robust_accuracy"] == shares[4]

    cascaded = evaluation(model, data, found, "test", 0)
    figures = [cascaded["attacks"][text]["robust_accuracy"] for text in texts]
    assert figures[:4] == sorted(figures[:4], reverse=True), "in a ball each is of those that the one before left"
    assert cascaded["worst"][0]["robust_accuracy"] == figures[3]
    attacked = [cascaded["attacks"][text]["attacked"] for text in texts]
    assert attacked == [150, *(round(150 * share) for share in figures[:3]), 150]


@pytest.mark.parametrize("most", [0, 1, 3, 20])
def test_where_memory_ends_in_a_later_attack_a_batch_that_fits_is_named(most):
    """The network alone fits at any batch; the second attack, on what the first one left, does not."""

    class Large(Spy):
        def withstands(self, model: nn.Module, x: Tensor, y: Tensor, seed: int) -> Tensor:
            if len(x) > most:
                raise MemoryError
            return super().withstands(model, x, y, seed)

    spies = [Spy("one", LINF, lambda i: i % 2 == 0), Large("two", LINF, lambda i: False)]
    with pytest.raises(MemoryExhausted) as caught:
        evaluation(First(), images(50, set()), spies, "test", 0, 48)
    assert caught.value.batch == 48
    assert caught.value.fits == next((size for size in (24, 12, 6, 3, 1) if size <= most), None)
    if caught.value.fits:  # on all images too, where what the first attack left of several batches makes a full one
        evaluation(First(), images(50, set()), spies, "test", 0, caught.value.fits)


def test_another_error_is_itself():
    class Wrong(Spy):
        def withstands(self, model: nn.Module, x: Tensor, y: Tensor, seed: int) -> Tensor:
            raise RuntimeError("its own")

    with pytest.raises(RuntimeError, match="its own"):
        evaluation(First(), images(5, set()), [Wrong("a", LINF, lambda i: False)], "test", 0)
