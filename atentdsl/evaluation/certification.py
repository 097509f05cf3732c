"""Certification by randomised smoothing (Cohen, Rosenfeld & Kolter, ICML 2019): what votes under Gaussian noise prove.

    g(x) = argmax_c P(f(x + sigma xi) = c),   xi ~ N(0, I);   g is constant within R = sigma * Phi^-1(p) of x in l2

n0 noisy votes choose the class, n fresh ones count k votes for it, and p = Beta^-1(alpha; k, n - k + 1) is a lower
bound of the class's probability that errs with probability alpha at most. Where p <= 1/2 the certificate abstains.
Noisy inputs are not clamped. Units: radii and sigma are l2 lengths of inputs in [0, 1].
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence

import attrs
import numpy as np
from scipy import stats
from scipy.special import log_ndtr
from torch import nn

from atentdsl.evaluation.noisy_votes import Stage, votes
from atentdsl.runtime.data import Images
from atentdsl.runtime.errors import NotCertifiable

__all__ = [
    "ABSTAINED",
    "Certificate",
    "Smoothing",
    "Verdict",
    "certify",
    "largest_radius",
    "least_draws",
    "lower_bound",
    "predict",
    "prediction",
    "radius",
    "verdict",
]

ABSTAINED = -1


def lower_bound(k: int, n: int, alpha: float) -> float:
    """One-sided Clopper-Pearson bound: p = Beta^-1(alpha; k, n - k + 1), and 0 where k = 0.

    A probability that brought k of n votes is below it with probability alpha at most.

    Raises:
        NotCertifiable: not 0 <= k <= n, n < 1, or alpha outside (0, 1).

    Source: Clopper & Pearson, Biometrika 1934.

    >>> round(lower_bound(990, 1000, 0.001), 4), lower_bound(0, 1000, 0.001)
    (0.976, 0.0)
    """
    _require(n, alpha)
    if not 0 <= k <= n:
        raise NotCertifiable(f"{k} of {n} votes")
    return 0.0 if k == 0 else float(stats.beta.ppf(alpha, k, n - k + 1))


def radius(p: float, sigma: float) -> float:
    """R = sigma * Phi^-1(p), an l2 length of inputs in [0, 1]; 0 where p <= 1/2, which certifies nothing.

    Raises:
        NotCertifiable: p outside [0, 1], or sigma no positive number.

    Source: Cohen et al., Theorem 1 with p_B = 1 - p_A.

    >>> round(radius(0.9, sigma=0.25), 4), radius(0.5, sigma=0.25)
    (0.3204, 0.0)
    """
    _require_sigma(sigma)
    if not 0 <= p <= 1:
        raise NotCertifiable(f"{p} is no probability")
    return sigma * float(stats.norm.ppf(p)) if p > 0.5 else 0.0


def largest_radius(n: int, alpha: float, sigma: float) -> float:
    """sigma * Phi^-1(alpha^(1/n)): what n draws certify where all agree; 0 where even they prove no majority.

    Raises:
        NotCertifiable: n < 1, alpha outside (0, 1), or sigma no positive number.

    Source: Cohen et al., section 3.2.2.

    >>> round(largest_radius(10_000, alpha=0.001, sigma=0.12), 3)
    0.384
    """
    _require(n, alpha)
    _require_sigma(sigma)
    # 1 - alpha^(1/n), which for many draws keeps the digits that alpha^(1/n) loses
    return max(0.0, sigma * float(stats.norm.isf(-math.expm1(math.log(alpha) / n))))


def least_draws(wanted: float, alpha: float, sigma: float) -> int:
    """The least n that can certify this radius: ceil(log(alpha) / log Phi(radius / sigma)).

    Raises:
        NotCertifiable: a negative radius, one above 37 sigma, which no number of draws certifies; as `largest_radius`.

    >>> least_draws(0.435, alpha=0.001, sigma=0.12)
    47808
    """
    _require(1, alpha)
    _require_sigma(sigma)
    if not 0 <= wanted <= 37 * sigma:
        raise NotCertifiable(f"no number of draws certifies a radius of {wanted:g} at sigma {sigma:g}")
    n = max(1, math.ceil(math.log(alpha) / float(log_ndtr(wanted / sigma))))
    # A radius of 0 is certified by p > 1/2, not by 1/2 itself; elsewhere this mends a rounded quotient.
    return n if largest_radius(n, alpha, sigma) >= max(wanted, math.ulp(0.0)) else n + 1


@attrs.frozen
class Smoothing:
    """How an image is certified: noise of deviation `sigma`, `n0` draws to choose, `n` to count, error `alpha`.

    Raises:
        NotCertifiable: n0 or n below 1, alpha outside (0, 1), or sigma no positive number.

    >>> Smoothing(sigma=0.12).n
    100000
    """

    sigma: float
    n0: int = 100
    n: int = 100_000
    alpha: float = 0.001

    def __attrs_post_init__(self) -> None:
        _require_sigma(self.sigma)
        _require(self.n0, self.alpha)
        _require(self.n, self.alpha)

    def require(self, radii: Sequence[float] = ()) -> None:
        """Asks for draws enough to certify the largest of the radii, or anything where there is none.

        Raises:
            NotCertifiable: they cannot; says how many can.

        >>> Smoothing(sigma=0.12, n=50_000).require([0.435])
        """
        most, wanted = largest_radius(self.n, self.alpha, self.sigma), max(radii, default=0.0)
        least = least_draws(wanted, self.alpha, self.sigma)
        if self.n >= least:
            return
        said = f"n = {self.n:,} draws certify at most radius {most:.3f} at sigma {self.sigma:g}, alpha {self.alpha:g}"
        if most == 0:
            said = f"n = {self.n:,} draws certify nothing at alpha {self.alpha:g}, even where all agree"
        asked = f"{wanted:g} is asked for: " if radii else ""
        raise NotCertifiable(f"{said}\n{asked}take --n {least} or more")


@attrs.frozen
class Verdict:
    """What an image's votes prove.

    Attributes:
        chosen: the class that the first votes chose.
        n0_votes, n_votes: how many of the first and of the fresh votes are for it.
        lower: the lower bound of its probability.
        radius: l2, in units of inputs in [0, 1]; 0 where the certificate abstains.
    """

    chosen: int
    n0_votes: int
    n_votes: int
    lower: float
    radius: float

    @property
    def prediction(self) -> int:
        """The class, or -1 where the certificate abstains."""
        return self.chosen if self.radius > 0 else ABSTAINED


def verdict(selection: Sequence[int], estimation: Sequence[int], alpha: float, sigma: float) -> Verdict:
    """CERTIFY: the class that leads the first votes, and the radius that the fresh votes prove for it.

    The two must be apart: the votes that chose a class are likely to have favoured it.

    Args:
        selection, estimation: votes for each class, (classes,) each.
        alpha: the probability with which the radius may be too large.
        sigma: the noise's deviation, in units of inputs in [0, 1].

    Raises:
        NotCertifiable: no votes, or as for `lower_bound` and `radius`.

    Source: Cohen et al., section 3.2.2.

    >>> verdict([97, 3], [990, 10], alpha=0.001, sigma=0.25).prediction
    0
    >>> verdict([51, 49], [505, 495], alpha=0.001, sigma=0.25).prediction
    -1
    """
    chosen = int(np.argmax(selection))
    k = int(estimation[chosen])
    lower = lower_bound(k, int(sum(estimation)), alpha)
    return Verdict(chosen, int(selection[chosen]), k, lower, radius(lower, sigma))


def prediction(found: Sequence[int], alpha: float) -> int:
    """PREDICT: the class with most votes, or -1 where its lead over the second may be chance (p > alpha).

    The test is the two-sided binomial one of the first against the second class, at probability 1/2.

    Raises:
        NotCertifiable: fewer than two classes, or alpha outside (0, 1).

    Source: Cohen et al., section 3.2.1.

    >>> prediction([5, 95, 0], alpha=0.001), prediction([45, 55, 0], alpha=0.001)
    (1, -1)
    """
    _require(1, alpha)
    if len(found) < 2:
        raise NotCertifiable("votes for two classes or more are wanted")
    first, second = (int(place) for place in np.argsort(-np.asarray(found), kind="stable")[:2])
    a, b = int(found[first]), int(found[second])
    return ABSTAINED if a + b == 0 or stats.binomtest(a, a + b, 0.5).pvalue > alpha else first


@attrs.frozen
class Certificate:
    """An image's verdict.

    Attributes:
        index: the image's place among the images.
        label: its class.
        verdict: what its votes prove.
        seconds: since the image before it was done.
    """

    index: int
    label: int
    verdict: Verdict
    seconds: float

    @property
    def correct(self) -> bool:
        """Whether the prediction is the label."""
        return self.verdict.prediction == self.label


def certify(
    model: nn.Module,
    images: Images,
    smoothing: Smoothing,
    seed: int,
    batch: int = 1000,
    first: int = 0,
    between: Callable[[], None] = lambda: None,
) -> Iterator[Certificate]:
    """Certificates of the images from number `first` on, in their order, each as soon as it is there.

    They depend on the seed and the kind of device, not on the batch: see `noisy_votes.votes`.

    Args:
        model: maps `(batch, *input)`, not clamped to [0, 1], to logits `(batch, classes)`.
        images: on the network's device.
        smoothing: how they are certified.
        seed: of the noise.
        batch: noisy copies at a time.
        first: where to go on.
        between: called before each batch; may raise, to stop it there.

    Raises:
        NotFinite, MemoryExhausted: as for `votes`.

    >>> import torch
    >>> images = Images(torch.tensor([[[[1.0]]], [[[0.5]]]]), torch.tensor([1, 0]), classes=2)
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(1, 2))
    >>> _ = model[1].weight.data.copy_(torch.tensor([[-1.0], [1.0]])), model[1].bias.data.copy_(torch.tensor([0.6, 0]))
    >>> [one.verdict.prediction for one in certify(model, images, Smoothing(0.25, n=1000), seed=0)]
    [1, 1]
    """
    stages = (Stage("selection", smoothing.n0), Stage("estimation", smoothing.n))
    begin = time.perf_counter()
    for index, (selection, estimation) in votes(model, images, smoothing.sigma, stages, seed, batch, first, between):
        found = verdict(selection, estimation, smoothing.alpha, smoothing.sigma)
        seconds, begin = time.perf_counter() - begin, time.perf_counter()
        yield Certificate(index, int(images.y[index]), found, seconds)


def predict(model: nn.Module, images: Images, smoothing: Smoothing, seed: int, batch: int = 1000) -> Iterator[int]:
    """The smoothed network's class for each image by `n` draws, -1 where `prediction` abstains.

    Args:
        model, images, smoothing, seed, batch: as for `certify`; `n0` is not read.

    Raises:
        NotFinite, MemoryExhausted: as for `votes`.

    >>> import torch
    >>> images = Images(torch.full((1, 1, 1, 1), 0.5), torch.tensor([0]), classes=2)
    >>> list(predict(nn.Flatten(), Images(torch.eye(2), torch.arange(2), 2), Smoothing(0.1, n=100), seed=0))
    [0, 1]
    """
    for _, (found,) in votes(model, images, smoothing.sigma, (Stage("prediction", smoothing.n),), seed, batch):
        yield prediction(found, smoothing.alpha)


def _require(n: int, alpha: float) -> None:
    if n < 1:
        raise NotCertifiable(f"at least one draw is wanted, not {n}")
    if not 0 < alpha < 1:
        raise NotCertifiable(f"alpha must lie between 0 and 1, and is {alpha:g}")


def _require_sigma(sigma: float) -> None:
    if not 0 < sigma < math.inf:
        raise NotCertifiable(f"sigma must be a positive number, and is {sigma:g}")
