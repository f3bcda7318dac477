"""What SageMaker keeps by name, and the operations that all of it shares."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from localaws.protocol import ACCOUNT, TO_MOTO, AwsError, Call, operation, page, present

# Kinds of resources as they are called in ARNs and in messages.
MODEL, ENDPOINT_CONFIG, ENDPOINT, TRAINING_JOB = (
    "model",
    "endpoint-config",
    "endpoint",
    "training-job",
)
_WORDS = {
    MODEL: "model",
    ENDPOINT_CONFIG: "endpoint configuration",
    ENDPOINT: "endpoint",
    TRAINING_JOB: "training job",
}


@dataclasses.dataclass(eq=False)
class Resource:
    """Something that has a name and was made by a request."""

    arn: str
    name: str
    region: str
    request: dict[str, Any]
    created: float = dataclasses.field(default_factory=time.time)
    tags: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def given(self) -> dict[str, Any]:
        """What the request says, without the tags."""
        return {key: value for key, value in self.request.items() if key != "Tags"}


_R = TypeVar("_R", bound=Resource)


class Resources:
    """All resources by ARN, and their tags.

    Attributes:
        lock: Held while resources are read or changed.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._by_arn: dict[str, Resource] = {}

    def clear(self) -> list[Resource]:
        """Forget everything; return what there was."""
        with self.lock:
            resources, self._by_arn = list(self._by_arn.values()), {}
        return resources

    def add(self, call: Call, kind: str, name: str, made: type[_R]) -> _R:
        """Keep a new resource of what a call says.

        Raises:
            AwsError: There is one of that name.
        """
        resource_arn = arn(call.region, kind, name)
        with self.lock:
            if resource_arn in self._by_arn:
                if kind == TRAINING_JOB:
                    raise AwsError(
                        "ResourceInUse",
                        "Job name must be unique within an AWS account and region, and a job with "
                        f"this name already exists ({resource_arn})",
                    )
                raise invalid(f'Cannot create already existing {_WORDS[kind]} "{resource_arn}".')
            resource = made(resource_arn, name, call.region, call.params)
            resource.tags = {tag["Key"]: tag["Value"] for tag in call.params.get("Tags") or ()}
            self._by_arn[resource_arn] = resource
        return resource

    def find(self, region: str, kind: str, name: str, made: type[_R]) -> _R | None:
        """Return a resource; None where there is none."""
        with self.lock:
            resource = self._by_arn.get(arn(region, kind, name))
        return resource if isinstance(resource, made) else None

    def get(self, call: Call, kind: str, name: str, made: type[_R]) -> _R:
        """Return a resource.

        Raises:
            AwsError: There is none.
        """
        resource = self.find(call.region, kind, name, made)
        if resource is None:
            if kind == TRAINING_JOB:
                raise invalid("Requested resource not found.")
            raise invalid(f'Could not find {_WORDS[kind]} "{arn(call.region, kind, name)}".')
        return resource

    def all(self, region: str, kind: str, made: type[_R]) -> list[_R]:
        """Return the resources of a kind."""
        prefix = arn(region, kind, "")
        with self.lock:
            return [
                item
                for resource_arn, item in self._by_arn.items()
                if resource_arn.startswith(prefix) and isinstance(item, made)
            ]

    def remove(self, resource: Resource) -> None:
        """Forget a resource."""
        with self.lock:
            self._by_arn.pop(resource.arn, None)

    def listed(
        self, call: Call, kind: str, member: str, summary: Callable[[Any], dict[str, Any]]
    ) -> dict[str, Any]:
        """Answer a List operation, whose filters are the same for every kind.

        Args:
            call: The call.
            kind: What to list.
            member: Name of the list in the answer.
            summary: Makes an item of a resource.
        """
        params = call.params
        with self.lock:
            found = [
                item
                for resource_arn, item in self._by_arn.items()
                if resource_arn.startswith(arn(call.region, kind, ""))
                and params.get("NameContains", "") in item.name
                and params.get("StatusEquals") in (None, getattr(item, "status", None))
                and params.get("CreationTimeAfter", 0) < item.created
                and item.created < params.get("CreationTimeBefore", float("inf"))
            ]
            if params.get("SortBy") == "Name":
                found.sort(key=lambda item: item.name)
            if params.get("SortOrder", "Descending") == "Descending":
                found.reverse()
            summaries = [{**summary(item), "CreationTime": item.created} for item in found]
        items, token = page(summaries, call)
        return present(**{member: items}, NextToken=token)

    @operation
    def add_tags(self, call: Call) -> object:
        resource = self._by_arn.get(call.params["ResourceArn"])
        if resource is None:
            return TO_MOTO
        resource.tags.update({tag["Key"]: tag["Value"] for tag in call.params["Tags"]})
        return {"Tags": _tag_list(resource)}

    @operation
    def list_tags(self, call: Call) -> object:
        resource = self._by_arn.get(call.params["ResourceArn"])
        return TO_MOTO if resource is None else {"Tags": _tag_list(resource)}

    @operation
    def delete_tags(self, call: Call) -> object:
        resource = self._by_arn.get(call.params["ResourceArn"])
        if resource is None:
            return TO_MOTO
        for key in call.params["TagKeys"]:
            resource.tags.pop(key, None)
        return {}


def arn(region: str, kind: str, name: str) -> str:
    """Return the ARN of a resource."""
    return f"arn:aws:sagemaker:{region}:{ACCOUNT}:{kind}/{name}"


def invalid(message: str) -> AwsError:
    """Return SageMaker's error for everything that a caller does wrong."""
    return AwsError("ValidationException", message)


def _tag_list(resource: Resource) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in resource.tags.items()]
