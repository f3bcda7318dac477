"""Service Quotas: SageMaker's quotas of instances, as the settings have them.

https://docs.aws.amazon.com/servicequotas/2019-06-24/apireference/API_ListServiceQuotas.html
"""

from __future__ import annotations

import zlib
from typing import Any

from localaws.protocol import TO_MOTO, Call, operation, page, present
from localaws.sagemaker.resources import ENDPOINT_CONFIG, Resource, Resources
from localaws.settings import Settings

_USES = {
    "training job": "sagemaker_training_instances",
    "endpoint": "sagemaker_endpoint_instances",
}
_TYPES = {"ml.m5.large", "ml.m5.xlarge"}  # besides those of the endpoint configurations


class ServiceQuotas:
    """Lists the quotas of SageMaker that are set; the rest is moto's.

    Args:
        resources: SageMaker's.
        settings: What the quotas are.
    """

    def __init__(self, resources: Resources, settings: Settings) -> None:
        self._resources = resources
        self._settings = settings

    @operation
    def list_service_quotas(self, call: Call) -> object:
        call.validate()
        if call.params["ServiceCode"] != "sagemaker":
            return TO_MOTO
        configs = self._resources.all(call.region, ENDPOINT_CONFIG, Resource)
        types = {one.request["ProductionVariants"][0].get("InstanceType") for one in configs}
        quotas = [
            _quota(call, f"{kind} for {use} usage", limit)
            for use, setting in _USES.items()
            if (limit := getattr(self._settings, setting))
            for kind in sorted(_TYPES | types - {None})
        ]
        items, token = page(quotas, call)
        return present(Quotas=items, NextToken=token)


def _quota(call: Call, name: str, limit: float) -> dict[str, Any]:
    code = f"L-{zlib.crc32(name.encode()):08X}"
    return {
        "ServiceCode": "sagemaker",
        "ServiceName": "Amazon SageMaker",
        "QuotaArn": call.arn(f"sagemaker/{code}"),
        "QuotaCode": code,
        "QuotaName": name,
        "Value": limit,
        "Adjustable": True,
    }
