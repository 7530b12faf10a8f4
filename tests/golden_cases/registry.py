"""Which checker runs which case: by the official file it comes from and the inputs it has."""

from __future__ import annotations

import re

from tests.golden_cases import acr, blocks, lama, mae
from tests.golden_cases.case import Case, Checker

# The first pattern that matches the start of a case's name decides; what a case asks for is in its config.
_CHECKERS: list[tuple[str, Checker]] = [
    (r"mae_far.*_feature", mae.check_feature),
    (r"mae_far.*_image", mae.check_image),
    (r"mae_far.*_train", mae.check_mixed_training),
    (r"mae_(base|tiny)", mae.check_random_training),
    (r"acr_\d+", acr.check_network),
    (r"gcencoder", acr.check_adapter),
    (r"gca", acr.check_transfer),
    (r"mpe_masks", acr.check_hole_fields),
    (r"mpe_tables", acr.check_position_tables),
    (r"fourier_unit", blocks.check_fourier_unit),
    (r"spectral_transform", blocks.check_spectral_transform),
    (r"ffc_resblock", blocks.check_residual_block),
    (r"gateconv", blocks.check_gated_convolution),
    (r"lama_(?!disc|pad)", lama.check_generator),
]


def find_checker(case: Case) -> Checker | None:
    """The checker of a case, or None if it belongs to a part that is not built here."""
    for pattern, checker in _CHECKERS:
        if re.match(pattern, case.name):
            return checker
    return None
