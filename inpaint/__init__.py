"""Fill holes in photos with a masked-autoencoder prior and an attention-guided generator.

The names below are the whole public surface. They are looked up on first use, so that ``import inpaint``
and the command line start without loading torch.

Example:
    >>> from inpaint import InpaintPipeline, read_image, read_mask, write_image
    >>> pipeline = InpaintPipeline.from_pretrained("acr-small")  # doctest: +SKIP
    >>> result = pipeline(read_image("photo.jpg"), read_mask("mask.png"))  # doctest: +SKIP
    >>> write_image(result, "out.png")  # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inpaint.checkpoint import load_checkpoint
    from inpaint.errors import (
        CheckpointError,
        ConfigError,
        DataError,
        ImageError,
        InpaintError,
        MaskError,
        MaskWarning,
        ShapeError,
        WeightsError,
    )
    from inpaint.images import read_image, read_mask, write_image
    from inpaint.pipeline import InpaintPipeline

__version__ = "0.2.0.dev0"

__all__ = [
    "CheckpointError", "ConfigError", "DataError", "ImageError", "InpaintError", "InpaintPipeline",
    "MaskError", "MaskWarning", "ShapeError", "WeightsError", "__version__", "load_checkpoint", "read_image",
    "read_mask", "write_image",
]  # fmt: skip

_HOME = {
    "InpaintPipeline": "inpaint.pipeline",
    "load_checkpoint": "inpaint.checkpoint",
    "read_image": "inpaint.images",
    "read_mask": "inpaint.images",
    "write_image": "inpaint.images",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its module on first use (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME.get(name, "inpaint.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
