"""The engine that the settings name."""

from __future__ import annotations

from training.config import EngineSettings
from training.engines.base import Engine
from training.engines.plain import PlainEngine
from training.engines.zero import DeepSpeedEngine
from training.engines.zero_settings import DeepSpeedSettings
from training.learner import Learner
from training.optim import OptimSettings


def make_engine(settings: EngineSettings, learner: Learner, optim: OptimSettings, *, chunk_size: int | None) -> Engine:
    """Give the engine of a stage around a learner."""
    if isinstance(settings, DeepSpeedSettings):
        return DeepSpeedEngine(learner, optim, settings, chunk_size=chunk_size)
    return PlainEngine(learner, optim, chunk_size=chunk_size)
