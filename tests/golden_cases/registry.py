"""Which checker runs which case: decided by what a case contains, never by its name."""

from __future__ import annotations

from collections.abc import Callable

from tests.golden_cases import acr, blocks, convnext, data, lama, losses, mae, masks, measures
from tests.golden_cases.case import Case, Checker


def _is_about(word: str) -> Callable[[Case], bool]:
    return lambda case: case.entry["what"].startswith(word)


_CHECKERS: list[tuple[Callable[[Case], bool], Checker]] = [
    (lambda case: {"scores", "mask_any"} <= case.outputs.keys(), mae.check_feature),
    (lambda case: "image_row_means" in case.outputs, mae.check_image),
    (lambda case: {"noise", "mask_u8"} <= case.entry["inputs"].keys(), mae.check_mixed_training),
    (lambda case: "ids_restore" in case.outputs and "latent_sub" in case.outputs, mae.check_random_training),
    (lambda case: "st.bn1_in_sub" in case.outputs, acr.check_network),
    (lambda case: "feat_size" in case.config, acr.check_adapter),
    (lambda case: "y_minus_x" in case.outputs, acr.check_transfer),
    (lambda case: "pos_size" in case.config, acr.check_hole_fields),
    (lambda case: {"ids", "direct"} <= case.entry["inputs"].keys(), acr.check_position_tables),
    (lambda case: "ngf" in case.config, lama.check_generator),
    (lambda case: "run_size_0" in case.outputs, data.check_sizes),
    (lambda case: "share_above_half" in case.outputs, masks.check_masks),
    (measures.has_pairs, measures.check_pictures),
    (lambda case: "fid" in case.outputs, measures.check_frechet),
    (lambda case: "resized_u8_sub" in case.outputs, measures.check_inception_input),
    (lambda case: "encoder_per_sample_grn" in case.outputs, convnext.check_pretraining),
    (lambda case: {"stage_strides", "num_classes"} <= case.config.keys(), convnext.check_classifier),
    (_is_about("Block(dim="), convnext.check_block),
    (_is_about("GRN on NHWC"), convnext.check_response_norm),
    (_is_about("FourierUnit"), blocks.check_fourier_unit),
    (_is_about("SpectralTransform"), blocks.check_spectral_transform),
    (_is_about("FFCResnetBlock"), blocks.check_residual_block),
    (_is_about("GateConv"), blocks.check_gated_convolution),
]


def find_checker(case: Case) -> Checker | None:
    """The checker of a case, or None if it belongs to a part that is not built here."""
    for belongs, checker in _CHECKERS:
        if belongs(case):
            return checker
    return losses.find_checker(case)
