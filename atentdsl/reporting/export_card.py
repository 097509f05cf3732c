"""What is said of an exported network: a README, and the facts in the form of RobustBench's `model_info`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from atentdsl.recipe import Recipe, threat
from atentdsl.runtime import user_code

__all__ = ["Exported", "card", "model_info"]

# What RobustBench calls the balls; of the data sets, it has those of the same names.
THREATS = {"linf": "Linf", "l2": "L2"}
BENCHMARKED = ("cifar10", "cifar100", "imagenet")


@attrs.frozen
class Exported:
    """What is known of the network.

    Attributes:
        recipe: what trained it.
        recipe_sha256: of the recipe as it was resolved.
        data: the data set's name, or what the figures have to be said to be of.
        manifest: the run's manifest.json.
        evaluation: the run's evaluation.json.
    """

    recipe: Recipe
    recipe_sha256: str
    data: str
    manifest: Mapping[str, Any]
    evaluation: Mapping[str, Any]

    @property
    def code(self) -> str | None:
        """The module of the user's own that the network comes from; None for an installed one."""
        name = self.recipe.model.name
        return name.partition(":")[0] if user_code.is_code(name) else None


def model_info(exported: Exported) -> dict[str, Any]:
    """The entry of RobustBench's `model_info`, as far as a run knows it; null is for the author to fill in.

    Accuracies are texts, in percent with two decimals, and on the test images only. `autoattack_acc` and `external`,
    an accuracy that others measured, are left out where they were not measured: RobustBench reads either as a number
    where it is there at all. What other attacks left goes into the footnote.
    """
    recipe, evaluation = exported.recipe, exported.evaluation
    ball = threat(recipe.evaluate, recipe.samplers)
    on_test = evaluation["split"] == "test"
    measured = evaluation["attacks"].get("autoattack") if on_test else None
    return {
        "link": None,
        "name": None,
        "authors": None,
        "additional_data": False if recipe.model.init == "random" else None,
        "number_forward_passes": 1 if exported.code is None else None,
        "dataset": exported.data,
        "venue": None,
        "architecture": recipe.model.name,
        "eps": None if ball is None else ball.radius,
        "clean_acc": _percent(evaluation["clean_accuracy"]) if on_test else None,
        "reported": None,
        **({} if measured is None else {"autoattack_acc": _percent(measured["robust_accuracy"])}),
        "footnote": "; ".join(_figures(evaluation)),
        "unreliable": None,
    }


def card(exported: Exported) -> str:
    """The README: what was trained, what was measured and how, how to load it, and how RobustBench takes it."""
    recipe, manifest, evaluation = exported.recipe, exported.manifest, exported.evaluation
    versions = ", ".join(f"{name} {version}" for name, version in manifest["versions"].items() if version is not None)
    trained = evaluation.get("trained") or {}
    precision = f" in {trained['precision']}" if "precision" in trained else ""
    lines = [
        f"# {recipe.name}: {recipe.model.name} on {exported.data}",
        "",
        f"Trained{precision} by the recipe `{recipe.name}` (sha256 `{exported.recipe_sha256}`) with seed "
        f"{manifest['seed']}, begun {manifest['started']}.",
        "",
        f"Made with {versions}.",
        "",
        f"On {evaluation['n']} {evaluation['split']} images, attacks drawn with seed {evaluation['seed']}:",
        "",
        *(f"- {line}" for line in _figures(evaluation)),
        "",
        "Radii and step sizes are in units of inputs in [0, 1].",
        "",
        "## Loading it",
        "",
        "```python",
        "from model import load_model",
        "",
        "model = load_model()  # in eval mode; images in [0, 1] to logits",
        "```",
        "",
        _loading(exported.code),
        "",
        "## RobustBench",
        "",
        *_benchmarking(exported),
    ]
    return "\n".join(lines) + "\n"


def _loading(code: str | None) -> str:
    if code is None:
        return (
            "`model.py` needs torch and safetensors, and nothing else. The normalisation is the network's first layer. "
            "Weights other than the exported ones are refused, by their sha256."
        )
    return (
        f"`model.py` needs torch and safetensors, and imports the module `{code}`, whose code runs then and is not "
        "part of this folder: give it along. Weights other than the exported ones are refused, by their sha256."
    )


def _benchmarking(exported: Exported) -> list[str]:
    """How RobustBench takes the network; of its data sets only where it has this one."""
    recipe = exported.recipe
    ball = threat(recipe.evaluate, recipe.samplers)
    zoo = (
        "An entry of its model zoo names a callable without arguments that gives the network, which is `load_model`, "
        "and a state dict to fill in, which is `load_model().state_dict()`. `model_info.json` holds the facts that its "
        "`model_info` asks for, as far as they are known here: null is to be filled in, and `autoattack_acc` is there "
        "only if AutoAttack was run."
    )
    if ball is None or recipe.data.name not in BENCHMARKED or exported.data != recipe.data.name:
        return [
            f"It has no leaderboard for {exported.data}; its interface takes the network all the same. {zoo}",
        ]
    return [
        "```python",
        "from robustbench import benchmark",
        "",
        f'benchmark(model, dataset="{recipe.data.name}", threat_model="{THREATS[ball.norm]}", eps={ball.radius})',
        "```",
        "",
        zoo,
    ]


FOUND = ("attacked", "robust_accuracy", "robust_interval")
"""What an attack found, beside what it was."""


def _figures(evaluation: Mapping[str, Any]) -> list[str]:
    """A line for each accuracy, with the whole setting of its attack."""
    lines = [f"clean accuracy {_percent(evaluation['clean_accuracy'])} %"]
    for name, attack in evaluation["attacks"].items():
        settings = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in attack.items() if key not in FOUND)
        lines.append(f"{name}: {_percent(attack['robust_accuracy'])} % withstand it ({settings})")
    return lines


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"
