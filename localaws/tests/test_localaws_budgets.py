"""What Terraform asks of a budget, through boto3."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from localaws import LocalAWS

ACCOUNT = "123456789012"
ARN = f"arn:aws:budgets::{ACCOUNT}:budget/bot"
NOTIFICATION = {
    "NotificationType": "ACTUAL",
    "ComparisonOperator": "GREATER_THAN",
    "Threshold": 80.0,
    "ThresholdType": "PERCENTAGE",
}
SUBSCRIBER = {"SubscriptionType": "EMAIL", "Address": "somebody@example.com"}


def limited_to(amount: str) -> dict[str, Any]:
    return {
        "BudgetName": "bot",
        "BudgetType": "COST",
        "TimeUnit": "MONTHLY",
        "BudgetLimit": {"Amount": amount, "Unit": "USD"},
    }


@pytest.fixture
def budgets(aws: LocalAWS) -> Any:
    client = aws.client("budgets")
    client.create_budget(
        AccountId=ACCOUNT,
        Budget=limited_to("100"),
        NotificationsWithSubscribers=[{"Notification": NOTIFICATION, "Subscribers": [SUBSCRIBER]}],
        ResourceTags=[{"Key": "project", "Value": "bot"}],
    )
    return client


def test_subscribers_are_told(budgets: Any) -> None:
    budget = {"AccountId": ACCOUNT, "BudgetName": "bot"}
    found = budgets.describe_subscribers_for_notification(**budget, Notification=NOTIFICATION)
    assert found["Subscribers"] == [SUBSCRIBER]
    with pytest.raises(ClientError, match="NotFoundException"):
        budgets.describe_subscribers_for_notification(
            **budget, Notification={**NOTIFICATION, "Threshold": 90.0}
        )


def test_a_budget_can_be_changed(budgets: Any) -> None:
    budgets.update_budget(AccountId=ACCOUNT, NewBudget=limited_to("50"))
    budget = budgets.describe_budget(AccountId=ACCOUNT, BudgetName="bot")["Budget"]
    assert budget["BudgetLimit"]["Amount"] == "50"
    with pytest.raises(ClientError, match="There is no budget other"):
        budgets.update_budget(
            AccountId=ACCOUNT, NewBudget={**limited_to("50"), "BudgetName": "other"}
        )


def test_tags_are_kept(budgets: Any) -> None:
    budgets.tag_resource(ResourceARN=ARN, ResourceTags=[{"Key": "env", "Value": "dev"}])
    budgets.untag_resource(ResourceARN=ARN, ResourceTagKeys=["project"])
    tags = budgets.list_tags_for_resource(ResourceARN=ARN)["ResourceTags"]
    assert tags == [{"Key": "env", "Value": "dev"}]
