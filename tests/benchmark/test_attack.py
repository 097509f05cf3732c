"""The timing of an evaluation's attack: its keys, a delay that shows, and a limit that nobody beats."""

from __future__ import annotations

import time

import attrs
import torch

from atentdsl.api.benchmarking import subject
from atentdsl.benchmark import attack as measuring
from atentdsl.benchmark.attack import KEYS, measured_attack
from atentdsl.benchmark.limit import limit_step, passes
from atentdsl.benchmark.timing import in_turns, timed


def small():
    return subject("sgd", ["model.name=mlp"], "cpu")


def test_the_keys_and_the_restart_that_is_timed():
    found = measured_attack(subject("sgd", ["model.name=mlp", "evaluate.restarts=9"], "cpu"), rounds=2, steps=3)
    assert tuple(found) == KEYS
    assert found["attack"] == "pgd-3"
    assert found["ratio_to_limit"] > 0.5
    assert found["attack_ms"] / found["limit_ms"] < 9, "one restart"
    assert found["batch"] >= 32


def test_a_pause_in_the_attack_shows(monkeypatch):
    made = measuring.gradient_attack

    def slow(*arguments):
        attack = made(*arguments)
        module = attack._module

        class Paused:
            @staticmethod
            def draw(*given):
                time.sleep(0.05)
                return module.draw(*given)

        return attrs.evolve(attack, module=Paused)

    plain = measured_attack(small(), rounds=3, steps=2)
    monkeypatch.setattr(measuring, "gradient_attack", slow)
    paused = measured_attack(small(), rounds=3, steps=2)
    assert paused["attack_ms"] > plain["attack_ms"] + 40
    assert paused["limit_ms"] < 40


def test_the_limit_is_what_the_attack_asks_of_the_network():
    """Each step one forward with the gradient in the images and none in the weights."""
    measured = small()
    name, ball = measuring.attack_name("pgd-7"), measuring.Threat("linf", 0.1, ("evaluate", "radius"))
    plan = measuring.gradient_attack(measured.recipe, name, ball).compiled.plan
    asked = passes(plan)
    assert len(asked) == 7
    assert all(one.to_input and not one.to_weights and not one.training for one in asked)


def test_no_loop_over_the_same_passes_is_faster_than_the_limit():
    """Written by hand; what it would gain is beyond what turns of the two tell apart."""
    measured = subject("sgd", ["model.name=small_cnn"], "cpu")
    network = measured.network.eval()
    name, ball = measuring.attack_name("pgd-5"), measuring.Threat("linf", 0.1, ("evaluate", "radius"))
    x, y = measured.images.take(slice(128))
    limit = limit_step(measuring.gradient_attack(measured.recipe, name, ball).compiled.plan, network, x, y)

    def by_hand():
        for p in network.parameters():
            p.requires_grad_(False)
        for _ in range(5):
            z = x.clone().requires_grad_()
            torch.nn.functional.cross_entropy(network(z), y, reduction="sum").backward()

    turns = in_turns({"limit": timed(limit, time.perf_counter), "hand": timed(by_hand, time.perf_counter)}, 15)
    assert turns.ratio("hand", "limit") > 0.9
