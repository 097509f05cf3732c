"""The page of a run: what was trained, how it went, and what it withstands, as one HTML file.

All that it says is escaped by its template, and it needs nothing from elsewhere: it may be opened wherever it lies.
The same run gives the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import attrs

from atentdsl.codegen import Compiled
from atentdsl.evaluation.examples import Answer, Examples
from atentdsl.plan import dump, units, units_as_usually_written
from atentdsl.recipe import Recipe
from atentdsl.reporting import composition, pictures
from atentdsl.reporting.charts import Chart, Series, chart
from atentdsl.reporting.phrases import coded, listed, number, percent, share
from atentdsl.version import __version__

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["GENERATOR", "Reported", "page"]

GENERATOR = "atentdsl report"
"""What the page's head names, by which it is known."""
LONGEST = 60  # lines of a plan
FOUND = ("attacked", "robust_accuracy", "robust_interval")
CURVES = (
    ("clean, validation", "clean", "validation", "clean_accuracy"),
    ("clean, training", "clean training", "training", "clean_accuracy"),
    ("under attack, validation", "robust", "validation", "robust_accuracy"),
    ("under attack, training", "robust training", "training", "robust_accuracy"),
)


@attrs.frozen
class Reported:
    """What is known of a run.

    Attributes:
        run: its name and id.
        status: as `runs.Summary` has it.
        step: outer steps made.
        recipe: what is trained.
        resolved: the text of its recipe.toml.
        compiled: the recipe's module and its plans.
        manifest: its manifest.json.
        lines: of its metrics.jsonl.
        evaluations: by the names of their files, evaluation.json first; `data` is None for the caller's own.
        certificates: summaries of certifications, by their folders.
        kept: epoch and score of the checkpoint kept; None where there is none yet.
        examples: images under the watching attack, None where there are none.
        examples_of: what they are the first of.
        no_examples: why not.
        labels: what classes are called.
        notes: what has to be said on top.
    """

    run: str
    status: str
    step: int
    recipe: Recipe
    resolved: str
    compiled: Compiled
    manifest: Mapping[str, Any]
    lines: Sequence[Mapping[str, Any]]
    evaluations: Mapping[str, Mapping[str, Any]]
    certificates: Mapping[str, Mapping[str, Any]]
    kept: tuple[int, float] | None
    examples: Examples | None
    examples_of: str
    no_examples: str
    labels: Sequence[str]
    notes: Sequence[str] = ()


def page(told: Reported) -> str:
    """The page's text.

    Raises:
        AttributeError, KeyError, TypeError, ValueError: something is not as a run writes it.
    """
    text: str = _template().render(
        generator=f"{GENERATOR}, version {__version__}",
        told=told,
        recipe=told.recipe,
        warnings=_warnings(told),
        tiles=_tiles(told),
        sentences=composition.sentences(told.recipe),
        parts=composition.parts(told.recipe),
        costs=_costs(told.compiled),
        stages=told.compiled.stages[1:],
        plan=dump(told.compiled.plan, LONGEST),
        tolerance=told.compiled.tolerance,
        charts=_charts(told),
        rows=[_row(line) for line in told.lines],
        rollbacks=max([line.get("rollbacks", 0) for line in told.lines], default=0),
        evaluations=[_evaluation(name, found) for name, found in told.evaluations.items()],
        certificates=[_certified(folder, summary) for folder, summary in told.certificates.items()],
        attack=None if told.examples is None or told.examples.attack is None else told.examples.attack,
        attack_settings=_attack_settings(told.examples),
        scale=_scale(told.examples),
        examples=_examples(told),
        provenance=_provenance(told.manifest),
        resumed=[_resumed(entry) for entry in told.manifest.get("resumed", [])],
        hashes=_hashes(told.manifest),
    )
    return text


@cache
def _template() -> Any:
    environment = _environment()
    environment.filters |= {"percent": percent, "share": share, "coded": coded, "listed": listed}
    return environment.get_template("report.html.j2")


def _environment() -> Environment:
    import jinja2

    loader = jinja2.PackageLoader("atentdsl", "reporting/templates")
    return jinja2.Environment(
        loader=loader,
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _warnings(told: Reported) -> list[str]:
    """What stands on top, in words."""
    found = list(told.notes)
    epochs, done = told.recipe.optimizer.model_dump()["epochs"], len(told.lines)
    reached = f"{number(told.step)} steps, {done} of {epochs} epochs"
    if told.status != "finished":
        how = {
            "running": f"A process is at work on it ({reached}): what follows is what there was.",
            "diverged": f"Training diverged after {reached}: a number was not finite.",
        }.get(told.status, f"It stopped after {reached}; `atentdsl run --resume` goes on with it.")
        found.insert(0, f"This run is not finished. {how}")
    for name, evaluation in told.evaluations.items():
        of = "" if name == "evaluation.json" else f"{name}: "
        found += [f"{of}{warning}" for warning in evaluation.get("warnings", [])]
        if evaluation.get("split") == "validation":
            found.append(f"{of}Measured on validation images, by which the checkpoint was chosen: not on test images.")
    if (limit := told.manifest.get("max_steps")) is not None:
        found.append(f"Training was told to stop after {number(limit)} steps.")
    return found


def _tiles(told: Reported) -> list[tuple[str, str, str]]:
    """The figures that a reader looks for first: name, figure, and what it is of."""
    found = []
    evaluation = told.evaluations.get("evaluation.json")
    if evaluation is not None:
        images = f"{number(evaluation['n'])} {evaluation['split']} images"
        found.append(("clean accuracy", percent(evaluation["clean_accuracy"]), images))
        for worst in evaluation.get("worst", [])[:2]:
            within = f"{worst['norm']}, radius {float(worst['radius']):g}"
            found.append((f"under {', '.join(worst['attacks'])}", percent(worst["robust_accuracy"]), within))
    if told.kept is not None:
        score = f"of {told.recipe.optimizer.model_dump()['epochs']}, chosen by: {told.recipe.evaluate.select}"
        found.append(("epoch kept", str(told.kept[0]), score))
    usual, made = _costs(told.compiled)[0][1], _costs(told.compiled)[-1][1]
    found.append(("cost of a step", f"{made} units", f"as usually written {usual}"))
    return found


def _costs(compiled: Compiled) -> list[tuple[str, int]]:
    literal = compiled.stages[0].plan
    return [
        ("as usually written", units_as_usually_written(literal)),
        ("literal", units(literal)),
        ("compiled", units(compiled.plan)),
    ]


def _charts(told: Reported) -> list[Chart]:
    """Accuracies, loss and learning rate over epochs."""
    kept = None if told.kept is None else told.kept[0]

    def column(*keys: str) -> list[tuple[float, float]]:
        return [(int(line["epoch"]), _at(line, keys)) for line in told.lines]

    accuracies = [
        Series(name, style, [(e, 100 * v) for e, v in column(part, what)]) for name, style, part, what in CURVES
    ]
    drawn = [
        chart("accuracy", "Accuracy, %", accuracies, kept=kept, bounds=(0, 100), unit=" %"),
        chart("loss", "Mean signal of the epoch (loss)", [Series("loss", "plain", column("loss"))], kept=kept),
        chart("rate", "Learning rate", [Series("learning rate", "plain", column("learning_rate"))], kept=kept),
    ]
    return [one for one in drawn if one is not None]


def _at(line: Mapping[str, Any], keys: Iterable[str]) -> float:
    """The number at these keys; none is no finite one."""
    found: Any = line
    for key in keys:
        found = found.get(key)
        if found is None:
            return math.nan
    return float(found)


def _row(line: Mapping[str, Any]) -> list[str]:
    accuracies = [_at(line, keys) for *_, part, what in CURVES for keys in [(part, what)]]
    shares = ["–" if math.isnan(share) else percent(share) for share in accuracies]
    rate, loss = _at(line, ["learning_rate"]), _at(line, ["loss"])
    return [str(int(line["epoch"])), number(line["step"]), f"{loss:.4g}", f"{rate:.4g}", *shares]


def _evaluation(name: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """An evaluation as its table needs it."""
    rows = [("clean", found["clean_accuracy"], found.get("clean_interval"), "", None)]
    for attack, told in found["attacks"].items():
        settings = listed({key: value for key, value in told.items() if key not in FOUND})
        rows.append((attack, told["robust_accuracy"], told.get("robust_interval"), settings, told.get("attacked")))
    for worst in found.get("worst", []):
        if len(worst["attacks"]) > 1:
            of = f"{worst['norm']} radius {float(worst['radius']):g}: withstands {', '.join(worst['attacks'])}"
            rows.append(("worst", worst["robust_accuracy"], worst.get("robust_interval"), of, None))
    return {
        "name": name,
        "of": _measured_on(found),
        "confidence": float(found.get("confidence", 0.95)),
        "rows": [
            {
                "name": row,
                "accuracy": float(share),
                "interval": None if interval is None else [float(bound) for bound in interval],
                "settings": settings,
                "attacked": attacked,
            }
            for row, share, interval, settings, attacked in rows
        ],
        "sanity": [_check(one) for one in found.get("sanity", [])],
        "curves": {key: value for key, value in found.get("curves", {}).items() if isinstance(value, dict)},
    }


def _measured_on(found: Mapping[str, Any]) -> str:
    """Which images, and how they were asked about.

    >>> found = {"split": "test", "n": 1000, "seed": 0, "batch": 512, "precision": "float32", "confidence": 0.95}
    >>> _measured_on(found | {"data": "digits", "trained": {"precision": "bfloat16"}})
    'On 1,000 test images of digits; seed 0, batch 512, precision float32; trained with precision bfloat16'
    """
    only = "the first " if "first" in found else ""
    of = "given by the caller" if found["data"] is None else f"of {found['data']}"
    images = f"On {only}{number(found['n'])} {found['split']} images {of}"
    settings = listed({key: found[key] for key in ("seed", "batch", "precision") if key in found})
    trained = f"trained with {listed(found['trained'])}" if found.get("trained") else ""
    return "; ".join(filter(None, [images, settings, trained]))


def _certified(folder: str, summary: Mapping[str, Any]) -> dict[str, Any]:
    """A certification as its table needs it."""
    images = f"{number(summary['images'])} {summary['split']} images of {summary['data']}"
    rows = [
        [f"{float(one['radius']):g}", percent(one["accuracy"]), f"{percent(one['low'])} to {percent(one['high'])}"]
        for one in summary["certified"]
    ]
    if "sigma" in summary:
        drawn = listed({key: summary[key] for key in ("sigma", "n0", "n", "alpha", "seed")})
        method, norm = "randomised smoothing", "l2"
        images += f", {number(summary['abstained'])} abstained from; {drawn}"
    else:
        method, norm = summary["method"], summary["norm"]
    return {"folder": folder, "method": method, "norm": norm, "of": images, "rows": rows}


def _check(one: Mapping[str, Any]) -> tuple[str, str, str]:
    outcome = {True: "passed", False: "failed"}.get(one["passed"], "could not be made")
    figures = {key: value for key, value in one.items() if key not in ("check", "passed")}
    return str(one["check"]), outcome, listed(figures)


def _scale(examples: Examples | None) -> float:
    """The largest change of any input in the examples."""
    if examples is None or not len(examples.labels):
        return 0.0
    return float((examples.z - examples.x).abs().max())


def _attack_settings(examples: Examples | None) -> str:
    return "" if examples is None or examples.attack is None else listed(examples.attack.settings())


def _examples(told: Reported) -> list[dict[str, Any]]:
    found = told.examples
    if found is None:
        return []
    scale, visible = _scale(found), pictures.shown(tuple(found.x.shape[1:]))
    rows = []
    for i, place in enumerate(found.places):
        x, z, label = found.x[i], found.z[i], found.labels[i]
        drawn = [pictures.picture(x), pictures.difference(x, z, scale), pictures.picture(z)] if visible else []
        rows.append(
            {
                "place": place,
                "label": _label(told.labels, label),
                "pictures": drawn[: 3 if found.attack else 1],
                "clean": _answer(told.labels, label, found.clean[i]),
                "attacked": _answer(told.labels, label, found.attacked[i]) if found.attack else None,
            }
        )
    return rows


def _label(labels: Sequence[str], number: int) -> str:
    return labels[number] if number < len(labels) else str(number)


def _answer(labels: Sequence[str], label: int, answer: Answer) -> dict[str, Any]:
    said = {"class": _label(labels, answer.predicted), "confidence": percent(answer.confidence)}
    return {**said, "right": answer.predicted == label}


def _provenance(made: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the manifest says of machine, versions and origin, a row each."""
    hardware, policy = dict(made.get("hardware", {})), made.get("policy", {})
    gpus = hardware.pop("gpus", [])
    memory = hardware.pop("memory", None)
    if memory is not None:
        hardware["memory"] = f"{int(memory) / 2**30:.1f} GiB"
    if gpus:
        hardware["GPUs"] = [gpu["name"] if isinstance(gpu, dict) else gpu for gpu in gpus]
    command = made.get("command")
    rows = [
        ("begun", made.get("started")),
        ("command", "`train` in Python" if command is None else f"`{' '.join(map(str, command))}`"),
        ("seed", made.get("seed")),
        ("network", made.get("model")),
        ("data", made.get("data")),
        ("initial weights", listed(made["init"]) if "init" in made else None),
        ("device", made.get("device")),
        ("how steps run", listed(policy)),
        ("hardware", listed(hardware)),
        ("versions", listed(made.get("versions", {}))),
    ]
    return [(name, str(value)) for name, value in rows if value not in (None, "")]


def _hashes(made: Mapping[str, Any]) -> list[tuple[str, str]]:
    data = [(f"{part} images", digest) for part, digest in made.get("data_sha256", {}).items()]
    code = [("recipe.toml", made.get("recipe_sha256")), ("module.py", made.get("module_sha256"))]
    return [(name, str(digest)) for name, digest in [*code, *data] if digest]


def _resumed(entry: Mapping[str, Any]) -> list[str]:
    command = entry.get("command")
    return [
        str(entry.get("at")),
        number(entry["step"]),
        "in Python" if command is None else " ".join(map(str, command)),
        f"{entry.get('device')}; {listed(entry.get('versions', {}))}",
    ]
