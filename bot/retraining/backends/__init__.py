"""Where models are trained and served: one interface, three back ends."""

from __future__ import annotations

from bot.retraining.backends.base import Backend, Progress, State
from bot.retraining.registry import Registry
from bot.retraining.settings import Settings

__all__ = ["Backend", "Progress", "State", "create"]


def create(settings: Settings, registry: Registry) -> Backend:
    """Return the back end that the settings name.

    Raises:
        UserError: It is not offered in the region, or no region is set.
    """
    if settings.backend == "sagemaker":
        from bot.retraining.backends.sagemaker import SageMakerBackend

        return SageMakerBackend(settings, registry)
    if settings.backend == "local":
        from bot.retraining.backends.local import LocalBackend

        return LocalBackend(settings, registry)
    from bot.retraining.backends.comprehend import ComprehendBackend

    return ComprehendBackend(settings, registry)
