"""What an evaluation can fail with: a network that answers with no numbers, an attack that does not suit it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "CertificationInterrupted",
    "EvaluationInterrupted",
    "ExtraMissing",
    "NotCertifiable",
    "NotComparable",
    "NotFinite",
    "SweepInterrupted",
    "UnsuitedAttack",
    "placed_among",
]

# As in `errors`: every argument goes to `Exception.__init__`, so that the errors survive pickling.


class ExtraMissing(Exception):
    """What is asked for needs a library that is not here: an optional part of this package, or what that needs itself.

    `name` is the library, also the extra's name; `reason` says why it is not here, `mend` what to do.

    >>> print(ExtraMissing("foolbox", "it is not installed", "pip install 'atentdsl[foolbox]'"))
    foolbox cannot be used: it is not installed
    pip install 'atentdsl[foolbox]'
    """

    def __init__(self, name: str, reason: str, mend: str) -> None:
        super().__init__(name, reason, mend)
        self.name = name
        self.reason = reason
        self.mend = mend

    def __str__(self) -> str:
        return f"{self.name} cannot be used: {self.reason}\n{self.mend}"


class CertificationInterrupted(KeyboardInterrupt):
    """Certification was asked to stop; the images that are done stay done. The command line ends with status 130.

    `folder` holds them, `done` is how many of `images` they are.

    >>> from pathlib import Path
    >>> print(CertificationInterrupted(Path("certification"), 12, 500))
    interrupted after 12 of 500 images, which are kept in certification; the same command again goes on from there
    """

    def __init__(self, folder: Path, done: int, images: int) -> None:
        super().__init__(folder, done, images)
        self.folder = folder
        self.done = done
        self.images = images

    def __str__(self) -> str:
        kept = f"{self.done} of {self.images} images, which are kept in {self.folder}"
        return f"interrupted after {kept}; the same command again goes on from there"


class EvaluationInterrupted(KeyboardInterrupt):
    """An evaluation was asked to stop, and what its attacks had found is kept; the command line ends with status 130.

    `batches` is how many of their batches are.

    >>> print(EvaluationInterrupted(2))
    interrupted; 2 batches of attacks are kept for a month, and the same evaluation again goes on from there
    """

    def __init__(self, batches: int) -> None:
        super().__init__(batches)
        self.batches = batches

    def __str__(self) -> str:
        kept = "1 batch of an attack is" if self.batches == 1 else f"{self.batches} batches of attacks are"
        return f"interrupted; {kept} kept for a month, and the same evaluation again goes on from there"


class NotFinite(ValueError):
    """A network answers an image with logits that are no finite numbers; accuracies of such answers mean nothing.

    Attributes:
        image: the image's place among those that `of` names, its batch as a rule.

    >>> print(NotFinite(3))
    the network's logits for image 3 of a batch are not finite
    """

    def __init__(self, image: int, of: str = "a batch") -> None:
        super().__init__(image, of)
        self.image = image
        self.of = of

    def __str__(self) -> str:
        return f"the network's logits for image {self.image} of {self.of} are not finite"


@contextmanager
def placed_among(places: Sequence[int] | Any, of: str | None = None) -> Iterator[None]:
    """Within it a part of the images is asked about: an image that is not finite is named by its place in the whole.

    Args:
        places: of each image of the part, its place in the whole.
        of: what the whole is; as it was said before where not given.

    >>> with placed_among([3, 8], "the test images"):
    ...     raise NotFinite(1)
    Traceback (most recent call last):
        ...
    atentdsl.runtime.evaluation_errors.NotFinite: the network's logits for image 8 of the test images are not finite
    """
    try:
        yield
    except NotFinite as error:
        raise NotFinite(int(places[error.image]), of or error.of) from None


class UnsuitedAttack(ValueError):
    """An attack that cannot be made on this network, or by this recipe.

    >>> print(UnsuitedAttack("pgd-20,loss=dlr", "its loss compares 3 classes, and the network has 2"))
    the attack `pgd-20,loss=dlr` cannot be made: its loss compares 3 classes, and the network has 2
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)
        self.name = name
        self.reason = reason

    def __str__(self) -> str:
        return f"the attack `{self.name}` cannot be made: {self.reason}"


class NotCertifiable(ValueError):
    """What is asked of certification cannot come of it: too few draws for a radius, or a number outside its range."""


class NotComparable(ValueError):
    """What is to be compared holds no finished run, or nothing that can stand in one table.

    >>> print(NotComparable("there is no finished run in runs/mine"))
    there is no finished run in runs/mine
    """


class SweepInterrupted(KeyboardInterrupt):
    """A sweep was asked to stop, and its runs have written checkpoints; the command line ends with status 130.

    `folder` is the sweep's, `done` how many of `wanted` runs are finished, `command` what goes on with it, None where
    it is no command.

    >>> from pathlib import Path
    >>> print(SweepInterrupted(Path("runs/sweeps/sgd"), 2, 3, "atentdsl sweep sgd --seeds 3"))
    the sweep in runs/sweeps/sgd is interrupted, 2 of 3 runs are finished; go on with `atentdsl sweep sgd --seeds 3`
    """

    def __init__(self, folder: Path, done: int, wanted: int, command: str | None) -> None:
        super().__init__(folder, done, wanted, command)
        self.folder, self.done, self.wanted, self.command = folder, done, wanted, command

    def __str__(self) -> str:
        on = "the same call" if self.command is None else f"`{self.command}`"
        said = f"the sweep in {self.folder} is interrupted, {self.done} of {self.wanted} runs are finished"
        return f"{said}; go on with {on}"
