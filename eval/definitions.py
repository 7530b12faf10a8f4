"""What each protocol measures, and by which definition: the choice, with a sentence for the reader.

The formulas are in ``inpaint.metrics`` (textbook) and ``inpaint.published_metrics`` (published scripts), the
networks in ``eval.networks``, the measures of sets in ``eval.distribution``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from eval.results import Column
from inpaint import metrics, published_metrics
from inpaint.errors import InpaintError

PairFormula = Callable[[Tensor, Tensor, Tensor], Tensor]
"""``(composite, target, mask)`` to ``(B,)``."""


@dataclass(frozen=True)
class Definition:
    """One measure of a protocol: its column, how it is defined there, and what computes it.

    Attributes:
        column: of the table.
        how: a sentence for the reader.
        formula: for a measure of pixels.
        network: key in ``eval.weights.NETWORKS``, for a measure of published features.
    """

    column: Column
    how: str
    formula: PairFormula | None = None
    network: str | None = None


def _of_pair(formula: Callable[[Tensor, Tensor], Tensor]) -> PairFormula:
    return lambda composite, target, mask: formula(composite, target)


_PSNR = Definition(
    Column("psnr", "PSNR", 3, True),
    "PSNR: 10 log10(1 / MSE) in dB over all pixels and channels of a picture, then the mean over pictures.",
    _of_pair(metrics.psnr_db),
)
_HOLE_PSNR = Definition(
    Column("hole_psnr", "hole PSNR", 3, True),
    "Hole PSNR: the same over the pixels of the hole only.",
    metrics.hole_psnr_db,
)
_SSIM = Definition(
    Column("ssim", "SSIM", 4, True),
    "SSIM: Wang et al. 2004, Gaussian window of 11 x 11, sigma 1.5, where it fits, per RGB channel, range 1.",
    _of_pair(metrics.ssim),
)
_L1 = Definition(
    Column("l1", "L1", 4, False),
    "L1: mean absolute difference over all pixels and channels, pictures in [0, 1].",
    _of_pair(metrics.l1),
)
_HOLE_L1 = Definition(
    Column("hole_l1", "hole L1", 4, False), "Hole L1: the same over the hole only.", metrics.hole_l1
)
_MAE_FAR_PSNR = replace(
    _PSNR,
    how="PSNR: 1 - 10 log10(MSE + 1e-7) as in MAE-FAR's script, 1 dB above the textbook and at most 71.",
    formula=_of_pair(published_metrics.mae_far_psnr_db),
)
_MAE_FAR_SSIM = replace(
    _SSIM,
    how="SSIM: as in MAE-FAR's script, grey with red and blue exchanged, uniform window of 7 x 7, sample "
    "covariance, data range 2: about 0.05 above the textbook.",
    formula=_of_pair(published_metrics.mae_far_ssim),
)
_LAMA_SSIM = replace(
    _SSIM,
    how="SSIM: as in LaMa's evaluation, Gaussian window of 11 x 11 with sigma 1.5 on every pixel, zeros "
    "around the picture, per RGB channel, range 1.",
    formula=_of_pair(published_metrics.lama_ssim),
)
_LPIPS_ALEX = Definition(
    Column("lpips_alex", "LPIPS Alex", 4, False),
    "LPIPS Alex: version 0.1, AlexNet, pictures in [-1, 1].",
    network="lpips-alex",
)
_LPIPS_VGG = Definition(
    Column("lpips_vgg", "LPIPS VGG", 4, False),
    "LPIPS VGG: version 0.1, VGG-16, pictures in [-1, 1].",
    network="lpips-vgg",
)
_FID = Definition(
    Column("fid", "FID", 3, False, of_set=True),
    "FID: Frechet distance of Inception features of all composites to those of all originals, weights and "
    "resizing of pytorch-fid. It falls as N grows: compare at equal N only. Its interval is a bootstrap of "
    "the linearised distance; it tells what N other pictures would change, not what more would.",
    network="inception-fid",
)
_MAE_FAR_FID = replace(
    _FID,
    how="FID: as in MAE-FAR's script, Inception weights of torchvision, pictures resized in 8 bits and "
    "scaled to about -0.2 to 0.5 instead of -1 to 1: compare with that script's numbers at equal N only. Its "
    "interval is a bootstrap of the linearised distance.",
    network="inception-torchvision",
)
_P_IDS = Definition(
    Column("p_ids", "P-IDS", 4, True, of_set=True),
    "P-IDS: share of pictures whose composite a linear support vector machine on FID's features takes for "
    "more real than its own original; 0.5 at best, without meaning below several thousand pictures.",
    network="inception-fid",
)
_U_IDS = Definition(
    Column("u_ids", "U-IDS", 4, True, of_set=True),
    "U-IDS: share of composites and originals which that machine takes for the other kind; 0.5 at best.",
    network="inception-fid",
)
_SQD = Definition(Column("sqd", "sqd", 4, False), "sqd: distance of SqueezeNet 1.1 features; not LPIPS.")
_FMD = Definition(
    Column("fmd", "fmd", 1, False, of_set=True),
    "fmd: Frechet distance of MobileNetV2 features of all composites to those of all originals; not FID.",
)

EXTRAS = (_SQD, _FMD)
"""Columns that every protocol gains when their networks are at hand."""

PROTOCOLS: Mapping[str, tuple[Definition, ...]] = {
    "standard": (
        _PSNR,
        _SSIM,
        _L1,
        _HOLE_PSNR,
        _HOLE_L1,
        _LPIPS_ALEX,
        _LPIPS_VGG,
        _FID,
        _P_IDS,
        _U_IDS,
    ),
    "mae-far": (_MAE_FAR_PSNR, _MAE_FAR_SSIM, _L1, _LPIPS_ALEX, _MAE_FAR_FID),
    "lama": (_LAMA_SSIM, _LPIPS_VGG, _FID),
    "validation": (_PSNR, _HOLE_PSNR, _SSIM),
}


def definitions_of(protocol: str) -> tuple[Definition, ...]:
    """The measures of a protocol, in the order of its table.

    Raises:
        InpaintError: no such protocol.
    """
    try:
        return PROTOCOLS[protocol]
    except KeyError:
        raise InpaintError(f"got protocol {protocol!r}; expected {', '.join(PROTOCOLS)}") from None
