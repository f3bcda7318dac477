"""AWS Budgets: what Terraform reads of a budget and moto does not tell.

https://docs.aws.amazon.com/aws-cost-management/latest/APIReference/API_Operations_AWS_Budgets.html
"""

from __future__ import annotations

from typing import Any

from moto.budgets.models import Budget, budgets_backends

from localaws.protocol import ACCOUNT, TO_MOTO, AwsError, Call, operation


class Budgets:
    """Subscribers, changes and tags; the rest is moto's."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget every tag."""
        self._tags: dict[str, dict[str, str]] = {}

    @operation
    def create_budget(self, call: Call) -> object:
        name = call.params["Budget"]["BudgetName"]
        self._tags[f"arn:aws:budgets::{ACCOUNT}:budget/{name}"] = _tags(call)
        return TO_MOTO

    @operation
    def update_budget(self, call: Call) -> dict[str, Any]:
        new = call.params["NewBudget"]
        budget = _budget(call, new["BudgetName"])
        budget.budget = {**budget.budget, **new}
        return {}

    @operation
    def describe_subscribers_for_notification(self, call: Call) -> dict[str, Any]:
        budget = _budget(call, call.params["BudgetName"])
        for notification in budget.notifications:
            if notification.details == call.params["Notification"]:
                return {"Subscribers": notification.subscribers}
        raise AwsError("NotFoundException", "The budget has no such notification.")

    @operation
    def list_tags_for_resource(self, call: Call) -> dict[str, Any]:
        tags = self._tags.get(call.params["ResourceARN"], {})
        return {"ResourceTags": [{"Key": key, "Value": value} for key, value in tags.items()]}

    @operation
    def tag_resource(self, call: Call) -> dict[str, Any]:
        self._tags.setdefault(call.params["ResourceARN"], {}).update(_tags(call))
        return {}

    @operation
    def untag_resource(self, call: Call) -> dict[str, Any]:
        tags = self._tags.get(call.params["ResourceARN"], {})
        for key in call.params["ResourceTagKeys"]:
            tags.pop(key, None)
        return {}


def _budget(call: Call, name: str) -> Budget:
    budget = budgets_backends[ACCOUNT]["aws"].budgets[call.params["AccountId"]].get(name)
    if budget is None:
        raise AwsError("NotFoundException", f"There is no budget {name}.")
    return budget


def _tags(call: Call) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in call.params.get("ResourceTags") or ()}
