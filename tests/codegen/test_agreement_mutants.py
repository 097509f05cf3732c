"""What the agreement check is worth: shipped text with one edit that must be caught."""

from __future__ import annotations

import pytest
from codegen.agreement_recipes import CHANGED, OWN, agrees, plan, text

from atentdsl.codegen import as_module


@pytest.mark.parametrize(
    "name",
    [
        *OWN,
        *CHANGED,
        *["atent_linf", "atent_linf_literal", "pgd_at_linf", "awp_pgd_at", "entropy_sgd_atent", "sgd"],
    ],
)
@pytest.mark.parametrize("goal", ["train", "draw"])
def test_without_an_edit_they_agree(name, goal):
    assert agrees(plan(name, goal), as_module(text(name, goal), name))


TEXT = {
    "the drift's sign": ("atent_linf", "drift, alpha=step_size", "drift, alpha=-step_size"),
    "the drift's sign, without noise": ("pgd_at_linf", "alpha=step_size", "alpha=-step_size"),
    "noise off by sqrt 2": ("full", "math.sqrt(2 * step_size)", "math.sqrt(step_size)"),
    "no noise": ("atent_linf", ", NOISE)", ", 0.0)"),
    "the coupling pushes": ("full", "return gamma * (anchor - z)", "return gamma * (z - anchor)"),
    "the coupling doubled": ("full", "return gamma * (anchor - z)", "return 2 * gamma * (anchor - z)"),
    "the start's radius halved": ("full", "radius * (2 * u - 1)", "radius * (u - 0.5)"),
    "another start": ("atent_linf", 'rng.normal("attack.start", x)', 'rng.normal("attack.noise", x)'),
    "coefficients off by one step": (
        "full",
        "COEFFICIENTS = (0.0864, 0.144, 0.24)",
        "COEFFICIENTS = (0.144, 0.24, 0.4)",
    ),
    "the last coefficient": ("full", "COEFFICIENT = 0.4", "COEFFICIENT = 0.24"),
    "a projection forgotten": ("atent_linf", "z = linf_ball(z, x, LINF_BALL_RADIUS)", "pass"),
    "the box forgotten": ("pgd_at_linf", "            z = box(z)", "            pass"),
    "the start not projected": ("full", "\n    z = linf_ball(z, x, LINF_BALL_RADIUS)\n", "\n"),
    "the ball around the wrong point": ("atent_linf", "z = linf_ball(z, x,", "z = linf_ball(z, z,"),
    "the clip from the wrong point": ("full", "z = increment_clip(z, old,", "z = increment_clip(z, x,"),
    "no mean over the batch in the drift": ("full", "BETA * g / n", "BETA * g"),
    "no mean over the batch in the signal": ("atent_linf", "weight=c / n", "weight=c"),
    "no beta": ("full", "BETA * g / n", "g / n"),
    "the drift covers the loss alone": (
        "full",
        "unit_l2(BETA * g / n + l2_pull(z, x, GAMMA))",
        "unit_l2(BETA * g / n) + l2_pull(z, x, GAMMA)",
    ),
    "no normalisation": ("full", "return (scaled / torch.where(length > 0, length, 1.0)).view_as(g)", "return g"),
    "eval mode for train mode": ("atent_linf", 'mode="train"', 'mode="eval"'),
    "one move too few": ("pgd_at_linf", "TURNS = 10", "TURNS = 9"),
    "the gradient at the clean point": ("pgd_at_linf", "input_gradient(model, z, y", "input_gradient(model, x, y"),
    "the signal at the clean point": ("pgd_at_linf", "weight_gradient(model, z, y", "weight_gradient(model, x, y"),
    "no update": ("sgd", "optimizer.step()", "pass"),
    "gradients pile up": ("sgd", "optimizer.zero_grad(set_to_none=True)", "pass"),
    "no momentum": ("sgd", "MOMENTUM = 0.9", "MOMENTUM = 0.0"),
    "no weight decay": ("sgd", "WEIGHT_DECAY = 0.0005", "WEIGHT_DECAY = 0.0"),
    "another learning rate": ("full", "LR_VALUE = 0.5", "LR_VALUE = 0.25"),
    "a signal that is not added up": ("atent_linf", "signal += weight_gradient", "signal = weight_gradient"),
    # Evaluations that ask for both gradients.
    "a merged evaluation that is not added up": ("merged", "signal += part", "signal = part"),
    "a merged evaluation's signal forgotten": ("merged", "signal += part", "pass"),
    "no mean over the batch in a merged evaluation": ("merged", "weight=c / n, mode", "weight=c, mode"),
    "a merged evaluation in eval mode": ("merged", 'weight=c / n, mode="train"', 'weight=c / n, mode="eval"'),
    "merged coefficients off by one": ("merged", "COEFFICIENTS = (0.0864, 0.144)", "COEFFICIENTS = (0.144, 0.24)"),
    "the merged gradient of the clean point": ("merged", "part = gradients(model, z,", "part = gradients(model, x,"),
    "a target's merged evaluation left out": (
        "merged in a target",
        "g, _ = gradients(model, z, y, cross_entropy, rng, weight=COEFFICIENT / n, mode",
        "g, _ = gradients(model, z, y, cross_entropy, rng, weight=0.0, mode",
    ),
    # A chain of weights, around one of data with restarts.
    "the weights climb": ("composed", "g = -piecewise(", "g = piecewise("),
    "beta of the move before": ("composed", "g = -piecewise(k + 1,", "g = -piecewise(k,"),
    "beta of the first move": ("composed", "g = -piecewise(k + 1,", "g = -piecewise(1,"),
    "the step size of the move after": ("composed", "linear(k + 1, STEP", "linear(k + 2, STEP"),
    "the step size of the first move": ("composed", "linear(k + 1, STEP", "linear(1, STEP"),
    "a step size that ends elsewhere": ("composed", "STEP_SIZE_LENGTH = 3", "STEP_SIZE_LENGTH = 2"),
    "no momentum of the weights": ("composed", "MU = 0.7", "MU = 0.0"),
    "no look-ahead": ("composed", "look_ahead(g, velocity, MU)", "velocity"),
    "a look-ahead from before": ("composed", "return g + mu * velocity", "return g + velocity"),
    "a momentum that outlives its chain": (
        "composed",
        "        velocity = 0.0\n",
        '        velocity = locals().get("velocity", 0.0)\n',
    ),
    "no coupling of the weights": ("composed", " + l2_pull(moved, w, GAMMA)", ""),
    "the weights' coupling in the momentum": (
        "composed",
        "velocity = accumulated(velocity, g, MU)",
        "velocity = accumulated(velocity, g + l2_pull(moved, w, GAMMA), MU)",
    ),
    "no noise in the weights": ("composed", "NOISE = 0.01", "NOISE = 0.0"),
    "the weights' start at its anchor": ("composed", "START_SD = 0.05", "START_SD = 0.0"),
    "the weights' start not projected": ("composed", "\n        moved = l2_ball(moved, w, L2_BALL_RADIUS)", ""),
    "the weights not projected": ("composed", "\n            moved = l2_ball(moved, w, L2_BALL_RADIUS)", ""),
    "the weights' ball around the wrong point": (
        "composed",
        "\n            moved = l2_ball(moved, w,",
        "\n            moved = l2_ball(moved, moved,",
    ),
    "the network keeps its weights at the start": (
        "composed",
        "\n        set_weights(model, moved, rng)\n",
        "\n        rng.new_points()\n",
    ),
    "the network keeps its weights at a move": (
        "composed",
        "\n            set_weights(model, moved, rng)\n",
        "\n            rng.new_points()\n",
    ),
    "the weights are not restored": ("composed", "set_weights(model, w, rng)", "rng.new_points()"),
    "a gain that is forgotten": ("composed", "weight=GAIN * c", "weight=c"),
    "a gain that is squared": ("composed", "weight=GAIN * c", "weight=GAIN * GAIN * c"),
    "the displacements off by one move": ("composed", "(0.072, 0.12, 0.2)", "(0.12, 0.2, 0.0)"),
    "restarts that are added up": ("composed", "(0.072, 0.12, 0.2)", "(0.144, 0.24, 0.4)"),
    "the displacement the other way": (
        "composed",
        "displacement_gradient(model, w, moved,",
        "displacement_gradient(model, moved, w,",
    ),
    "displacements that are not added up": ("composed", "signal += displacement", "signal = displacement"),
    "displacements that reach the target": (
        "composed",
        "aside = put_aside(model)",
        "aside = [p.grad for p in model.parameters()]",
    ),
    "a target that reaches the signal's gradient": (
        "composed",
        "g = gathered(model, aside)",
        "g = gathered(model, [p.grad for p in model.parameters()])",
    ),
    "a target in the signal": (
        "composed",
        "                weight_gradient(",
        "                signal += weight_gradient(",
    ),
    "no mean over the batch in the target": ("composed", "weight=COEFFICIENT / n", "weight=COEFFICIENT"),
    "the attack is not drawn again": (
        "composed",
        "            worst = None\n            for _ in range(TURNS_2):\n",
        "            worst = None if k == 0 else worst\n            for _ in range(TURNS_2 if k == 0 else 0):\n",
    ),
    "the attack starts where it did": (
        "composed",
        'z = uniform(x, rng.uniform("attack.start", x), START_RADIUS)',
        'z = state.setdefault(id(x), uniform(x, rng.uniform("attack.start", x), START_RADIUS))',
    ),
    "the worst of an earlier move": ("composed", "worst = None", 'worst = locals().get("worst")'),
    "the last restart for the worst": ("composed", "worse(worst, candidates,", "worse(None, candidates,"),
    "the first restart for the worst": ("composed", "= worse(worst,", "= worst or worse(worst,"),
    "losses at the clean point": ("composed", "example_losses(model, z, y", "example_losses(model, x, y"),
    "losses in eval mode": (
        "composed",
        'losses = example_losses(model, z, y, cross_entropy, rng, mode="train")',
        'losses = example_losses(model, z, y, cross_entropy, rng, mode="eval")',
    ),
    "one point of the worst": ("composed", "worst.points[k_2]", "worst.points[0]"),
    "the last point for the worst": ("composed", "z = worst.points[k_2]", "pass"),
    "one restart too few": ("composed", "TURNS_2 = 3", "TURNS_2 = 2"),
    # A chain of data, with one of weights around its points.
    "nothing carried on": ("around", 'state["data.carry"] = z - x', "pass"),
    "the point for its displacement": ("around", 'state["data.carry"] = z - x', 'state["data.carry"] = z'),
    "a start without what is carried": ("around", "return anchor + carried", "return anchor"),
    "no momentum of the data": ("around", "MU = 0.6", "MU = 0.0"),
    "a momentum that is not normalised": ("around", "unit_l1(g)", "g"),
    "a momentum that is normalised as a whole": (
        "around",
        "velocity = accumulated(velocity, unit_l1(g), MU)",
        "velocity = unit_l1(accumulated(velocity, g, MU))",
    ),
    "a radius of the move before": ("around", "linear(k + 1, LINF", "linear(k, LINF"),
    "statistics of the attack": (
        "around",
        'input_gradient(model, z, y, cross_entropy, rng, mode="frozen")',
        'input_gradient(model, z, y, cross_entropy, rng, mode="train")',
    ),
    "the attack in eval mode": (
        "around",
        'input_gradient(model, z, y, cross_entropy, rng, mode="frozen")',
        'input_gradient(model, z, y, cross_entropy, rng, mode="eval")',
    ),
    "statistics of the climb": ("around", 'weight=COEFFICIENT / n, mode="frozen")', "weight=COEFFICIENT / n)"),
    "no statistics of the signal": (
        "around",
        "weight=COEFFICIENT_2 / n)",
        'weight=COEFFICIENT_2 / n, mode="frozen")',
    ),
    "the target weighed as the signal": ("around", "weight=COEFFICIENT / n", "weight=COEFFICIENT_2 / n"),
    "no layers": ("around", "unit_layers(g, w, shapes)", "unit_l2(g)"),
    "layers of the moved weights": ("around", "unit_layers(g, w, shapes)", "unit_layers(g, moved, shapes)"),
    "biases that move": ("around", "if len(shape) > 1 else 0.0", "if len(shape) > 0 else 0.0"),
    "the climb goes down": ("around", "g = gathered(model, aside)", "g = -gathered(model, aside)"),
    "the climb reaches the signal's gradient": (
        "around",
        "g = gathered(model, aside)",
        "g = gathered(model, [p.grad for p in model.parameters()])",
    ),
    "one point for all": ("around", "z = points[k]", "z = points[0]"),
    "a climb of one move": (
        "around",
        "\n        moved = gradient_step(moved,",
        "\n        moved = gradient_step(w,",
    ),
    "not restored between restarts": ("around", "\n    set_weights(model, w, rng)\n", "\n    rng.new_points()\n"),
    "not restored after the update": ("around", "set_weights(model, weights(model) - (moved - w), rng)", "pass"),
    "an update that is restored too": (
        "around",
        "set_weights(model, weights(model) - (moved - w), rng)",
        "set_weights(model, w, rng)",
    ),
}
TEXT |= {
    # A chain that accepts or rejects its moves.
    "always accepted": ("tested", "< probability", "< probability + 1"),
    "never accepted": ("tested", "< probability", "< probability - 1"),
    "another chance": ("tested", 'rng.uniform("data.acceptance"', 'rng.uniform("data.noise"'),
    "the ratio of the proposals forgotten": ("tested", "(gain - along - steeper)", "gain"),
    "the sign of the exponent": ("tested", "((gain - along - steeper)", "(-(gain - along - steeper)"),
    "the temperature's root": ("tested", "/ noise**2", "/ noise"),
    "no energy of the coupling": ("tested", " - l2_energy(proposal, x, GAMMA) - value", " - value"),
    "the coupling's energy around the wrong point": ("tested", "l2_energy(proposal, x,", "l2_energy(proposal, z,"),
    "no pull at the proposal": ("tested", " + l2_pull(proposal, x, GAMMA)", ""),
    "no pull at the point": ("tested", " + l2_pull(z, x, GAMMA)", ""),
    "the proposal's loss ascends": ("tested", "gain = -beta *", "gain = beta *"),
    "a set that is forgotten": ("tested", "taken = taken & in_l2_ball(proposal, x, L2_BALL_RADIUS)", "pass"),
    "another set that is forgotten": ("tested", "taken = taken & in_linf_ball(proposal, x, LINF_BALL_RADIUS)", "pass"),
    "a set around the wrong point": ("tested", "in_linf_ball(proposal, x,", "in_linf_ball(proposal, z,"),
    "the old point in the set": ("tested", "in_linf_ball(proposal, x,", "in_linf_ball(z, x,"),
    "a rejected example with the proposal's density": ("tested", "(z, here))", "(z, there))"),
    "an accepted example with the old density": ("tested", "(proposal, there), (z", "(proposal, here), (z"),
    "nothing but the density moves": ("tested", "(proposal, there), (z", "(z, there), (z"),
    "the density in train mode": ("tested", 'mode="eval"', 'mode="train"'),
    "one density for all moves": ("tested", "there = density(model, proposal,", "there = density(model, z,"),
    "a point before its move": ("tested", "points.append(z)", "points.append(proposal)"),
}
TEXT |= {
    # A margin search.
    "radii of other examples": (
        "searched",
        'remember(state, "data.radius", batch, radius)',
        'remember(state, "data.radius", batch, radius.flip(0))',
    ),
    "nothing remembered": ("searched", 'remember(state, "data.radius", batch, radius)', "pass"),
    "every ball the first": (
        "searched",
        "radius = remembered(",
        "radius = first_radius(x, INITIAL_RADIUS)\n    _ = remembered(",
    ),
    "a radius of the wrong ones": ("searched", "torch.where(losses >= 0, radius,", "torch.where(losses >= 9, radius,"),
    "a start at the centre": ("searched", 'z = linf_start(x, rng.uniform("data.start", x), radius)', "z = x"),
    "a start outside the box": (
        "searched",
        "(x + each(radius, x) * (2 * u - 1)).clamp(0, 1)",
        "x + each(radius, x) * (2 * u - 1)",
    ),
    "a climb that leaves its ball": ("searched", "x - own), x + own)", "x - 2 * own), x + 2 * own)"),
    "a climb that leaves the box": ("searched", "x - own), x + own).clamp(0, 1)", "x - own), x + own)"),
    "a climb of another length": ("searched", "STEP / MOVES", "STEP"),
    "another loss that is climbed": (
        "searched",
        'y, cross_entropy, rng, mode="train")',
        'y, margin, rng, mode="train")',
    ),
    "judged by another loss": ("searched", "y, margin, rng", "y, cross_entropy, rng"),
    "a search in eval mode": ("searched", 'margin, rng, mode="train"', 'margin, rng, mode="eval"'),
    "one bisection too few": ("searched", "TURNS_2 = 4", "TURNS_2 = 3"),
    "the half that is behind": (
        "searched",
        "between, wrong = (low + high) / 2, losses >= 0",
        "between, wrong = (low + high) / 2, losses < 0",
    ),
    "a bracket from the start": ("searched", "wrong, 0.0, length)", "wrong, 0.0, 0.0 * length)"),
    "a larger largest margin": ("searched", "MAX_RADIUS = 0.3", "MAX_RADIUS = 0.4"),
    "every example counts": ("searched", ", chosen=chosen)", ")"),
    "the last middle for the margin": ("searched", "z, chosen = at_margin(", "_, chosen = at_margin("),
    "the lower end for the margin": ("searched", "at_margin(x, ray, high,", "at_margin(x, ray, low,"),
    "right and wrong at the last middle": (
        "searched",
        "losses = example_losses(model, x, y",
        "losses = example_losses(model, z, y",
    ),
    "points outside the box": ("searched", "(x + each(distance, x) * ray).clamp(0, 1)", "x + each(distance, x) * ray"),
    "a cube for a ball": (
        "searched in l2",
        "z = l2_climb(z, x,",
        "z = torch.clamp(z, 0.1, 0.9)\n            z = l2_climb(z, x,",
    ),
    "a length in linf": ("searched in l2", "d.flatten(1).norm(dim=1)", "d.flatten(1).abs().amax(dim=1)"),
    "a climb along raw gradients": ("searched in l2", "share * own * unit_l2(g)", "share * own * g"),
    "a ball that confines nothing": (
        "searched in l2",
        "> own, own * unit_l2(d), d)",
        "> 9 * own, own * unit_l2(d), d)",
    ),
    "one length for all directions": ("searched in l2", "share = radius * u.flatten(1)[:, 0]", "share = radius"),
}
# An edit that says the same in other words: what must not be caught.
HARMLESS = {
    "other words": ("atent_linf", "weight=c / n", "weight=c * (1 / n)"),
    "nothing frozen": ("pgd_at_linf", "with weights_frozen(model):", "if True:"),
    "other names": ("composed", "candidates", "chosen"),
    "a difference the other way": ("around", "weights(model) - (moved - w)", "weights(model) + (w - moved)"),
}


def mutant_of_the_text(name, old, new):
    shipped = text(name)
    assert old in shipped, shipped
    assert old != new
    return as_module(shipped.replace(old, new), name)


@pytest.mark.parametrize("edit", TEXT)
def test_an_edited_module_is_caught(edit):
    name, old, new = TEXT[edit]
    assert not agrees(plan(name), mutant_of_the_text(name, old, new))


@pytest.mark.parametrize("edit", HARMLESS)
def test_a_module_in_other_words_passes(edit):
    name, old, new = HARMLESS[edit]
    assert agrees(plan(name), mutant_of_the_text(name, old, new))
