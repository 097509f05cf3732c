"""AutoAttack (Croce & Hein, 2020) as its authors' code computes it, by the package `pyautoattack`.

The network is attacked in eval mode, in float32, whatever mode and number format it comes in, and nothing of it or of
the process is changed. Every perturbation is checked to be inside ball and box before it counts.
"""

from __future__ import annotations

import math
from importlib.metadata import version as installed
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from atentdsl.evaluation.ball import Ball
from atentdsl.evaluation.lent import Lent, lent

NORMS = {"linf": "Linf", "l2": "L2", "l1": "L1"}
ENSEMBLES = {
    "standard": ("apgd-ce", "apgd-t", "fab-t", "square"),
    "plus": ("apgd-ce", "apgd-dlr", "fab", "square", "apgd-t", "fab-t"),
    "rand": ("apgd-ce", "apgd-dlr"),
}
# The fewest classes for which a part is defined: a difference of logits ratio divides by the third largest logit's
# distance, its targeted form by the fourth's.
FEWEST = {"apgd-ce": 2, "apgd-dlr": 3, "apgd-t": 4, "fab": 2, "fab-t": 2, "square": 2}
TARGETS = 9


@attrs.frozen
class AutoAttack:
    """The worst of several attacks, each on what the ones before it left standing; no step size is to be chosen.

    Shapes: images `(batch, *input)` in [0, 1]; images of another number of axes than three are laid out as channels,
    height and width for the library, which changes nothing but where Square draws its squares.

    Attributes:
        norm: `linf`, `l2` or `l1`.
        radius: in units of inputs in [0, 1].
        classes: how many logits the network has. Parts of an ensemble that are not defined for so few are left out,
            which the name and the settings say; targeted parts aim at no more classes than there are.
        version: `standard`, `plus`, `rand` (for networks that draw random numbers: gradients are means of 20), or one
            part alone: `apgd-ce`, `apgd-dlr` (3 classes or more), `apgd-t` (4 or more), `fab`, `fab-t`, `square`. A
            part alone is set as in `standard`, or else as in `plus`.
        steps: of each gradient part, for each restart and target; the authors' 100 unless for a trial.
        queries: of Square; the authors' 5,000 unless for a trial.
        without: parts of an ensemble to leave out.

    Raises:
        ValueError: no such norm, version or part, a number out of range, or nothing is left to run.

    >>> AutoAttack("linf", 0.1, classes=10).name, AutoAttack("linf", 0.1, classes=3).name
    ('autoattack', 'autoattack-without-apgd-t')
    >>> network = nn.Linear(4, 2)
    >>> _ = nn.init.eye_(network.weight), nn.init.zeros_(network.bias)
    >>> x, y = torch.tensor([[0.6, 0.5, 0.5, 0.5], [0.9, 0.5, 0.5, 0.5]]), torch.tensor([0, 0])
    >>> AutoAttack("linf", 0.1, classes=2, version="apgd-ce").withstands(network, x, y, seed=0)
    tensor([False,  True])
    """

    norm: str
    radius: float
    classes: int
    version: str = "standard"
    steps: int = 100
    queries: int = 5000
    without: tuple[str, ...] = ()

    def __attrs_post_init__(self) -> None:
        known = [*ENSEMBLES, *FEWEST]
        wrong = {
            f"norm {self.norm!r}: one of {', '.join(NORMS)}": self.norm not in NORMS,
            f"version {self.version!r}: one of {', '.join(known)}": self.version not in known,
            f"radius {self.radius}: a finite number of at least 0": not 0 <= self.radius < math.inf,
            f"classes {self.classes}: of a single class nothing can be misclassified": self.classes < 2,
            f"steps {self.steps}: at least 2": self.steps < 2,
            f"queries {self.queries}: at least 1": self.queries < 1,
        }
        for said, holds in wrong.items():
            if holds:
                raise ValueError(f"AutoAttack: {said}")
        if not set(self.without) <= set(self._listed):
            raise ValueError(f"AutoAttack: version {self.version} has the parts {', '.join(self._listed)}")
        if not self.parts:
            why = "; ".join(f"{part}: {reason}" for part, reason in self.left_out.items())
            raise ValueError(
                f"AutoAttack: nothing is left to run ({why}); apgd-ce, fab, fab-t, square work for 2 classes"
            )

    @property
    def name(self) -> str:
        """`autoattack`, with its version and what an ensemble had to leave out; or the one part's name."""
        if self.version in FEWEST:
            return self.version
        ensemble = "autoattack" if self.version == "standard" else f"autoattack-{self.version}"
        return "-without-".join([ensemble, *self.left_out])

    @property
    def parts(self) -> tuple[str, ...]:
        """What is run, in this order."""
        return tuple(part for part in self._listed if part not in self.left_out)

    @property
    def left_out(self) -> dict[str, str]:
        """What the version lists and is not run, with the reason."""
        few = {p: f"needs {FEWEST[p]} classes" for p in self._listed if self.classes < FEWEST[p]}
        return {**few, **{p: "as asked" for p in self._listed if p in self.without}}

    def settings(self) -> dict[str, Any]:
        """Everything that its figure depends on, for the report."""
        return {
            "library": f"pyautoattack {installed('pyautoattack')}",
            "version": self.version,
            "norm": self.norm,
            "radius": self.radius,
            "classes": self.classes,
            "parts": {part: self._part(part) for part in self.parts},
            "left_out": self.left_out,
        }

    def withstands(self, model: nn.Module, x: Tensor, y: Tensor, seed: int) -> Tensor:
        """Which images are classified right after every part, a boolean each, `(batch,)`.

        Raises:
            ValueError: a perturbation has left ball or box, the network has other classes, or Square cannot draw in
                images of this size.
            NotFinite: a logit is no finite number; names the image.
        """
        return self._attacked(model, x, y, seed)[1] == y

    def perturbed(self, model: nn.Module, x: Tensor, y: Tensor, seed: int) -> Tensor:
        """The attacked images, `(batch, *input)`, in float32 or finer; those that withstand are left as they are."""
        return self._attacked(model, x, y, seed)[0]

    @property
    def _listed(self) -> tuple[str, ...]:
        return ENSEMBLES.get(self.version, (self.version,))

    def _part(self, part: str) -> dict[str, Any]:
        alone_in_plus = self.version in ("plus", "apgd-dlr", "fab")
        if part == "square":
            return {"queries": self.queries, "restarts": 1, "loss": "margin", "p_init": 0.8, "rescaled": False}
        targeted = part.endswith("-t")
        if part.startswith("fab"):
            set_ = {"steps": self.steps, "restarts": 1 if targeted else 5, "alpha_max": 0.1, "eta": 1.05, "beta": 0.9}
            return {**set_, **({"targets": min(TARGETS, self.classes - 1)} if targeted else {})}
        spread = self.norm == "l1" and not alone_in_plus and self.version != "rand"
        return {
            "loss": {"apgd-ce": "ce", "apgd-dlr": "dlr", "apgd-t": "dlr-targeted"}[part],
            "steps": self.steps,
            "restarts": 5 if not targeted and (alone_in_plus or spread) else 1,
            "rho": 0.75,
            "gradients_averaged": 20 if self.version == "rand" else 1,
            "from_larger_radii": spread,
            **({"targets": min(5 if spread else TARGETS, self.classes - 1)} if targeted else {}),
        }

    def _attacked(self, model: nn.Module, x: Tensor, y: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        """The attacked images, and the labels that the network gives them."""
        if not len(x):
            return x, y
        with lent(model, x, seed) as net:
            with torch.no_grad():
                classes = net(net.x[:1]).shape[1]
            if classes != self.classes:
                raise ValueError(f"{self.name}: the network has {classes} classes, not {self.classes}")
            if "square" in self.parts and self.norm != "linf":
                self._require_tiles(net.x.shape[2:])
            z, labels = self._library(net, x.device, seed).run_standard_evaluation(net.x, y, batch_size=len(x))
        z = z.reshape(x.shape).to(torch.promote_types(x.dtype, torch.float32))
        Ball(self.norm, self.radius).require(self.name, x.to(z.dtype), z)
        return z, labels

    def _require_tiles(self, sides: torch.Size) -> None:
        """Square starts, under l2 and l1, from tiles a fifth of the height wide; in some sizes the last sticks out."""
        tile = sides[0] // 5
        first = (sides[0] - 5 * tile) // 2
        if tile == 0 or (tile > 1 and any(first + side // tile * tile > side for side in sides)):
            size = " x ".join(map(str, sides))
            raise ValueError(
                f'{self.name}: square cannot tile {size} under {self.norm}; leave it out: without=("square",)'
            )

    def _library(self, net: Lent, device: torch.device, seed: int) -> Any:
        """The library's object, set as the settings say."""
        import pyautoattack
        from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted

        norm = NORMS[self.norm]
        whole = pyautoattack.AutoAttack(
            net, attacks=list(self.parts), version="custom", norm=norm, eps=self.radius, seed=seed, device=device
        )
        for part in self.parts:
            values = self._part(part)
            if part == "square":
                _set(whole.square, n_queries=values["queries"], n_restarts=1, loss="margin", p_init=values["p_init"])
                _set(whole.square, rescale_schedule=values["rescaled"])
                whole.square.margin_and_loss = _ties_are_below(whole.square.margin_and_loss)
            elif part.startswith("fab"):
                _set(whole.fab, n_iter=values["steps"], n_restarts=values["restarts"])
                _set(whole.fab, alpha_max=values["alpha_max"], eta=values["eta"], beta=values["beta"])
                _set(whole.fab, n_target_classes=values.get("targets", TARGETS))
            else:
                general = {
                    "norm": norm,
                    "eps": self.radius,
                    "seed": seed,
                    "device": device,
                    "logger": whole.logger,
                    "n_iter": values["steps"],
                    "n_restarts": values["restarts"],
                    "rho": values["rho"],
                    "eot_iter": values["gradients_averaged"],
                    "use_largereps": values["from_larger_radii"],
                }
                if part == "apgd-t":
                    whole.apgd_targeted = APGDAttack_targeted(net, n_target_classes=values["targets"], **general)
                else:
                    whole.apgd = APGDAttack(net, **general)
        return whole


def _set(part: Any, **values: Any) -> None:
    for name, value in values.items():
        setattr(part, name, value)


def _ties_are_below(measured: Any) -> Any:
    """Square's margins, with ties counted as below zero, as its loop counts them.

    Its start counts a tie neither as standing nor as fallen, and where only ties are left it asks the network about no
    image at all. Networks of few bits or dead ones tie often.
    """

    def margin_and_loss(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        margin, loss = measured(x, y)
        return torch.where(margin == 0, -torch.finfo(margin.dtype).tiny, margin), loss

    return margin_and_loss
