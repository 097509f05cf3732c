"""What the table `[evaluate]` cannot say: attacks that there are not, or that nothing confines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from atentdsl.recipe.attack_names import KNOWN_NORMS, NORMS, OWN, AttackName, NotAnAttack, attack_name
from atentdsl.recipe.merging import Written
from atentdsl.recipe.tables import Evaluate
from atentdsl.recipe.threat import Threat, scheduled, threat, threat_of
from atentdsl.source import Diagnostic, Span

NORM_WORDS = {"linf": "an l-infinity ball", "l2": "an l2 ball", "l1": "an l1 ball"}


def evaluations(whole: Written, evaluate: Evaluate, samplers: Sequence[Any]) -> Iterator[Diagnostic]:
    """What is inconsistent in `[evaluate]`, and between it and the samplers.

    Args:
        whole: the recipe as written.
        evaluate, samplers: validated.
    """
    written = whole.child("evaluate") is not None

    def place(key: str) -> Span:
        return whole.walk_to(("evaluate", key)).key() if written else whole.top()

    if len(set(evaluate.attacks)) < len(evaluate.attacks):
        yield Diagnostic("inconsistent", "an attack is named twice", place("attacks"), help="name each attack once")
    if evaluate.patience is not None and evaluate.select == "last":
        message = "`patience` waits for a better score, and the last checkpoint is kept whatever its score"
        mend = 'write `select = "robust"` or `select = "clean"`, or drop `patience`'
        yield Diagnostic("inconsistent", message, place("patience"), help=mend)
    names: list[AttackName] = []
    unfit = cannot_attack(samplers)
    for i, text in enumerate(evaluate.attacks):
        try:
            name = attack_name(text)
        except NotAnAttack as error:
            at = whole.walk_to(("evaluate", "attacks", i)).at() if written else whole.top()
            yield Diagnostic("unknown-value", str(error), at, help=error.mend)
            continue
        names.append(name)
        if name.kind == OWN and unfit:
            at = whole.walk_to(("evaluate", "attacks", i)).at()
            mend = "take another attack, `pgd-20` for one; another recipe's samplers attack by `--attack`"
            yield Diagnostic("inconsistent", f"`{text}` is the recipe's own samplers, and {unfit}", at, help=mend)
    for name in (name for name in names if name.kind != OWN or not unfit):
        found = list(_confined(whole, name, evaluate, samplers, lambda: place("attacks")))
        yield from found
        if found and threat(evaluate, samplers) is None:
            break  # what the others lack is the same
    if evaluate.select == "robust" and not any(name.watches for name in names) and len(names) == len(evaluate.attacks):
        message = "robust accuracy cannot select a checkpoint without an attack that training can be watched by"
        mend = 'name a `pgd-N` or `fgsm` among the attacks, or set `select = "clean"`'
        yield Diagnostic("inconsistent", message, place("select"), help=mend)


def cannot_attack(samplers: Sequence[Any]) -> str:
    """Why samplers are no attack, in words; empty where they are one: they perturb images, and stay near them."""
    if not samplers:
        return "there is none"
    if any(sampler.space != "data" for sampler in samplers):
        return "one is of weights, where an attack perturbs images alone"
    if any(sampler.kind == "margin_search" for sampler in samplers):
        return "a margin search ends where each image's class ends, however far, and not in a ball"
    return ""


def _confined(
    whole: Written, name: AttackName, evaluate: Evaluate, samplers: Sequence[Any], place: Callable[[], Span]
) -> Iterator[Diagnostic]:
    """An attack has a ball, within the inputs' range. The place is looked up where something is wrong alone."""
    ball = threat_of(name, evaluate, samplers)
    shared = threat(evaluate, samplers)
    known = KNOWN_NORMS.get(name.kind, NORMS)
    if ball is None:
        yield _without_radius(whole, name, evaluate, samplers, shared, place())
    elif ball.norm not in known:
        message = f"`{name.text}` knows no perturbations in {ball.norm}"
        mend = f"write `{name.text},norm={known[0]},radius=…`, or take another attack"
        yield Diagnostic("inconsistent", message, place(), help=mend)
    elif ball.norm == "linf" and ball.radius > 1 and ball.path[0] == "sampler":
        message = f"the attacks take their radius from this ball, and {ball.radius:g} is larger than the inputs' range"
        mend = "inputs are in [0, 1]: for 8/255 write 0.031372549, or set `radius` in `[evaluate]`"
        yield Diagnostic("inconsistent", message, whole.walk_to(ball.path).at(), help=mend)
    elif ball.norm == "linf" and ball.radius > 1 and name.radius is not None:
        message = f"the radius of `{name.text}` is larger than the inputs' range"
        yield Diagnostic("inconsistent", message, place(), help="inputs are in [0, 1]: for 8/255 write 0.031372549")


def _without_radius(
    whole: Written, name: AttackName, evaluate: Evaluate, samplers: Sequence[Any], shared: Threat | None, place: Span
) -> Diagnostic:
    if shared is not None:
        message = f"`{name.text}` has no radius: `[evaluate]` has one in {shared.norm}"
        return Diagnostic("inconsistent", message, place, help=f"write `{name.text},radius=…`")
    mend = 'set `radius` in `[evaluate]`, or both `attacks = []` and `select = "clean"`'
    changing = scheduled(evaluate, samplers)
    known = NORM_WORDS.get(evaluate.norm or "", "an l-infinity, l2 or l1 ball")
    why = f"no sampler of data projects onto {known}" if changing is None else "the sampler's ball changes its own"
    context = None if changing is None else (whole.walk_to(changing).key(), "this is a schedule")
    return Diagnostic("inconsistent", f"the attacks have no radius: {why}", place, "", context, mend)
