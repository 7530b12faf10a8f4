"""Train a masked autoencoder of transformer blocks; loop and step are those of :mod:`inpaint.train.prior`.

Source:
    He et al., *Masked Autoencoders Are Scalable Vision Learners* (CVPR 2022).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from inpaint.models.presets import build_mae
from inpaint.train.config import MaeRunConfig
from inpaint.train.distributed import Processes
from inpaint.train.monitor import Progress
from inpaint.train.prior import PriorParts, fit_prior, prior_step, start_prior

mae_step = prior_step


def fit_mae(config: MaeRunConfig, on_progress: Callable[[Progress], None] | None = None) -> Path:
    """Train, or go on training where the run's folder stands: see :func:`inpaint.train.prior.fit_prior`."""
    return fit_prior(config, start_mae, on_progress)


def start_mae(config: MaeRunConfig, processes: Processes) -> PriorParts:
    """Everything a run begins with: see :func:`inpaint.train.prior.start_prior`."""
    return start_prior(config, build_mae, processes)
