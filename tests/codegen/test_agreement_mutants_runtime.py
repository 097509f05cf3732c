"""What the agreement check is worth: the runtime that modules call, with one edit that must be caught."""

from __future__ import annotations

import pytest
from codegen.agreement_recipes import MODEL, OWN, agrees, plan, text

from atentdsl.codegen import as_module
from atentdsl.runtime import network as passes_of_the_network
from atentdsl.runtime import points, streams, weight_row
from atentdsl.testing import edited, network


def calling(mutant, name):
    """The recipe's module, which calls the edited module's functions."""
    module = as_module(text(name), name)
    own = {key: value for key, value in vars(mutant).items() if key in vars(module) and callable(value)}
    vars(module).update({key: value for key, value in own.items() if value.__module__ == mutant.__name__})
    return module


def caught(mutant, names, model=MODEL):
    """Whether any of these recipes' plans and their modules differ."""
    for name in names:
        try:
            if not agrees(plan(name), calling(mutant, name), model):
                return True
        except RuntimeError:  # nothing asks for a gradient any more, or shapes that do not fit
            return True
    return False


@pytest.mark.parametrize("shipped", [passes_of_the_network, weight_row, points])
def test_what_is_run_without_an_edit_is_not_caught(shipped):
    assert not caught(edited(shipped, "from __future__ import annotations\n", ""), OWN)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("full", 'model.train(mode != "eval")', 'model.train(mode == "eval")'),
        ("full", 'model.train(mode != "eval")', "model.train()"),
        (
            "full",
            "point, y, loss, rng, mode, noise, average).sum(), point)",
            'point, y, loss, rng, "eval", noise, average).sum(), point)',
        ),
        (
            "full",
            "z.detach(), y, loss, rng, mode, noise, average, inputs",
            'z.detach(), y, loss, rng, "eval", noise, average, inputs',
        ),
        ("full", "else chosen * losses).sum()", "else chosen * losses).mean()"),
        ("full", "with rng.same_masks(z):", "if True:"),
        ("full", "with rng.same_masks(z):", "with rng.same_masks(point):"),
        ("full", "            p.requires_grad_(True)", "            p.requires_grad_(False)"),
        ("full", "return weight * total.detach()", "return total.detach()"),
        ("full", "g for _, g in again], alpha=weight)", "g for _, g in again])"),
        ("full", "        torch._foreach_mul_([g for _, g in first], weight)", "        pass"),
        ("full", "torch.autograd.grad(total, asking, allow_unused=True), weight)", "asking, weight)"),
        ("merged", "return g, weight * total.detach()", "return g, total.detach()"),
        ("merged", "return g, weight * total.detach()", "return -g, weight * total.detach()"),
        ("merged", "_gather(asking, own, weight)", "_gather(asking, own, 1.0)"),
        ("merged", "_gather(asking, own, weight)", "_gather(asking, [None for _ in own], weight)"),
        (
            "merged",
            "(model, z, point, y, loss, rng, mode, noise, average).sum()\n    asking",
            "(model, z, point, y, loss, rng, mode, noise, average).mean()\n    asking",
        ),
        (
            "composed",
            "_losses(model, z, z, y, loss, rng, mode, noise, average)",
            '_losses(model, z, z, y, loss, rng, "eval", noise, average)',
        ),
        (
            "composed",
            "_losses(model, z, z, y, loss, rng, mode, noise, average)",
            "-_losses(model, z, z, y, loss, rng, mode, noise, average)",
        ),
        (
            "composed",
            "_losses(model, z, z, y, loss, rng, mode, noise, average)",
            "_losses(model, z, z, y, loss, rng, mode, noise, average).mean().expand(len(z))",
        ),
        ("around", 'model.train(mode != "eval")', 'model.train(mode == "train")'),
        ("around", '_buffers_apart(model, mode == "frozen")', "_buffers_apart(model, False)"),  # frozen mode tracks
        ("around", '_buffers_apart(model, mode == "frozen")', "_buffers_apart(model, True)"),  # train mode does not
        ("around", '_buffers_apart(model, mode == "frozen")', '_buffers_apart(model, mode == "train")'),
        ("around", "None if buffer is None else buffer.clone()", "buffer"),  # no copies
        ("around", "            place.update(buffers)", "            pass"),
        ("around", "for part in model.modules() if part._buffers]", "for part in [model]]"),
        ("around", 'if mode == "eval":  # draws', 'if mode != "train":  # draws'),
        ("around in eval mode", 'if mode == "eval":  # draws', "if False:  # draws"),
    ],
)
def test_an_edited_network_pass_is_caught(name, old, new):
    names = ["full", "full in eval mode"] if name == "full" else [name]
    assert caught(edited(passes_of_the_network, old, new), names)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("around", "p.copy_(own)", "p.add_(own)"),
        ("around", "    rng.new_points()\n", "    pass\n"),  # the masks of before at the moved weights
        ("around", "tuple(p.shape) for p", "tuple(p.flatten().shape) for p"),
        ("around", "        p.grad = None\n", "        pass\n"),
        ("composed", "        p.grad = None\n", "        pass\n"),
        ("composed", "        p.grad = before\n", "        pass\n"),
        ("composed", "        p.grad = before\n", "        p.grad = None\n"),
        ("composed", "        p.grad = before\n", "        p.grad = p.grad if before is None else p.grad + before\n"),
        ("composed", "(torch.zeros_like(p) if p.grad is None else p.grad).flatten()", "torch.zeros_like(p).flatten()"),
        ("composed", "away = w - w_moved", "away = w_moved - w"),
        ("composed", "return weight / 2 * away", "return weight * away"),
        ("composed", "torch.empty_like(p).copy_(own) if p.grad is None else p.grad + own", "own.clone()"),
        ("composed", "_parts(model, weight * away)", "_parts(model, away)"),
        ("composed", "row[0], [p.numel()", "row[0].flip(0), [p.numel()"),
    ],
)
def test_an_edited_row_of_weights_is_caught(name, old, new):
    assert caught(edited(weight_row, old, new), [name])


def test_a_weight_that_its_owner_has_frozen_stays_out_of_the_row():
    """Noise would move it; a row without noise could hold it and nobody would know."""
    model = network(dropout=0.4, batch_norm=True)
    next(model.parameters()).requires_grad_(False)
    for name in ("composed", "around"):
        assert agrees(plan(name), as_module(text(name), name), model)
    old, new = "[p for p in model.parameters() if p.requires_grad]", "list(model.parameters())"
    assert caught(edited(weight_row, old, new), ["composed"], model)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("composed", "higher = losses > worst.losses", "higher = losses < worst.losses"),
        (
            "composed",
            "higher = losses > worst.losses",
            "higher = (losses.mean() > worst.losses.mean()).expand(len(losses))",
        ),
        ("composed", "higher = losses > worst.losses", "higher = torch.ones_like(losses, dtype=torch.bool)"),
        ("composed", "torch.where(higher, losses, worst.losses)", "losses"),  # the restart before, not the worst
        ("composed", "torch.where(higher, losses, worst.losses)", "worst.losses"),
        ("composed", "*[1] * (new.dim() - 1)), new, old)", "*[1] * (new.dim() - 1)), old, new)"),
        ("composed", "zip(points, worst.points, strict=True)", "zip(points[::-1], worst.points, strict=True)"),
        ("around", "else left", "else torch.zeros_like(like)"),
        ("around", "else left", "else -left"),
        ("around", "or left.shape != like.shape", ""),
    ],
)
def test_edited_points_between_chains_are_caught(name, old, new):
    assert caught(edited(points, old, new), [name])


SAME_POINT = """.get(id(z), (None, None))
        now = _global_state(z)
        if point is not None and first is not None and point() is z:"""
SAME_MASKS = """.get(next(iter(self._masks), 0), (None, None))
        now = _global_state(z)
        if first is not None:"""


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("full", "if point is not None and", "if False and"),  # a second mask at the same point
        ("full", SAME_POINT, SAME_MASKS),  # that of the first point at all
        ("full", "            _set_global_state(z, first)\n", "            pass\n"),
        ("nested", "            _set_global_state(z, now)\n", "            pass\n"),  # the generator stays set back
        ("nested", "            _set_global_state(z, now)\n", "            _set_global_state(z, first)\n"),
        ("full", "key(self._seed, self._step, place)", "key(self._seed, 1, place)"),
        ("full", "key(self._seed, self._step, place)", "key(self._seed, self._step)"),
        ("composed", "if place not in self._generators:", "if True:"),  # a place is not read on: nothing is drawn again
        (
            "around",
            "self._masks[id(z)] = weakref.ref(z, self._forgetting(id(z))), now",
            "self._masks = {id(z): (weakref.ref(z), now)}",
        ),
        ("around", "        self._masks.clear()\n", "        pass\n"),
    ],
)
def test_edited_streams_are_caught(name, old, new):
    mutant = edited(streams, old, new)
    module = as_module(text(name), name)
    assert agrees(plan(name), module)
    assert not agrees(plan(name), module, streams=mutant.Streams)
