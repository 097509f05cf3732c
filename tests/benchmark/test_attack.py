"""The timing of an evaluation's attack: its keys, a delay that shows, and a limit that nobody beats."""

from __future__ import annotations

import attrs
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from atentdsl.api.benchmarking import subject
from atentdsl.benchmark import attack as measuring
from atentdsl.benchmark.attack import KEYS, measured_attack
from atentdsl.benchmark.limit import limit_step, passes


def small():
    return subject("sgd", ["model.name=mlp"], "cpu")


def test_the_keys_and_the_restart_that_is_timed():
    found = measured_attack(subject("sgd", ["model.name=mlp", "evaluate.restarts=9"], "cpu"), rounds=2, steps=3)
    assert tuple(found) == KEYS
    assert found["attack"] == "pgd-3"
    assert found["ratio_to_limit"] > 0.5
    assert found["attack_ms"] / found["limit_ms"] < 9, "one restart"
    assert found["batch"] >= 32


def test_time_that_the_attack_takes_is_in_its_figure_and_not_in_the_limits(monkeypatch):
    """The clock is counted by hand: each look at it is a millisecond, and the attack takes fifty more."""
    made, now = measuring.gradient_attack, [0.0]

    def clock():
        now[0] += 0.001
        return now[0]

    def slow(*arguments):
        attack = made(*arguments)
        module = attack._module

        class Paused:
            @staticmethod
            def draw(*given):
                now[0] += 0.05
                return module.draw(*given)

        return attrs.evolve(attack, module=Paused)

    monkeypatch.setattr(measuring, "gradient_attack", slow)
    paused = measured_attack(small(), rounds=3, steps=2, clock=clock)
    assert paused["attack_ms"] == pytest.approx(51)
    assert paused["limit_ms"] == pytest.approx(1)
    assert paused["ratio_to_limit"] == pytest.approx(51)


def test_the_limit_is_what_the_attack_asks_of_the_network():
    """Each step one forward with the gradient in the images and none in the weights."""
    measured = small()
    name, ball = measuring.attack_name("pgd-7"), measuring.Threat("linf", 0.1, ("evaluate", "radius"))
    plan = measuring.gradient_attack(measured.recipe, name, ball).compiled.plan
    asked = passes(plan)
    assert len(asked) == 7
    assert all(one.to_input and not one.to_weights and not one.training for one in asked)


@pytest.mark.parametrize("name", ["small_cnn", "mlp"])
def test_the_limit_computes_what_a_loop_written_by_hand_does_and_no_more(name):
    """The multiplications in the layers, counted by torch, and the operations on tensors: no loop has fewer to make."""
    measured = subject("sgd", [f"model.name={name}"], "cpu")
    network = measured.network.eval()
    attack, ball = measuring.attack_name("pgd-5"), measuring.Threat("linf", 0.1, ("evaluate", "radius"))
    x, y = measured.images.take(slice(128))
    limit = limit_step(measuring.gradient_attack(measured.recipe, attack, ball).compiled.plan, network, x, y)

    def by_hand():
        for p in network.parameters():
            p.requires_grad_(False)
        for _ in range(5):
            z = x.clone().requires_grad_()
            torch.nn.functional.cross_entropy(network(z), y, reduction="sum").backward()

    asked, least = counted(limit), counted(by_hand)
    assert asked.flops == least.flops > 0
    assert asked.operations <= least.operations


class Counting(TorchDispatchMode):
    """How many operations torch is asked for, and the floating-point operations of those in layers."""

    def __init__(self):
        super().__init__()
        self.operations = self.flops = 0

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        made = function(*arguments, **(keywords or {}))
        self.operations += 1
        counts = flop_registry.get(function.overloadpacket)
        self.flops += counts(*arguments, **(keywords or {}), out_val=made) if counts else 0
        return made


def counted(step):
    with Counting() as counting:
        step()
    return counting
