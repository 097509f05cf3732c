"""One thing that is wrong."""

from __future__ import annotations

import attrs

__all__ = ["Finding"]


@attrs.frozen
class Finding:
    """What is wrong, and how to mend it.

    `about` is what it concerns: `torch`, `torchvision`, `device`, `threads`, `limits`, `data` or `out`.

    >>> Finding("out", "runs is no folder", "name another by --out").about
    'out'
    """

    about: str
    wrong: str
    mend: str
