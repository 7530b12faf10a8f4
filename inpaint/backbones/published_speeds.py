"""Images a second as others have published them, a table for each protocol: their order is what we check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class SpeedTable:
    """One published measurement of inference at 224 x 224 pixels.

    Attributes:
        source: where it is printed.
        hardware: on what, and how.
        speeds: images a second by network name.
    """

    source: str
    hardware: str
    speeds: Mapping[str, float]


CONVNEXT = SpeedTable(
    "Liu et al. 2022, ConvNeXt, tables 1 and 2",
    "one V100",
    {
        "convnext_tiny": 774.7,
        "convnext_small": 447.1,
        "convnext_base": 292.1,
        "convnext_large": 146.8,
        "convnext_xlarge": 89.3,
        "convnext_isotropic_small": 1038.7,
        "convnext_isotropic_base": 320.1,
        "convnext_isotropic_large": 94.4,
        "deit_small_patch16_224": 978.5,
        "deit_base_patch16_224": 302.1,
        "swin_tiny_patch4_window7_224": 757.9,
        "swin_small_patch4_window7_224": 436.7,
        "swin_base_patch4_window7_224": 286.6,
    },
)
TIMM = SpeedTable(
    "timm's repository, results/benchmark-infer-amp-nchw-pt240-cu124-rtx4090.csv",
    "one RTX 4090, mixed precision, batches of 768 or 1024",
    {
        "convnext_tiny": 4796.99,
        "convnext_small": 2968.52,
        "convnext_base": 2095.37,
        "convnext_large": 1206.16,
        "convnext_xlarge": 789.11,
        "convnextv2_atto": 6572.88,
        "convnextv2_femto": 5629.97,
        "convnextv2_pico": 4303.27,
        "convnextv2_nano": 3104.37,
        "convnextv2_tiny": 1982.1,
        "convnextv2_base": 943.15,
        "convnextv2_large": 595.67,
        "convnextv2_huge": 273.48,
        "deit_small_patch16_224": 7687.89,
        "deit_base_patch16_224": 2847.84,
        "swin_tiny_patch4_window7_224": 2659.27,
        "swin_small_patch4_window7_224": 1658.9,
        "swin_base_patch4_window7_224": 1207.02,
        "poolformer_s12": 5647.45,
        "poolformer_s24": 2899.97,
        "poolformer_s36": 1948.45,
    },
)
PUBLISHED_SPEEDS = (CONVNEXT, TIMM)
