"""What a generated module is driven by; it needs nothing else of this project.

A generated module imports the network passes from here. Importing this package loads no torch: its names do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atentdsl.runtime.clipping import clip_gradient
    from atentdsl.runtime.examples import Batch, remember, remembered
    from atentdsl.runtime.network import (
        clean_logits,
        density,
        example_losses,
        gradients,
        input_gradient,
        weight_gradient,
        weights_frozen,
    )
    from atentdsl.runtime.placed import as_written, place
    from atentdsl.runtime.points import carried, where_taken, worse
    from atentdsl.runtime.smoothing import smoothing_noise
    from atentdsl.runtime.streams import Streams
    from atentdsl.runtime.weight_average import WeightAverage
    from atentdsl.runtime.weight_row import (
        displacement_gradient,
        gathered,
        put_aside,
        set_weights,
        weight_shapes,
        weights,
    )

_HOMES = {
    "clipping": ("clip_gradient",),
    "examples": ("Batch", "remember", "remembered"),
    "network": (
        "clean_logits",
        "density",
        "example_losses",
        "gradients",
        "input_gradient",
        "weight_gradient",
        "weights_frozen",
    ),
    "placed": ("as_written", "place"),
    "points": ("carried", "where_taken", "worse"),
    "smoothing": ("smoothing_noise",),
    "streams": ("Streams",),
    "weight_average": ("WeightAverage",),
    "weight_row": ("displacement_gradient", "gathered", "put_aside", "set_weights", "weight_shapes", "weights"),
}

__all__ = [
    "Batch",
    "Streams",
    "WeightAverage",
    "as_written",
    "carried",
    "clean_logits",
    "clip_gradient",
    "density",
    "displacement_gradient",
    "example_losses",
    "gathered",
    "gradients",
    "input_gradient",
    "place",
    "put_aside",
    "remember",
    "remembered",
    "set_weights",
    "smoothing_noise",
    "weight_gradient",
    "weight_shapes",
    "weights",
    "weights_frozen",
    "where_taken",
    "worse",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    home = next(home for home, names in _HOMES.items() if name in names)
    return getattr(import_module(f"atentdsl.runtime.{home}"), name)
