"""What each protocol measures, and by which definition: the choice, with a sentence for the reader.

The formulas are in ``inpaint.metrics`` (textbook) and ``inpaint.published_metrics`` (published scripts), the
networks in ``inpaint.features``, the measures of sets in ``eval.measures.distribution``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from eval.results import Column
from inpaint import metrics, published_metrics
from inpaint.errors import InpaintError

PairFormula = Callable[[Tensor, Tensor, Tensor], Tensor]
"""``(composite, target, mask)`` to ``(B,)``."""
FAMILIES = ("pixels", "lpips", "fid", "look-alikes")


@dataclass(frozen=True)
class Definition:
    """One measure of a protocol: its column, how it is defined there, and what computes it.

    Attributes:
        column: of the table.
        how: a sentence for the reader.
        formula: for a measure of pixels.
        networks: keys in ``eval.measures.networks.NETWORKS``, for a measure of features; the first one whose
            weights are here is used.
        family: one of ``FAMILIES``, which is the order of the columns.
        choice: within a family: network of an LPIPS (``squeeze``), features of an FID (``768``).
        dims: length of the feature vectors of a measure of sets.
    """

    column: Column
    how: str
    formula: PairFormula | None = None
    networks: tuple[str, ...] = ()
    family: str = "pixels"
    choice: str = ""
    dims: int = 0


def _of_pair(formula: Callable[[Tensor, Tensor], Tensor]) -> PairFormula:
    return lambda composite, target, mask: formula(composite, target)


_PSNR = Definition(
    Column("psnr", "PSNR", 3, True),
    "PSNR: 10 log10(1 / MSE) in dB over all pixels and channels of an image, then the mean over images.",
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
    "L1: mean absolute difference over all pixels and channels, images in [0, 1].",
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
    "around the image, per RGB channel, range 1.",
    formula=_of_pair(published_metrics.lama_ssim),
)
_LPIPS = {
    net: Definition(
        Column(f"lpips_{net}", f"LPIPS ({net})", 4, False),
        f"LPIPS ({net}): version 0.1 on {backbone}, images in [-1, 1].",
        networks=(f"lpips-{net}",),
        family="lpips",
        choice=net,
    )
    for net, backbone in {"alex": "AlexNet", "vgg": "VGG-16", "squeeze": "SqueezeNet 1.1"}.items()
}
_FID = {
    2048: Definition(
        Column("fid", "FID", 3, False, of_set=True),
        "FID: Frechet distance of Inception features of all composites to those of all originals, weights "
        "and resizing of pytorch-fid. It falls as N grows: compare at equal N only. Its interval is a "
        "bootstrap of the linearised distance; it says what N other images would change, not what more "
        "would.",
        networks=("inception-fid",),
        family="fid",
        choice="2048",
        dims=2048,
    )
}
_FID |= {
    dims: Definition(
        Column(f"fid_{dims}", f"FID-{dims}", digits, False, of_set=True),
        f"FID-{dims}: as pytorch-fid computes it with --dims {dims}, on the features of an earlier block "
        "of the same Inception; not the FID of papers, which has 2048 features.",
        networks=("inception-fid", "inception-fid-768"),
        family="fid",
        choice=str(dims),
        dims=dims,
    )
    for dims, digits in {64: 4, 192: 3, 768: 4}.items()
}
_MAE_FAR_FID = replace(
    _FID[2048],
    how="FID: as in MAE-FAR's script, Inception weights of torchvision, images resized in 8 bits and "
    "scaled to about -0.2 to 0.5 instead of -1 to 1: compare with that script's numbers at equal N only. Its "
    "interval is a bootstrap of the linearised distance.",
    networks=("inception-torchvision",),
)
_P_IDS = Definition(
    Column("p_ids", "P-IDS", 4, True, of_set=True),
    "P-IDS: share of images whose composite a linear SVM on FID's features takes for more real than its own "
    "original; 0.5 at best, without meaning below several thousand images.",
    networks=("inception-fid",),
    family="fid",
    choice="2048",
    dims=2048,
)
_U_IDS = replace(
    _P_IDS,
    column=Column("u_ids", "U-IDS", 4, True, of_set=True),
    how="U-IDS: share of composites and originals which that SVM takes for the other kind; 0.5 at best.",
)
_SQD = Definition(
    Column("sqd", "sqd", 4, False),
    "sqd: distance of SqueezeNet 1.1 features (Caffe's weights); not LPIPS.",
    networks=("squeezenet-caffe",),
    family="look-alikes",
)
_FMD = Definition(
    Column("fmd", "fmd", 1, False, of_set=True),
    "fmd: Frechet distance of MobileNetV2 features of all composites to those of all originals; not FID.",
    networks=("mobilenet-tensorflow",),
    family="look-alikes",
    dims=1280,
)

LPIPS_CHOICES = tuple(_LPIPS)
FID_CHOICES = tuple(str(dims) for dims in sorted(_FID))
EXTRAS = (_LPIPS["squeeze"], _FID[192], _FID[768], _SQD, _FMD)
"""Columns that every protocol gains when the weights of their networks are at hand."""

PROTOCOLS: Mapping[str, tuple[Definition, ...]] = {
    "standard": (
        _PSNR, _SSIM, _L1, _HOLE_PSNR, _HOLE_L1, _LPIPS["alex"], _LPIPS["vgg"], _FID[2048], _P_IDS, _U_IDS,
    ),
    "mae-far": (_MAE_FAR_PSNR, _MAE_FAR_SSIM, _L1, _LPIPS["alex"], _MAE_FAR_FID),
    "lama": (_LAMA_SSIM, _LPIPS["vgg"], _FID[2048]),
    "validation": (_PSNR, _HOLE_PSNR, _SSIM, *EXTRAS),
}  # fmt: skip


def definitions_of(
    protocol: str, lpips: Sequence[str] = (), fid: Sequence[str] = ()
) -> tuple[Definition, ...]:
    """The measures of a protocol, in the order of its table.

    Args:
        protocol: its name.
        lpips: networks of the LPIPS columns, in place of the protocol's own.
        fid: features of the FID columns, in place of the protocol's own; P-IDS and U-IDS go with 2048.

    Raises:
        InpaintError: no such protocol.
    """
    if protocol not in PROTOCOLS:
        raise InpaintError(f"got protocol {protocol!r}; expected {', '.join(PROTOCOLS)}")
    choices = {"lpips": lpips, "fid": fid}
    found = [
        each
        for each in PROTOCOLS[protocol]
        if not choices.get(each.family) or each.choice in choices[each.family]
    ]
    keys = {each.column.key for each in found}
    asked = [*(_LPIPS[net] for net in lpips), *(_FID[int(dims)] for dims in fid)]
    found += [each for each in asked if each.column.key not in keys]
    return tuple(sorted(found, key=lambda each: FAMILIES.index(each.family)))


def extras_of(protocol: str, lpips: Sequence[str] = (), fid: Sequence[str] = ()) -> tuple[Definition, ...]:
    """Columns beyond the protocol's that are measured where their weights are; a choice leaves out others."""
    keys = {each.column.key for each in definitions_of(protocol, lpips, fid)}
    chosen = {family for family, choice in (("lpips", lpips), ("fid", fid)) if choice}
    return tuple(each for each in EXTRAS if each.column.key not in keys and each.family not in chosen)


def columns_of(network: str) -> list[str]:
    """Titles of the columns that a network is for."""
    known = (*_LPIPS.values(), *_FID.values(), _P_IDS, _U_IDS, _SQD, _FMD)
    titles = [each.column.title for each in known if network in each.networks]
    return titles + (["FID (protocol mae-far)"] if network in _MAE_FAR_FID.networks else [])
