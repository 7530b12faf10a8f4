"""Train a fully convolutional masked autoencoder; loop and step are those of :mod:`inpaint.train.prior`.

Source:
    Woo et al., *ConvNeXt V2* (CVPR 2023), section 3 and appendix A.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from inpaint.models.fcmae import FullyConvolutionalAutoencoder
from inpaint.models.presets import build_fcmae
from inpaint.train.config import FcmaeRunConfig
from inpaint.train.distributed import Processes
from inpaint.train.monitor import Progress
from inpaint.train.prior import PriorParts, fit_prior, prior_step, start_prior

fcmae_step = prior_step


def fit_fcmae(config: FcmaeRunConfig, on_progress: Callable[[Progress], None] | None = None) -> Path:
    """Train, or go on training where the run's folder stands: see :func:`inpaint.train.prior.fit_prior`."""
    return fit_prior(config, start_fcmae, on_progress)


def start_fcmae(config: FcmaeRunConfig, processes: Processes) -> PriorParts:
    """Everything a run begins with: see :func:`inpaint.train.prior.start_prior`."""

    def build(preset: str) -> FullyConvolutionalAutoencoder:
        model = build_fcmae(preset)
        model.sparse = config.sparse
        return model

    return start_prior(config, build, processes)
