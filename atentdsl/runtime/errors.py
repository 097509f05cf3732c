"""What a run can fail with for reasons outside the code: data, device, checkpoint, divergence."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["CheckpointBroken", "DataMissing", "DeviceUnavailable", "Diverged", "NotARunDirectory", "NotFinite"]

# Every argument goes to `Exception.__init__`, and the message is made in `__str__`: so the errors survive pickling,
# which is how they come back from a worker process.


class DataMissing(Exception):
    """A data set is not where it was looked for; the command line ends with status 3.

    `missing` says what is missing, `put` what to put where, `instead` which recipe to try in its place.

    >>> print(DataMissing("data/mnist is not there", "the four .gz files into it", "recipes/atent_linf.toml"))
    data/mnist is not there
    put the four .gz files into it
    or try recipes/atent_linf.toml instead
    """

    def __init__(self, missing: str, put: str, instead: str) -> None:
        super().__init__(missing, put, instead)
        self.missing = missing
        self.put = put
        self.instead = instead

    def __str__(self) -> str:
        return f"{self.missing}\nput {self.put}\nor try {self.instead} instead"


class Diverged(Exception):
    """The loss or the weights became infinite or not a number; the command line ends with status 4.

    `epoch` and `step` say where it was seen (the outer step counts through the whole run), `checkpoint` is the last
    good one, None where there is none yet.

    >>> print(Diverged(epoch=2, step=310, checkpoint=None))
    training diverged in epoch 2 at step 310; no checkpoint had been written yet
    """

    def __init__(self, epoch: int, step: int, checkpoint: Path | None) -> None:
        super().__init__(epoch, step, checkpoint)
        self.epoch = epoch
        self.step = step
        self.checkpoint = checkpoint

    def __str__(self) -> str:
        last = "no checkpoint had been written yet"
        if self.checkpoint is not None:
            last = f"the last good checkpoint is {self.checkpoint}"
        return f"training diverged in epoch {self.epoch} at step {self.step}; {last}"


class DeviceUnavailable(ValueError):
    """The device that was asked for is not on this machine, or no such device is known."""


class CheckpointBroken(Exception):
    """A checkpoint cannot be read, or does not fit the model; the model is left as it was.

    >>> from pathlib import Path
    >>> print(CheckpointBroken(Path("last.safetensors"), "there is no such file"))
    checkpoint last.safetensors cannot be used: there is no such file
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"checkpoint {self.path} cannot be used: {self.reason}"


class NotFinite(ValueError):
    """A network answers an image with logits that are no finite numbers; accuracies of such answers mean nothing.

    Attributes:
        image: the image's place in its batch.
    """

    def __init__(self, image: int) -> None:
        super().__init__(image)
        self.image = image

    def __str__(self) -> str:
        return f"the network's logits for image {self.image} of a batch are not finite"


class NotARunDirectory(Exception):
    """A folder that is no run directory; `missing` lists what it lacks.

    >>> from pathlib import Path
    >>> print(NotARunDirectory(Path("elsewhere"), ("manifest.json", "recipe.toml")))
    elsewhere is no run directory: missing manifest.json, recipe.toml
    """

    def __init__(self, path: Path, missing: tuple[str, ...]) -> None:
        super().__init__(path, missing)
        self.path = path
        self.missing = missing

    def __str__(self) -> str:
        return f"{self.path} is no run directory: missing {', '.join(self.missing)}"
