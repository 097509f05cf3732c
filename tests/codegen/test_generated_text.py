"""The generated text: what it may import, that it is nobody's code but ours, clean, and the same everywhere."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import atentdsl
from atentdsl.codegen import as_module, generate, sync
from atentdsl.plan import lower
from atentdsl.recipe import shipped
from atentdsl.testing import recipes, sample

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
GOALS = ["train", "draw"]
ALL = [atentdsl.load(name) for name in shipped.names()]
EVIL = [
    'x"""\nimport os #.toml',
    'x""";import os;"""y.toml',
    'ends in """.toml',
    'ends in quote".toml',
    "it's '''.toml",
    "back\\slash\\.toml",
    "a\\ n.toml",  # once it made a module count its batch
    "new\nline.toml",
    "return\r.toml",
    "separator\u2028\u2029\x85\x0c\x0b.toml",
    "turned \u202e round.toml",
    "{{ 7 * 7 }} {% raw %}.toml",
    "{0} %s $x.toml",
    "# noqa.toml",
    "noqa: F401.toml",
    "fmt: off.toml",
    "type: ignore.toml",
    "# -*- coding: latin-1 -*-.toml",
    "--set evil.toml",
    "ünïcödé 漢字 🦊.toml",
    "trailing space .toml",
    "\udcff\udc80.toml",
    "\x1b[31mred\x07.toml",
    "l" * 240 + ".toml",
    "'''\"\"\"" * 20 + ".toml",
]


def run(*command, cwd, **named):
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False, **named)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            yield node.module


@given(recipes(), st.sampled_from(GOALS))
@settings(max_examples=40)
def test_a_module_imports_torch_and_the_runtime_and_importing_it_runs_nothing(recipe, goal):
    text = generate(atentdsl.load(recipe), goal).text
    tree = ast.parse(text)
    assert set(imported(tree)) <= {
        "__future__",
        "collections.abc",
        "functools",
        "math",
        "torch",
        "torch.optim",
        "atentdsl.runtime",
    }
    docstring, *rest = tree.body
    assert isinstance(docstring.value, ast.Constant)
    for statement in rest:
        if isinstance(statement, ast.Assign):
            ast.literal_eval(statement.value)
            assert re.fullmatch(r"[A-Z][A-Z0-9_]*", statement.targets[0].id)
        elif isinstance(statement, ast.FunctionDef):
            run_by_def = [statement.decorator_list, statement.args.defaults, statement.args.kw_defaults]
            assert not any(run_by_def)
        else:
            assert isinstance(statement, ast.Import | ast.ImportFrom)
    names = [s.targets[0].id for s in rest if isinstance(s, ast.Assign)] + [
        s.name for s in rest if isinstance(s, ast.FunctionDef)
    ]
    assert len(names) == len(set(names)), "one name, one meaning"
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    settings_ = {"NAME", "SEED", "DATA", "BATCH", "REPEAT", "AUGMENT", "VALIDATION", "MODEL", "EPOCHS"}
    settings_ |= {"ON_DIVERGENCE", "EVALUATION_BATCH"}
    if not recipe.get("compile", {}).get("place", True):
        settings_ |= {"PRECISION"}
    entry = {"SELECT", "train_step", "make_optimizer", "learning_rate", "settings", "draw", "placed"}
    entry |= {"PATIENCE", "weight_average"}
    assert set(names) - used <= settings_ | entry, "nothing stands there that nobody reads"


@given(recipes(), st.sampled_from(GOALS))
@settings(max_examples=40)
def test_every_number_is_the_recipes_own(recipe, goal):
    """Constants are read back as what the recipe says, to the last bit."""
    checked = atentdsl.load(recipe)
    module = as_module(generate(checked, goal).text, "numbers")
    if goal == "train":
        assert checked.optimizer.lr.kind != "constant" or checked.optimizer.lr.value == module.LR_VALUE
        assert (checked.header.seed, checked.data.batch) == (module.SEED, module.BATCH)
    for sampler in checked.samplers:
        for key in ("step_size", "noise"):
            value = getattr(sampler.kernel, key, 0.0) if sampler.moves else 0.0
            for name, number in said(key.upper(), value):
                assert number in [*constants(module, name), 0.0], (name, number)


def said(name, value):
    """The constants of a number that may be a schedule, and what the recipe says they are."""
    if isinstance(value, float):
        return [(name, value)]
    if value.kind == "constant":
        return [(name, value.value)]
    return [(f"{name}_{key.upper()}", number) for key, number in value if key not in {"kind", "over", "length"}]


def constants(module, name):
    """The values of the constants of this name: a second value has a number behind it."""
    values = [value for key, value in vars(module).items() if re.fullmatch(rf"{name}(_\d+)?", key)]
    return [list(value) if isinstance(value, tuple) else value for value in values]


@given(recipes(), st.sampled_from(GOALS))
@settings(max_examples=40)
def test_nothing_of_the_machine_or_the_hour_stands_in_a_module(recipe, goal):
    text = generate(atentdsl.load(recipe), goal).text
    for found in (str(ROOT), sys.prefix, str(Path.home()), os.uname().nodename):
        assert len(found) < 5 or found not in text
    assert not re.search(r"20[2-9]\d-[01]\d|\d\d:\d\d:\d\d|(^|[\s\"'(])/\w+/", text)


def test_the_same_bytes_in_another_process_with_another_hash_seed_from_another_folder(tmp_path):
    drawn = json.dumps([*sample(recipes(), 100), *({"schema": 1} | as_dict(name) for name in shipped.names())])
    outputs = []
    for seed, folder in (("1", tmp_path), ("271828", ROOT)):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        outputs.append(
            run(sys.executable, HERE / "generate_digests.py", cwd=folder, env=environment, input=drawn).split()
        )
    assert outputs[0] == outputs[1]
    assert len(outputs[0]) == 2 * (100 + len(shipped.names()))
    assert len(set(outputs[0])) > 200


def as_dict(name):
    return atentdsl.load(name).values()


def test_the_text_is_clean_and_formatted(tmp_path):
    """For both goals, and for files of any name but two kinds: ruff takes `noqa` at a comment's beginning for an order
    to itself, and counts East Asian characters twice in a line's length. Neither is code.
    """
    names = [name for name in EVIL if "noqa" not in name and "漢" not in name]
    for i, recipe in enumerate(sample(recipes(), 40)):
        for goal in GOALS:
            (tmp_path / f"drawn_{i}_{goal}.py").write_text(generate(atentdsl.load(recipe), goal).text)
    for i, name in enumerate(shipped.names()):
        plain = name.replace("/", "_")
        two = [names[2 * i % len(names)], names[(2 * i + 1) % len(names)]]  # each in turn, twice and more in all
        for j, file in enumerate([f"{plain}_{'long' * 50}.toml", *two]):
            source = tmp_path / file
            source.write_text(atentdsl.load(name).resolved)
            for goal in GOALS:
                (tmp_path / f"{plain}_{j}_{goal}.py").write_text(generate(atentdsl.load(source), goal).text)
    ruff = [sys.executable, "-m", "ruff"]
    given = ["--no-cache", "--config", ROOT / "pyproject.toml"]
    # What pyproject says of `generated/`, which tmp_path is not.
    ignored = ["--extend-ignore", "D,N,TC", "--config", "lint.isort.known-first-party=['atentdsl']"]
    run(*ruff, "format", "--check", "--diff", *given, tmp_path, cwd=ROOT)
    run(*ruff, "check", *given, *ignored, tmp_path, cwd=ROOT)


def blank(text):
    """The syntax tree with every constant blanked."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant):
            node.value = ""
            node.kind = None
    return ast.dump(tree)


BASES = ["atent_linf", "atent_linf_literal", "sgd"]


def texts_of(path):
    try:
        return [generate(atentdsl.load(path), goal).text for goal in GOALS]
    except OSError as error:
        pytest.skip(f"this file system has no such name: {error}")


def write(path, text):
    try:
        path.write_text(text)
    except (OSError, ValueError) as error:
        pytest.skip(f"this file system has no such name: {error}")


@pytest.mark.parametrize("name", EVIL, ids=ascii)
def test_a_files_name_is_no_code(name, tmp_path):
    for i, base in enumerate(BASES):
        folder = tmp_path / str(i)
        folder.mkdir()
        resolved = atentdsl.load(base).resolved
        write(folder / name, resolved)
        write(folder / "plain.toml", resolved)
        for evil, plain in zip(texts_of(folder / name), texts_of(folder / "plain.toml"), strict=True):
            assert blank(evil) == blank(plain)
            assert evil.isascii() == plain.isascii() or not name.isascii()
            assert all(ch.isprintable() or ch == "\n" for ch in evil)
            assert len(evil.splitlines()) == len(plain.splitlines())
            assert max(map(len, evil.splitlines())) <= 120
            evil.encode("utf-8")


@pytest.mark.parametrize("name", ['x"""; import os #.toml', "# noqa.toml", "ünïcödé.toml"], ids=ascii)
def test_the_name_of_a_file_that_is_extended_is_no_code(name, tmp_path):
    write(tmp_path / name, atentdsl.load("atent_linf").resolved)
    (tmp_path / "over.toml").write_text(f"schema = 1\n[recipe]\nname = 'over'\nextends = '{name}'\n")
    plain = atentdsl.load("atent_linf", ["recipe.name=over"])
    for evil, goal in zip(texts_of(tmp_path / "over.toml"), GOALS, strict=True):
        assert blank(evil) == blank(generate(plain, goal).text)


@given(st.text(min_size=1, max_size=30))
@settings(max_examples=30)
def test_a_recipes_name_is_a_literal_or_refused(name):
    base = {**as_dict("sgd"), "schema": 1}
    named = {**base, "recipe": {"name": name}}
    try:
        checked = atentdsl.load(named)
    except atentdsl.RecipeError:
        return
    text = generate(checked).text
    assert name == as_module(text, "named").NAME
    assert blank(text) == blank(generate(atentdsl.load(base)).text)


@pytest.mark.parametrize("name", ['a"""b', "a'b", "a\\b", "a\nb", "a b", "a{{b}}", "", "ä", 'sgd"; import os; "'])
def test_a_recipes_name_with_anything_but_plain_characters_is_refused(name):
    with pytest.raises(atentdsl.RecipeError):
        atentdsl.load({**as_dict("sgd"), "schema": 1, "recipe": {"name": name}})


@given(recipes())
@settings(max_examples=40)
def test_recipes_of_one_shape_have_one_tree(recipe):
    """Only the constants differ where only names, numbers and the file's name do."""
    other = {**recipe, "recipe": {"name": "another", "seed": 5}, "data": {**recipe["data"], "batch": 77}}
    for goal in GOALS:
        one = generate(atentdsl.load(recipe), goal).text
        two = generate(atentdsl.load(other), goal).text
        assert one != two
        assert blank(one) == blank(two)


def test_generated_files_train_without_the_compiler(tmp_path):
    files = [tmp_path / f"{name.replace('/', '_')}.py" for name in shipped.names()]
    for name, file in zip(shipped.names(), files, strict=True):
        file.write_text(generate(atentdsl.load(name)).text)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    found = json.loads(run(sys.executable, HERE / "train_alone.py", *files, cwd=tmp_path, env=environment))
    assert found["loaded"] == []
    assert set(found["signals"]) == set(map(str, files))
    for recipe, file in zip(ALL, files, strict=True):
        signals = found["signals"][str(file)]
        displaced = any(sampler.averaging.of == "displacement" for sampler in recipe.samplers)
        assert len(set(signals)) == 3
        assert all((1e-9 if displaced else 0.1) < signal < 10 for signal in signals)


def test_the_compiler_is_out_of_reach_there(tmp_path):
    """A module that needed it would be noticed."""
    file = tmp_path / "cheat.py"
    file.write_text("from atentdsl.codegen import generate\n")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, HERE / "train_alone.py", file], env=environment, capture_output=True, text=True, check=False
    )
    assert "ImportError: atentdsl.codegen is out of reach" in done.stderr


@pytest.mark.parametrize(
    ("lr", "comment"),
    [
        ("0.25", "LR_VALUE = 0.25  # short.toml:11"),
        ("{ value = 0.25 }", "LR_VALUE = 0.25  # short.toml:11"),
        ('{ kind = "cosine", start = 0.25 }', "LR_END = 0.0  # default"),
    ],
)
def test_a_constant_says_the_line_that_it_comes_from(lr, comment, tmp_path):
    file = tmp_path / "short.toml"
    file.write_text(
        'schema = 1\n[recipe]\nname = "short"\n[data]\nname = "digits"\nbatch = 4\n[model]\nname = "mlp"\n'
        f'[optimizer]\nkind = "sgd"\nlr = {lr}\nepochs = 2\n[evaluate]\nattacks = []\nselect = "clean"\n'
    )
    assert comment in generate(atentdsl.load(file)).text.splitlines()


def test_the_interpreter_needs_neither_passes_nor_code_generation():
    probe = "import sys, atentdsl.plan.interpret; print([m for m in sys.modules if m.startswith('atentdsl.')])"
    loaded = run(sys.executable, "-c", probe, cwd=ROOT)
    assert "atentdsl.plan.interpret" in loaded
    assert "atentdsl.codegen" not in loaded
    assert "atentdsl.passes" not in loaded


# What the runtime's passes go through one by one: the network's weights, layers and buffers, a chain's points, and the
# clean inputs as often as a loss reads them.
ONE_BY_ONE = {
    "model.parameters()",
    "asking",
    "_asking(model)",
    "_parts(model, row)",
    "_parts(model, weight * away)",
    "zip(_asking(model), aside, strict=True)",
    "zip(asking, torch.split(row[0], [p.numel() for p in asking]), strict=True)",
    "model.modules()",
    "own",
    "inputs",
    "buffers.items()",
    "zip(asking, own, strict=True)",
    "first",
    "again",
    "zip(points, worst.points, strict=True)",
}


@pytest.mark.parametrize("file", ["network.py", "streams.py", "weight_row.py", "points.py"])
def test_the_runtime_has_no_loop_over_moves(file):
    """What a step does stands in its own text: the runtime goes through weights, layers and points that are there."""
    tree = ast.parse((ROOT / "atentdsl" / "runtime" / file).read_text())
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef):
            continue
        loops = [n for n in ast.walk(function) if isinstance(n, ast.For | ast.While | ast.AsyncFor | ast.comprehension)]
        called = {n.func.id for n in ast.walk(function) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
        assert function.name not in called, "no loop by recursion either"
        assert not [loop for loop in loops if isinstance(loop, ast.While)], function.name
        assert {ast.unparse(loop.iter) for loop in loops} <= ONE_BY_ONE, function.name


def test_the_committed_modules_are_in_sync():
    assert sync.differences(ROOT / "generated") == []


@pytest.mark.parametrize("goal", GOALS)
def test_no_two_shipped_recipes_are_the_same_step(goal):
    """What recipes draw that have the same samplers, or none, is the same."""
    recipes = {json.dumps(recipe.values()["sampler"] if goal == "draw" else recipe.values()): recipe for recipe in ALL}
    assert len({lower(recipe, goal) for recipe in recipes.values()}) == len(recipes) > 10
