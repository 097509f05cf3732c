"""Suggestions: only accepted words, the right one where the field has another name for it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atentdsl.source import suggest
from atentdsl.source.spelling import _ALIASES

LANGEVIN = ["kind", "step_size", "noise", "drift", "covers", "momentum"]
SAMPLER = ["name", "space", "kind", "moves", "restarts", "mode", "from_epoch", "batch", "target", "start", "kernel"]
OPTIMIZER = ["kind", "epochs", "lr", "momentum", "nesterov", "weight_decay"]
BALL = ["kind", "radius", "when"]
WORDS = sorted({*_ALIASES, *(word for words in _ALIASES.values() for word in words), *LANGEVIN, *SAMPLER, *OPTIMIZER})


@pytest.mark.parametrize(
    ("word", "accepted", "expected"),
    [
        ("noize", LANGEVIN, "noise"),
        ("eps", LANGEVIN, "noise"),
        ("epsilon", BALL, "radius"),
        ("eps", ["epsilon", "radius"], "epsilon"),
        ("eps", [*SAMPLER, "steps", "radius"], "radius"),
        ("lr", LANGEVIN, "step_size"),
        ("learning_rate", OPTIMIZER, "lr"),
        ("learning-rate", LANGEVIN, "step_size"),
        ("lr_inner", LANGEVIN, "step_size"),
        ("alpha", LANGEVIN, "step_size"),
        ("alpah", ["kind", "alpha"], "alpha"),
        ("StepSize", LANGEVIN, "step_size"),
        ("step-size", LANGEVIN, "step_size"),
        ("steps", SAMPLER, "moves"),
        ("num_steps", SAMPLER, "moves"),
        ("iterations", SAMPLER, "moves"),
        ("sigma", ["kind", "sd"], "sd"),
        ("std", LANGEVIN, "noise"),
        ("wd", OPTIMIZER, "weight_decay"),
        ("batch_size", ["name", "batch"], "batch"),
        ("BatchSize", ["name", "batch"], "batch"),
        ("type", LANGEVIN, "kind"),
        ("name", LANGEVIN, "kind"),
        ("norm", LANGEVIN, "drift"),
        ("nu", LANGEVIN, "drift"),
        ("L_inf", ["raw", "sign", "l2"], "sign"),
        ("linf", ["linf_ball", "l2_ball", "box"], "linf_ball"),
        ("xent", ["cross_entropy", "margin"], "cross_entropy"),
        ("sgld", ["langevin", "gradient", "mala"], "langevin"),
        ("optimiser", ["data", "model", "optimizer"], "optimizer"),
        ("zzz", LANGEVIN, None),
        ("", LANGEVIN, None),
        ("noise", LANGEVIN, None),
        ("noise", [], None),
    ],
)
def test_suggestions(word: str, accepted: list[str], expected: str | None) -> None:
    assert suggest(word, accepted) == expected


@given(st.sampled_from(WORDS) | st.text(), st.lists(st.sampled_from(WORDS) | st.text(max_size=5)))
def test_only_what_is_accepted_is_suggested(word: str, accepted: list[str]) -> None:
    found = suggest(word, iter(accepted))
    assert found is None or (found in accepted and found != word)


@given(st.sampled_from([word for word in WORDS if "_" in word]), st.data())
def test_case_and_hyphens_do_not_count(word: str, data: st.DataObject) -> None:
    other = "".join(data.draw(st.sampled_from([c, c.upper(), "-" if c == "_" else c])) for c in word)
    if other != word:
        assert suggest(other, [*LANGEVIN, "kernel", word]) == word


@given(st.sampled_from(LANGEVIN), st.integers(0, 20), st.characters())
def test_one_wrong_character_is_understood(word: str, at: int, character: str) -> None:
    at %= len(word)
    wrong = word[:at] + character + word[at + 1 :]
    if wrong not in LANGEVIN:
        assert suggest(wrong, LANGEVIN) == word


def test_aliases_can_be_found() -> None:
    """The table is looked up in lower case with underscores, and maps no word to itself alone."""
    for word, meant in _ALIASES.items():
        assert word == word.casefold().replace("-", "_")
        assert [other for other in meant if other != word]


def test_a_word_of_a_mebibyte_is_answered() -> None:
    assert suggest("x" * (1 << 20), LANGEVIN) is None
