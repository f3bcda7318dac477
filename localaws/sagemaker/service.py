"""What training and hosting have in common: resources that take time, and containers for them."""

from __future__ import annotations

from localaws.background import Background
from localaws.faults import Faults
from localaws.sagemaker.containers import Host
from localaws.sagemaker.resources import Resources
from localaws.settings import Settings


class ContainerService:
    """A part of SageMaker that runs containers.

    Args:
        resources: Keeps what there is, in all regions.
        settings: Durations.
        faults: How jobs and endpoints shall fare.
        background: Does what takes time.
        host: Runs containers.
    """

    def __init__(
        self,
        resources: Resources,
        settings: Settings,
        faults: Faults,
        background: Background,
        host: Host,
    ) -> None:
        self._resources = resources
        self._settings = settings
        self._faults = faults
        self._background = background
        self._host = host
