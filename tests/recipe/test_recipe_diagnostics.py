"""What is said of each mistake, and where: as a person reads it."""

from __future__ import annotations

from pathlib import Path

import pytest
from recipe.recipe_texts import TEXT

from atentdsl.primitives import registry
from atentdsl.recipe import load
from atentdsl.recipe.attack_names import names
from atentdsl.source import Diagnostic, RecipeError, Span, render


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def wrong(text: str, file: str = "mine.toml") -> RecipeError:
    Path(file).write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError) as caught:
        load(file)
    return caught.value


def edited(*pairs: tuple[str, str]) -> str:
    text = TEXT
    for before, after in pairs:
        assert text.count(before) == 1, before
        text = text.replace(before, after)
    return text


def only(error: RecipeError) -> Diagnostic:
    assert len(error.diagnostics) == 1, str(error)
    return error.diagnostics[0]


def test_the_recipe_that_is_made_wrong_is_right(here):
    Path("mine.toml").write_text(TEXT)
    assert load("mine.toml").name == "mine"


def test_a_misspelt_parameter_reads_as_the_architecture_draws_it(here):
    error = wrong(edited(("noise = 1e-3", "noize = 1e-3")))
    assert (
        render(error)
        == """\
error[unknown-key]: unknown key `noize` in kernel `langevin`
  --> mine.toml:21:1
   |
18 | [sampler.kernel]
   | ---------------- this table is a `langevin` kernel
   ...
21 | noize = 1e-3
   | ^^^^^ not a parameter of `langevin`
   |
help: did you mean `noise`?  accepted: step_size, drift, covers, momentum, noise

1 error"""
    )
    assert render(error, "concise") == (
        "mine.toml:21:1: unknown-key: unknown key `noize` in kernel `langevin` "
        "(did you mean `noise`?  accepted: step_size, drift, covers, momentum, noise)"
    )


def test_a_value_out_of_range_reads_so(here):
    assert (
        render(wrong(edited(("momentum = 0.9", "momentum = 1.0"))))
        == """\
error[out-of-range]: `momentum` must be below 1
  --> mine.toml:33:12
   |
33 | momentum = 1.0
   |            ^^^
   |
help: accepted: 0 <= momentum < 1

1 error"""
    )


def test_what_extends_makes_wrong_shows_both_files(here):
    Path("base.toml").write_text(TEXT)
    over = 'schema = 1\n[recipe]\nname = "own"\nextends = "base.toml"\n[[sampler]]\nmoves = 7\n'
    assert (
        render(wrong(over, "own.toml"))
        == """\
error[inconsistent]: a chain that moves needs a kernel
  --> own.toml:6:1
   |
 6 | moves = 7
   | ^^^^^
  --> base.toml:10:1
   |
10 | [[sampler]]
   | ----------- the one before it
   |
help: add a `[sampler.kernel]` table with a `step_size`; to change the sampler of base.toml, write `name = "attack"`

1 error"""
    )


def accepted(family: str) -> str:
    return f"accepted: {', '.join(registry.kinds(family))}"


# Each with what it makes of the recipe: code, line, column, length, message, label, help.
ONE = {
    "a table unknown": (
        [("[evaluate]", "[evaluation]")],
        ("unknown-key", 34, 1, 12, "unknown key `evaluation`", "not a table of a recipe"),
        "did you mean `evaluate`?",
    ),
    "a key of another table, at the top": (
        [("schema = 1", "schema = 1\nmoves = 3")],
        ("unknown-key", 2, 1, 5, "unknown key `moves`", "not a table of a recipe"),
        "`moves` is a key of `[[sampler]]`.",
    ),
    "a table below the wrong header": (
        [("[sampler.start]", "[model.start]")],
        ("unknown-key", 15, 1, 13, "unknown key `start` in `[model]`", "not a key of `[model]`"),
        "`start` is a key of `[[sampler]]`.",
    ),
    "a word of another library": (
        [("step_size = 0.01", "alpha = 0.01")],
        ("unknown-key", 20, 1, 5, "unknown key `alpha` in kernel `langevin`", "not a parameter of `langevin`"),
        "did you mean `step_size`?  accepted: step_size, drift, covers, momentum, noise",
    ),
    "eps of a ball": (
        [('"linf_ball"\nradius', '"linf_ball"\neps')],
        ("unknown-key", 25, 1, 3, "unknown key `eps` in projection `linf_ball`", "not a parameter of `linf_ball`"),
        "did you mean `radius`?  accepted: radius, when",
    ),
    "eps of a kernel": (
        [("noise = 1e-3", "eps = 1e-3")],
        ("unknown-key", 21, 1, 3, "unknown key `eps` in kernel `langevin`", "not a parameter of `langevin`"),
        "did you mean `noise`?",
    ),
    "a kind forgotten": (
        [('kind = "langevin"\n', "")],
        ("unknown-key", 20, 1, 5, "unknown key `noise` in kernel `gradient`", "not a parameter of `gradient`"),
        '`noise` asks for `kind = "langevin"` or `kind = "mala"`.  accepted: step_size, drift, covers, momentum',
    ),
    "a parameter of another kind": (
        [('"langevin"', '"gradient"')],
        ("unknown-key", 21, 1, 5, "unknown key `noise` in kernel `gradient`", "not a parameter of `gradient`"),
        "`noise` is a parameter of `langevin` and `mala`.  accepted: step_size, drift, covers, momentum",
    ),
    "a misspelling in braces": (
        [("gamma", "gama")],
        ("unknown-key", 14, 27, 4, "unknown key `gama` in coupling `l2`", "not a parameter of `l2`"),
        "did you mean `gamma`?  accepted: gamma",
    ),
    "a lone number's schedule without its kind": (
        [('kind = "cosine", ', "")],
        ("unknown-key", 32, 8, 5, "unknown key `start` in schedule `constant`", "not a parameter of `constant`"),
        '`start` asks for `kind = "cosine"` or `kind = "cyclic"` or `kind = "linear"` or `kind = "ramp"`.  '
        "accepted: over, value",
    ),
    "a key missing": (
        [("batch = 64\n", "")],
        ("missing-key", 5, 1, 6, "`[data]` needs `batch`", ""),
        "add `batch = …`: examples in a batch",
    ),
    "a parameter missing": (
        [("step_size = 0.01\n", "")],
        ("missing-key", 18, 1, 16, "kernel `langevin` needs `step_size`", ""),
        "add `step_size = …`: η', in units of the input where the drift is normalised",
    ),
    "a kind missing that has no default": (
        [('kind = "sgd"\n', "")],
        ("missing-key", 29, 1, 11, "`[optimizer]` needs `kind`", ""),
        f"add `kind = …`, one of: {', '.join(registry.kinds('optimizers'))}",
    ),
    "a kind unknown": (
        [('"corner"', '"cornr"')],
        ("unknown-value", 16, 8, 7, 'unknown start `kind`: `"cornr"`', ""),
        f"did you mean `corner`?  {accepted('starts')}",
    ),
    "a word unknown": (
        [('"sign"', '"l_inf"')],
        ("unknown-value", 22, 9, 7, 'unknown `drift`: `"l_inf"`', ""),
        f"did you mean `sign`?  {accepted('drifts')}",
    ),
    "a data set unknown": (
        [('"digits"', '"svhn"')],
        ("unknown-value", 6, 8, 6, 'unknown `name` in `[data]`: `"svhn"`', ""),
        "accepted: cifar10, digits, mnist",
    ),
    "a name like a path": (
        [('"mine"', '"../mine"')],
        ("unknown-value", 3, 8, 9, '`name` cannot be `"../mine"`', ""),
        "begin with a letter or digit; go on with letters, digits, `.`, `_` and `-`",
    ),
    "a sampler's name": (
        [('"attack"', '"Attack 1"')],
        ("unknown-value", 11, 8, 10, '`name` cannot be `"Attack 1"`', ""),
        "begin with a small letter; go on with small letters, digits and `_`",
    ),
    "an attack unknown": (
        [('"pgd-20"', '"pgd-0"')],
        ("unknown-value", 35, 12, 7, "there is no attack `pgd-0`", ""),
        f"did you mean `pgd-20`? there are: {', '.join(names())}",
    ),
    "a number in quotes": (
        [("noise = 1e-3", 'noise = "1e-3"')],
        ("wrong-type", 21, 9, 6, "`noise` must be a number", "this is a string"),
        "write 1e-3 without quotes",
    ),
    "a quotient in quotes": (
        [('"linf_ball"\nradius = 0.1', '"linf_ball"\nradius = "8/255"')],
        ("wrong-type", 25, 10, 7, "`radius` must be a number", "this is a string"),
        "TOML does not compute: write 0.03137254901960784",
    ),
    "a number with a point": (
        [("moves = 5", "moves = 5.0")],
        ("wrong-type", 12, 9, 3, "`moves` must be a whole number", "this is a number"),
        "write 5",
    ),
    "a truth value as a number": (
        [("seed = 1", "seed = true")],
        ("wrong-type", 4, 8, 4, "`seed` must be a whole number", "this is a truth value"),
        "write a whole number",
    ),
    "a truth value in quotes": (
        [("momentum = 0.9", 'momentum = 0.9\nnesterov = "yes"')],
        ("wrong-type", 34, 12, 5, "`nesterov` must be true or false", "this is a string"),
        "write true",
    ),
    "one attack without brackets": (
        [('["pgd-20"]', '"pgd-20"')],
        ("wrong-type", 35, 11, 8, "`attacks` must be an array", "this is a string"),
        'write ["pgd-20"]',
    ),
    "a date": (
        [("seed = 1", "seed = 2020-01-01")],
        ("wrong-type", 4, 8, 10, "`seed` must be a whole number", "this is a date or time"),
        "write a whole number",
    ),
    "a table as a word": (
        [('drift = "sign"', 'drift = { kind = "sign" }')],
        ("wrong-type", 22, 9, 17, "`drift` must be a string", "this is a table"),
        accepted("drifts"),
    ),
    "a kind that is no word": (
        [('"langevin"', '["langevin"]')],
        ("wrong-type", 19, 8, 12, "`kind` must be a string", "this is an array"),
        accepted("kernels"),
    ),
    "a part by its name alone": (
        [('{ kind = "l2", gamma = 0.5 }', '"l2"')],
        ("wrong-type", 14, 12, 4, "`coupling` must be a table", "this is a string"),
        'write { kind = "l2", … }',
    ),
    "a rate in quotes": (
        [('{ kind = "cosine", start = 0.1 }', '"0.1"')],
        ("wrong-type", 32, 6, 5, "`lr` must be a number or a table", "this is a string"),
        "write 0.1 without quotes",
    ),
    "a sampler as a table": (
        [("[[sampler]]", "[sampler]")],
        ("wrong-type", 10, 1, 9, "`sampler` must be an array of tables", "this is a table"),
        "write `[[sampler]]`, with two pairs of brackets",
    ),
    "a projection as a table": (
        [("[[sampler.projection]]", "[sampler.projection]")],
        ("wrong-type", 23, 1, 20, "`projection` must be an array of tables", "this is a table"),
        "write `[[sampler.projection]]`, with two pairs of brackets",
    ),
    "a kernel as an array": (
        [("[sampler.kernel]", "[[sampler.kernel]]")],
        ("wrong-type", 18, 1, 18, "`kernel` must be a table", "this is an array"),
        "write `[sampler.kernel]`, with one pair of brackets",
    ),
    "data as an array": (
        [("[data]", "[[data]]")],
        ("wrong-type", 5, 1, 8, "`data` must be a table", "this is an array"),
        "write `[data]`, with one pair of brackets",
    ),
    "a negative number": (
        [("moves = 5", "moves = -1")],
        ("out-of-range", 12, 9, 2, "`moves` must be at least 0", ""),
        "accepted: 0 <= moves <= 10000",
    ),
    "a number that is not one": (
        [("noise = 1e-3", "noise = nan")],
        ("out-of-range", 21, 9, 3, "`noise` must be a finite number", "this is not"),
        "accepted: noise >= 0",
    ),
    "an infinity in braces": (
        [("gamma = 0.5", "gamma = inf")],
        ("out-of-range", 14, 35, 3, "`gamma` must be a finite number", "this is not"),
        "accepted: gamma >= 0",
    ),
    "a number larger than float32 holds": (
        [("noise = 1e-3", "noise = 1e39")],
        ("out-of-range", 21, 9, 4, "`noise` is too large to compute with", ""),
        "accepted: noise <= 1e+30",
    ),
    "a lone rate below zero": (
        [('{ kind = "cosine", start = 0.1 }', "-0.1")],
        ("out-of-range", 32, 6, 4, "`lr` must be at least 0", ""),
        "accepted: lr >= 0",
    ),
    "a step size of zero": (
        [("step_size = 0.01", "step_size = 0")],
        ("out-of-range", 20, 13, 1, "`step_size` must be above 0", ""),
        "accepted: step_size > 0",
    ),
    "a name too long": (
        [('"mine"', f'"{"x" * 81}"')],
        ("out-of-range", 3, 8, 83, "`name` must have at most 80 characters", "this has 81"),
        "name: names the runs and the generated module",
    ),
    "a schedule without entries": (
        [('kind = "cosine", start = 0.1', 'kind = "piecewise", at = [], value = [0.1]')],
        ("out-of-range", 32, 33, 2, "`at` must have at least 1 entry", "this has 0"),
        "at: where each value begins to hold; begins with 1 and rises",
    ),
    "a burn-in as long as the chain": (
        [("burn_in = 2", "burn_in = 5")],
        ("inconsistent", 28, 1, 7, "a burn-in of 5 leaves none of 5 points", ""),
        "set `burn_in` below 5",
    ),
    "no ball and no radius": (
        [('[[sampler.projection]]\nkind = "linf_ball"\nradius = 0.1\n', "")],
        (
            "inconsistent",
            32,
            1,
            7,
            "the attacks have no radius: no sampler of data projects onto an l-infinity, l2 or l1 ball",
            "",
        ),
        'set `radius` in `[evaluate]`, or both `attacks = []` and `select = "clean"`',
    ),
    "no attack to select by": (
        [('attacks = ["pgd-20"]', 'select = "robust"\nattacks = []')],
        (
            "inconsistent",
            35,
            1,
            6,
            "robust accuracy cannot select a checkpoint without an attack that training can be watched by",
            "",
        ),
        'name a `pgd-N` or `fgsm` among the attacks, or set `select = "clean"`',
    ),
    "an attack twice": (
        [('["pgd-20"]', '["pgd-20", "pgd-20"]')],
        ("inconsistent", 35, 1, 7, "an attack is named twice", ""),
        "name each attack once",
    ),
    "a radius in steps of 1/255": (
        [('attacks = ["pgd-20"]', "radius = 8")],
        ("inconsistent", 35, 10, 1, "`radius` 8 is larger than the inputs' range", ""),
        'inputs are in [0, 1]: for 8/255 write 0.031372549; a radius in l2 says `norm = "l2"`',
    ),
    "a ball in steps of 1/255": (
        [('"linf_ball"\nradius = 0.1', '"linf_ball"\nradius = 8')],
        (
            "inconsistent",
            25,
            10,
            1,
            "the attacks take their radius from this ball, and 8 is larger than the inputs' range",
            "",
        ),
        "inputs are in [0, 1]: for 8/255 write 0.031372549, or set `radius` in `[evaluate]`",
    ),
    "a table missing": (
        [('[model]\nname = "mlp"\n', "")],
        ("missing-table", 1, 1, 6, "the table `[model]` is missing", ""),
        'add `[model]` with `name = "small_cnn"`',
    ),
    "no schema": (
        [("schema = 1\n", "")],
        ("missing-schema", 1, 1, 1, "the recipe does not say its schema", ""),
        "begin with `schema = 1`",
    ),
    "a schema misspelt": (
        [("schema = 1", "shcema = 1")],
        ("unknown-key", 1, 1, 6, "unknown key `shcema`", "not a table of a recipe"),
        "did you mean `schema`?",
    ),
    "a newer schema": (
        [("schema = 1", "schema = 2")],
        ("unknown-schema", 1, 10, 1, "this version reads schema 1, not `2`", ""),
        "upgrade atentdsl, or write the recipe in schema 1",
    ),
    "an older schema": (
        [("schema = 1", "schema = 0")],
        ("unknown-schema", 1, 10, 1, "this version reads schema 1, not `0`", ""),
        "write `schema = 1`",
    ),
    "a schema in quotes": (
        [("schema = 1", 'schema = "1"')],
        ("unknown-schema", 1, 10, 3, 'this version reads schema 1, not `"1"`', ""),
        "write `schema = 1`",
    ),
}


@pytest.mark.parametrize("case", ONE.values(), ids=ONE.keys())
def test_one_mistake_is_one_diagnostic_at_its_place(here, case):
    pairs, (code, line, column, length, message, label), mend = case
    mistake = only(wrong(edited(*pairs)))
    assert (mistake.code, mistake.message, mistake.label) == (code, message, label)
    assert mistake.span == Span("mine.toml", line, column, length)
    assert mistake.help is not None
    assert mistake.help.startswith(mend)


def test_every_mistake_is_said_at_once_by_position(here):
    error = wrong(
        edited(
            ("seed = 1", "seed = -1"),
            ("[data]", "[[data]]"),
            ("batch = 64", "batch = '64'"),
            ('"mlp"', '"resnet"'),
            ("[[sampler]]", "[sampler]"),
            ("gamma = 0.5", "gamma = nan"),
            ('kind = "corner"\n', ""),
            ("noise = 1e-3", "noize = 1e-3"),
            ("burn_in = 2", "burn_in = 2.5"),
            ("momentum = 0.9", "nesterov = true"),
            ("[evaluate]", "[evalute]\n[evaluate]\nradius = 2"),
        )
    )
    assert [(m.span and m.span.line, m.code) for m in error.diagnostics] == [
        (4, "out-of-range"),
        (5, "wrong-type"),
        (7, "wrong-type"),
        (9, "unknown-value"),
        (10, "wrong-type"),
        (14, "out-of-range"),
        (16, "unknown-key"),
        (20, "unknown-key"),
        (27, "wrong-type"),
        (32, "inconsistent"),
        (33, "unknown-key"),
        (35, "inconsistent"),
    ]


def test_several_tables_may_be_missing(here):
    error = wrong("schema = 1\n[evaluate]\nradius = 0.1\n")
    assert [m.message.split("`")[1] for m in error.diagnostics] == ["[recipe]", "[data]", "[model]", "[optimizer]"]


def test_a_kind_of_another_layer_is_shown_beside_the_key_it_makes_wrong(here):
    Path("mine.toml").write_text(TEXT)
    with pytest.raises(RecipeError) as caught:
        load("mine.toml", ["sampler.attack.start.kind=zero"])
    starts = registry.family("starts")
    with_radius = " and ".join(f"`{kind}`" for kind in starts if "radius" in starts[kind].parameters.model_fields)
    shown = str(caught.value)
    assert (
        shown
        == f"""\
error[unknown-key]: unknown key `radius` in start `zero`
  --> mine.toml:17:1
   |
17 | radius = 0.1
   | ^^^^^^ not a parameter of `zero`
  --> --set sampler.attack.start.kind=zero:1:27
   |
 1 | sampler.attack.start.kind="zero"
   |                           ------ this makes it a `zero` start
   |
help: `radius` is a parameter of {with_radius}.  start `zero` has no parameters

1 error"""
    )
