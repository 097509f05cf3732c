"""The least perturbation that is misclassified: DeepFool and Carlini & Wagner's l2 attack, by the package `foolbox`.

An image falls where the least perturbation found is inside ball and box. What a library returns is verified to be
misclassified and then shortened: the segment from it to the image is halved down to the decision's boundary, so that
neither DeepFool's overshoot nor the last of Adam's steps counts as length.
"""

from __future__ import annotations

import math
import shutil
from importlib.metadata import version as installed
from types import ModuleType
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from atentdsl.evaluation.ball import Ball
from atentdsl.evaluation.lent import Lent, lent
from atentdsl.runtime.errors import ExtraMissing

# After so many halvings of a segment, what is left of it is below float32's rounding.
HALVINGS = 24


@attrs.frozen(kw_only=True)
class _Minimal:
    norm: str
    radius: float

    def __attrs_post_init__(self) -> None:
        if self.norm not in self._norms():
            raise ValueError(f"{self.name}: norm {self.norm!r}: one of {', '.join(self._norms())}")
        if not 0 <= self.radius < math.inf:
            raise ValueError(f"{self.name}: radius {self.radius}: a finite number of at least 0")
        for field in attrs.fields(type(self)):
            if field.name not in ("norm", "radius"):
                values = getattr(self, field.name)
                several = values if isinstance(values, tuple) else (values,)
                if not several or not all(0 < value < math.inf for value in several):
                    raise ValueError(f"{self.name}: {field.name} {values}: finite, above 0")

    @property
    def name(self) -> str:
        """The attack's, for the report."""
        raise NotImplementedError

    def settings(self) -> dict[str, Any]:
        """Everything that its figure depends on, for the report.

        Raises:
            ExtraMissing: foolbox is not installed, or cannot be imported for want of `git`.
        """
        _foolbox()
        return {
            "library": f"foolbox {installed('foolbox')}",
            "norm": self.norm,
            "radius": self.radius,
            **self._parameters(),
            "shortened_by_halvings": HALVINGS,
        }

    def least(self, model: nn.Module, x: Tensor, y: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        """The misclassified points nearest to the images that were found, `(batch, *input)`, and their distances.

        Distances `(batch,)` are in units of inputs in [0, 1]: 0 for an image that is misclassified as it is; infinite
        where nothing was found, and there the point is the image. float32 or finer. The radius plays no part.

        Args:
            model, x, y: the network, images in [0, 1], and the labels that are to be avoided.
            seed: of a network that draws; the attack itself draws nothing.

        Raises:
            ValueError: a point has left the box.
            NotFinite: a logit is no finite number; names the image.
            ExtraMissing: foolbox is not installed, or cannot be imported for want of `git`.
        """
        foolbox = _foolbox()
        if not len(x):
            return x, x.new_zeros(0)
        with lent(model, x, seed) as net:
            subject = foolbox.PyTorchModel(net, bounds=(0, 1), device=x.device)
            box = Ball(self.norm, math.inf)
            least, lengths = net.x, torch.full((len(x),), torch.inf, device=x.device)
            for attack in self._attacks(foolbox):
                z = attack.run(subject, net.x, foolbox.Misclassification(y)).detach()
                # No number where gradients vanish or overflow: nothing was found there.
                z = torch.where(_each(z.isfinite().flatten(1).all(dim=1), z), z, net.x)
                box.require(self.name, net.x, z)
                z, found = _shortened(net, z, y)
                nearer = box.lengths(net.x, z).where(found, torch.inf)
                least = torch.where(_each(nearer < lengths, z), z, least)
                lengths = torch.minimum(nearer, lengths)
        return least.reshape(x.shape).to(torch.promote_types(x.dtype, torch.float32)), lengths

    def withstands(self, model: nn.Module, x: Tensor, y: Tensor, seed: int) -> Tensor:
        """Which images have no misclassified point found within the radius, a boolean each, `(batch,)`.

        Raises:
            As `least`.
        """
        return self.least(model, x, y, seed)[1] > self.radius

    def perturbed(self, model: nn.Module, x: Tensor, y: Tensor, seed: int) -> Tensor:
        """The attacked images, `(batch, *input)`; those that withstand are left as they are."""
        z, lengths = self.least(model, x, y, seed)
        return torch.where((lengths <= self.radius).reshape(-1, *[1] * (x.dim() - 1)), z, x.to(z.dtype))

    def _norms(self) -> tuple[str, ...]:
        raise NotImplementedError

    def _parameters(self) -> dict[str, Any]:
        raise NotImplementedError

    def _attacks(self, foolbox: ModuleType) -> tuple[Any, ...]:
        """The library's objects; the nearest of their points counts."""
        raise NotImplementedError


@attrs.frozen(kw_only=True)
class DeepFool(_Minimal):
    """Steps onto the nearest class's linearised boundary, until the class changes (Moosavi-Dezfooli et al., 2016).

    All classes are candidates. On a linear classifier the answer is exact: |margin| over the dual norm of its weights.

    Attributes:
        norm: `linf` or `l2`.
        radius: in units of inputs in [0, 1].
        steps: at most.
        overshoot: every step is this fraction longer, so that the boundary is crossed.

    Raises:
        ValueError: no such norm, or a number out of range.

    >>> DeepFool(norm="l2", radius=0.5).name
    'deepfool-l2'
    """

    steps: int = 50
    overshoot: float = 0.02

    @property
    def name(self) -> str:
        """`deepfool-` and the norm."""
        return f"deepfool-{self.norm}"

    def _norms(self) -> tuple[str, ...]:
        return ("linf", "l2")

    def _parameters(self) -> dict[str, Any]:
        return {"steps": self.steps, "overshoot": self.overshoot, "candidates": "all classes", "loss": "logits"}

    def _attacks(self, foolbox: ModuleType) -> tuple[Any, ...]:
        kind = {"linf": foolbox.attacks.LinfDeepFoolAttack, "l2": foolbox.attacks.L2DeepFoolAttack}[self.norm]
        return (kind(steps=self.steps, candidates=None, overshoot=self.overshoot, loss="logits"),)


@attrs.frozen(kw_only=True)
class CarliniWagner(_Minimal):
    """min ||z - x||^2 + c max(0, f_y(z) - max_j≠y f_j(z)) by Adam, c by binary search (Carlini & Wagner, 2017).

    z is the image of a free variable under tanh, so the box holds by itself. On a linear classifier of two classes the
    answer is exact to 1 %; of several it may settle at another class's boundary than the nearest. Adam stops early when
    the whole batch no longer gains, so an image's answer depends a little on its batch.

    Attributes:
        norm: `l2`.
        radius: in units of inputs in [0, 1].
        steps: of Adam, at most, for each c.
        learning_rates: Adam's, in units of the free variable. Each is a search of its own and the nearest point counts:
            the greater leaves black and white pixels, the smaller finds what is nearer than the greater's steps.
        constants: how many c are tried.
        initial_constant: the first c; ten times as much while nothing is found, then halves the bracket.

    Raises:
        ValueError: another norm, or a number out of range.

    >>> CarliniWagner(radius=0.5).name
    'carlini-wagner-l2'
    """

    norm: str = "l2"
    steps: int = 1000
    learning_rates: tuple[float, ...] = (0.01, 0.001)
    constants: int = 9
    initial_constant: float = 1e-3

    @property
    def name(self) -> str:
        """`carlini-wagner-l2`."""
        return f"carlini-wagner-{self.norm}"

    def _norms(self) -> tuple[str, ...]:
        return ("l2",)

    def _parameters(self) -> dict[str, Any]:
        return {
            "steps": self.steps,
            "optimizer": "adam",
            "learning_rates": list(self.learning_rates),
            "constants": self.constants,
            "initial_constant": self.initial_constant,
            "confidence": 0.0,
            "abort_early": True,
        }

    def _attacks(self, foolbox: ModuleType) -> tuple[Any, ...]:
        return tuple(
            foolbox.attacks.L2CarliniWagnerAttack(
                binary_search_steps=self.constants,
                steps=self.steps,
                stepsize=rate,
                confidence=0.0,
                initial_const=self.initial_constant,
                abort_early=True,
            )
            for rate in self.learning_rates
        )


def _shortened(net: Lent, z: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Where each segment from image to point is first known to be misclassified, and whether it is at all."""

    def wrong(at: Tensor) -> Tensor:
        with torch.no_grad():
            return net(at).argmax(dim=1) != y  # type: ignore[no-any-return]

    found = wrong(z)
    least = torch.where(_each(found, z), z, net.x)
    # Lower ends are right; an image that is wrong as it is has the answer already.
    low, high = torch.zeros(len(z), device=z.device), torch.ones(len(z), device=z.device)
    already = wrong(net.x)
    least = torch.where(_each(already, z), net.x, least)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        at = torch.lerp(net.x, z, _each(middle, z))
        falls = wrong(at) & found & ~already
        least = torch.where(_each(falls, z), at, least)
        low, high = torch.where(falls, low, middle), torch.where(falls, middle, high)
    return least, found | already


def _each(numbers: Tensor, images: Tensor) -> Tensor:
    return numbers.reshape(-1, *[1] * (images.dim() - 1))


def _foolbox() -> ModuleType:
    try:
        import foolbox
    except ModuleNotFoundError as error:
        raise ExtraMissing("foolbox", f"no module {error.name}", "pip install 'atentdsl[foolbox]'") from error
    except ImportError as error:
        if shutil.which("git"):
            raise
        raise ExtraMissing("foolbox", "its import asks for the program `git`", "install git") from error
    return foolbox
