"""The Terraform of the retraining pipelines, applied to the local AWS."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bot.retraining.settings import Settings
from components.comprehend.office_hours import pipeline_targets
from localaws import LocalAWS
from localaws.terraform import Terraform, TerraformError
from tests.support import ROOT
from tests.support import retraining_permissions as permissions

MODULE = ROOT / "infra" / "terraform"
SOLUTIONS = ("comprehend", "sagemaker")
ROLE = "arn:aws:iam::123456789012:role/models"
FUNCTIONS = ("start_training", "check_model_status", "create_endpoint")

if shutil.which("terraform") is None:
    pytest.skip("Terraform is not installed", allow_module_level=True)


@pytest.fixture(scope="module")
def aws() -> Iterator[LocalAWS]:
    with LocalAWS() as server:
        yield server


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Lambdas' archive."""
    output = tmp_path_factory.mktemp("lambda") / "lambda.zip"
    builder = ROOT / "infra" / "lambda" / "build.py"
    subprocess.run([sys.executable, builder, output], check=True, capture_output=True)
    return output


@pytest.fixture(scope="module")
def variables(archive: Path) -> dict[str, Any]:
    return {
        "lambda_zip": str(archive),
        "notification_emails": ["team@example.com"],
        "force_destroy": True,
        "max_retries": 2,
        "s3_use_path_style": True,
    }


@pytest.fixture(scope="module")
def terraform(
    aws: LocalAWS, variables: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Terraform:
    """Terraform, with its provider, before the first apply."""
    workspace = tmp_path_factory.mktemp("terraform")
    started = Terraform(MODULE, workspace, aws.environment(), variables)
    started.run("init")
    return started


@pytest.fixture(scope="module")
def applied(terraform: Terraform) -> dict[str, Any]:
    """The outputs of an apply."""
    terraform.apply()
    return terraform.outputs()


# --- without AWS


def test_files_are_formatted() -> None:
    found = subprocess.run(
        ["terraform", "fmt", "-check", "-diff", "-recursive", MODULE],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout


def test_configuration_is_valid(terraform: Terraform) -> None:
    assert json.loads(terraform.run("validate", "-json"))["diagnostics"] == []


def test_every_variable_and_output_is_described() -> None:
    for path in [*MODULE.rglob("variables.tf"), *MODULE.rglob("outputs.tf")]:
        blocks = path.read_text("utf-8").count('\nvariable "') + path.read_text("utf-8").count(
            '\noutput "'
        )
        assert path.read_text("utf-8").count("\n  description = ") >= blocks, path


IMPOSSIBLE = {
    "project=Skills_Bot": "lower-case letters, digits and single hyphens",
    "environment=production": "up to 8 lower-case letters",
    "lambda_zip=nowhere.zip": "build it with `python infra/lambda/build.py`",
    "sagemaker={serverless_memory_mb=1500}": "in steps of 1024",
    'gate={metric="f1"}': "macro_f1 or accuracy",
    "run_texts_days=1": "for at least 7 days",
    "poll_seconds=0": "a whole number of seconds, at least 1",
    'notification_emails=["me"]': "e-mail addresses",
}


def refusal(terraform: Terraform, *changes: str) -> str:
    with pytest.raises(TerraformError) as refused:
        terraform.run("plan", "-refresh=false", *(f"-var={change}" for change in changes))
    # Terraform breaks lines and draws frames.
    return " ".join(str(refused.value).replace("│", " ").split())


def test_impossible_variables_are_refused(terraform: Terraform) -> None:
    text = refusal(terraform, *IMPOSSIBLE)
    assert not [message for message in IMPOSSIBLE.values() if message not in text]


def test_a_region_without_comprehend_is_refused(terraform: Terraform) -> None:
    text = refusal(terraform, "region=eu-west-3")
    assert "not offered in this region" in text
    assert "Frankfurt" in text


def test_the_state_can_be_kept_in_a_bucket(aws: LocalAWS, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    shutil.copy(MODULE / "backend.tf.example", root / "backend.tf")
    (root / "main.tf").write_text('output "there" {\n  value = true\n}\n')
    s3, bucket = aws.client("s3"), "terraform-state"
    location = {"LocationConstraint": "eu-west-1"}
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration=location)
    try:
        remote = Terraform(root, tmp_path / "workspace", aws.environment())
        remote.run("init", "-backend-config=use_path_style=true")
        remote.run("apply", "-auto-approve")
        key = "skills-bot/dev.tfstate"
        state = json.load(s3.get_object(Bucket=bucket, Key=key)["Body"])
        assert state["outputs"]["there"]["value"] is True
        # The lock that a second one would meet.
        s3.put_object(Bucket=bucket, Key=f"{key}.tflock", Body=b'{"ID": "somebody"}')
        with pytest.raises(TerraformError, match="Error acquiring the state lock"):
            remote.run("apply", "-auto-approve", "-lock-timeout=0s")
    finally:
        for found in s3.list_objects_v2(Bucket=bucket).get("Contents", []):
            s3.delete_object(Bucket=bucket, Key=found["Key"])
        s3.delete_bucket(Bucket=bucket)


# --- applied


def test_a_second_plan_is_empty(terraform: Terraform, applied: dict[str, Any]) -> None:
    assert terraform.changes() == []


@pytest.mark.parametrize("solution", SOLUTIONS)
def test_functions_get_settings_that_they_understand(
    aws: LocalAWS, applied: dict[str, Any], solution: str
) -> None:
    names = applied[solution]["retraining"]["function_names"]
    assert set(names) == set(FUNCTIONS)
    for name in names.values():
        function = aws.client("lambda").get_function_configuration(FunctionName=name)
        settings = Settings.from_environment(function["Environment"]["Variables"])
        assert settings.backend == solution
        assert settings.artifact_bucket == applied[solution]["artifact_bucket"]
        assert settings.state_machine_arn == applied[solution]["retraining"]["state_machine_arn"]
        assert settings.topic_arn == applied[solution]["retraining"]["topic_arn"]
        assert settings.name == applied[solution]["endpoint_name"]
        role = aws.client("iam").get_role(RoleName=settings.role_arn.rsplit("/")[-1])["Role"]
        trusted = role["AssumeRolePolicyDocument"]["Statement"][0]["Principal"]["Service"]
        assert trusted == f"{solution}.amazonaws.com"


@pytest.mark.parametrize("solution", SOLUTIONS)
def test_datasets_start_the_training(aws: LocalAWS, applied: dict[str, Any], solution: str) -> None:
    bucket = applied[solution]["dataset_bucket"]
    found = aws.client("s3").get_bucket_notification_configuration(Bucket=bucket)
    (notification,) = found["LambdaFunctionConfigurations"]
    name = applied[solution]["retraining"]["function_names"]["start_training"]
    assert notification["LambdaFunctionArn"].endswith(f":{name}")
    # Of all files: who puts one where nothing is done with it is told so.
    assert "Filter" not in notification
    function = aws.client("lambda").get_function_configuration(FunctionName=name)
    assert function["MemorySize"] >= 1769  # a whole processor, to read a large dataset in time
    assert function["Runtime"] == "python3.13"


@pytest.mark.parametrize("solution", SOLUTIONS)
def test_an_execution_ended_from_outside_is_told_to_a_function(
    aws: LocalAWS, applied: dict[str, Any], solution: str
) -> None:
    given = applied[solution]["retraining"]
    name = given["state_machine_arn"].rpartition(":")[2] + "-ended-from-outside"
    events = aws.client("events")
    pattern = json.loads(events.describe_rule(Name=name)["EventPattern"])
    assert pattern["detail"] == {
        "status": ["TIMED_OUT", "ABORTED"],
        "stateMachineArn": [given["state_machine_arn"]],
    }
    (target,) = events.list_targets_by_rule(Rule=name)["Targets"]
    assert target["Arn"].endswith(f":{given['function_names']['check_model_status']}")
    assert target["DeadLetterConfig"]["Arn"].endswith("-dead-letters")


@pytest.mark.parametrize("solution", SOLUTIONS)
def test_office_hours_are_where_the_command_looks_for_them(
    aws: LocalAWS, applied: dict[str, Any], solution: str
) -> None:
    given = applied[solution]["retraining"]
    target, _ = pipeline_targets(given["state_machine_arn"])
    machine = aws.client("stepfunctions").describe_state_machine(stateMachineArn=target.arn)
    assert machine["status"] == "ACTIVE"
    attributes = aws.client("sqs").get_queue_attributes(
        QueueUrl=given["dead_letter_queue_url"], AttributeNames=["QueueArn"]
    )
    assert attributes["Attributes"]["QueueArn"] == target.dead_letters
    name = given["office_hours_role_arn"].rsplit("/")[-1]
    role = aws.client("iam").get_role(RoleName=name)["Role"]
    trusted = role["AssumeRolePolicyDocument"]["Statement"][0]["Principal"]["Service"]
    assert trusted == "scheduler.amazonaws.com"


@pytest.mark.parametrize("kind", ["dataset_bucket", "artifact_bucket"])
@pytest.mark.parametrize("solution", SOLUTIONS)
def test_buckets_are_private_encrypted_and_versioned(
    aws: LocalAWS, applied: dict[str, Any], solution: str, kind: str
) -> None:
    s3, name = aws.client("s3"), {"Bucket": applied[solution][kind]}
    assert s3.get_bucket_versioning(**name)["Status"] == "Enabled"
    assert s3.get_bucket_encryption(**name)["ServerSideEncryptionConfiguration"]["Rules"]
    blocked = s3.get_public_access_block(**name)["PublicAccessBlockConfiguration"]
    assert all(blocked.values())
    (statement,) = json.loads(s3.get_bucket_policy(**name)["Policy"])["Statement"]
    assert statement["Effect"] == "Deny"
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


# What AWS's service authorization reference gives no resource for.
WITHOUT_RESOURCE = {
    "comprehend:ListDocumentClassifiers",
    "comprehend:ListEndpoints",
    "cloudwatch:PutMetricData",
    "ecr:GetAuthorizationToken",
    "logs:CreateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:DescribeLogGroups",
    "logs:DescribeResourcePolicies",
    "logs:GetLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:UpdateLogDelivery",
    "servicequotas:ListServiceQuotas",
}


def test_roles_may_do_what_they_need_and_no_more(aws: LocalAWS, applied: dict[str, Any]) -> None:
    iam = aws.client("iam")
    roles = [role["RoleName"] for role in iam.list_roles()["Roles"]]
    # For each solution three functions, the state machines, office hours and the service.
    assert len(roles) == 2 * 6
    for role in roles:
        assert not iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]
        for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
            policy = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
            for statement in policy["Statement"]:
                actions, resources = as_list(statement["Action"]), as_list(statement["Resource"])
                assert statement["Effect"] == "Allow"
                assert not [action for action in actions if "*" in action]
                if "*" in resources:
                    assert set(actions) <= WITHOUT_RESOURCE, (role, actions)
                if "iam:PassRole" in actions:
                    passed_to = statement["Condition"]["StringEquals"]["iam:PassedToService"]
                    assert passed_to in ("comprehend.amazonaws.com", "sagemaker.amazonaws.com")
                    assert len(resources) == 1


@pytest.mark.parametrize("solution", SOLUTIONS)
def test_functions_may_call_what_they_call(
    aws: LocalAWS, applied: dict[str, Any], solution: str
) -> None:
    iam, functions = aws.client("iam"), aws.client("lambda")
    for function, name in applied[solution]["retraining"]["function_names"].items():
        arn = functions.get_function_configuration(FunctionName=name)["Role"]
        role = {"RoleName": arn.rsplit("/")[-1]}
        allowed = {
            action
            for policy in iam.list_role_policies(**role)["PolicyNames"]
            for statement in iam.get_role_policy(**role, PolicyName=policy)["PolicyDocument"][
                "Statement"
            ]
            for action in as_list(statement["Action"])
        }
        expected = permissions.ALLOWED[solution][function] | permissions.OF_LAMBDA
        if function == "start_training":
            expected |= permissions.OF_FAILED_EVENTS
        assert allowed == expected


def as_list(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def test_logs_are_kept_for_a_time(aws: LocalAWS, applied: dict[str, Any]) -> None:
    groups = aws.client("logs").describe_log_groups()["logGroups"]
    # For each solution three functions and the state machine; SageMaker's endpoint.
    assert len(groups) == 2 * 4 + 1
    assert {group["retentionInDays"] for group in groups} == {90}


@pytest.mark.parametrize("solution", SOLUTIONS)
def test_alarms_tell_the_same_people_as_the_pipeline(
    aws: LocalAWS, applied: dict[str, Any], solution: str
) -> None:
    topic = applied[solution]["retraining"]["topic_arn"]
    alarms = aws.client("cloudwatch").describe_alarms()["MetricAlarms"]
    ours = [alarm for alarm in alarms if alarm["AlarmActions"] == [topic]]
    watched = {alarm["MetricName"] for alarm in ours}
    assert watched >= {"Errors", "ExecutionsFailed", "ExecutionsTimedOut"}
    assert "ApproximateNumberOfMessagesVisible" in watched
    (budget,) = [
        budget
        for budget in aws.client("budgets").describe_budgets(AccountId="123456789012")["Budgets"]
        if solution in budget["BudgetName"]
    ]
    assert float(budget["BudgetLimit"]["Amount"]) == 100


def test_images_cannot_be_replaced(aws: LocalAWS, applied: dict[str, Any]) -> None:
    repositories = aws.client("ecr").describe_repositories()["repositories"]
    assert {repository["repositoryUri"] for repository in repositories} == set(
        applied["sagemaker"]["repositories"].values()
    )
    assert {repository["imageTagMutability"] for repository in repositories} == {"IMMUTABLE"}


def test_no_image_that_a_rollback_may_need_is_deleted(
    aws: LocalAWS, applied: dict[str, Any]
) -> None:
    for repository in aws.client("ecr").describe_repositories()["repositories"]:
        policy = aws.client("ecr").get_lifecycle_policy(
            repositoryName=repository["repositoryName"]
        )["lifecyclePolicyText"]
        chosen = [rule["selection"]["tagStatus"] for rule in json.loads(policy)["rules"]]
        assert chosen == ["untagged"]


KEY = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"


def test_a_key_of_ones_own_is_used_for_everything(
    terraform: Terraform, applied: dict[str, Any]
) -> None:
    variables = [f"-var=kms_key_arn={KEY}", "-var=tracing=true", "-var=reserved_concurrency=2"]
    terraform.run("plan", "-refresh=false", "-out=encrypted", *variables)
    plan = json.loads(terraform.run("show", "-json", "encrypted"))
    after: dict[str, list[Any]] = {}
    for change in plan["resource_changes"]:
        after.setdefault(change["type"], []).append(change["change"]["after"])
    for kind, argument in {
        "aws_lambda_function": "kms_key_arn",
        "aws_cloudwatch_log_group": "kms_key_id",
        "aws_sns_topic": "kms_master_key_id",
        "aws_sqs_queue": "kms_master_key_id",
    }.items():
        assert {item[argument] for item in after[kind]} == {KEY}, kind
    assert KEY in json.dumps(after["aws_ecr_repository"])
    rules = after["aws_s3_bucket_server_side_encryption_configuration"]
    assert json.dumps(rules).count(KEY) == 4
    for function in after["aws_lambda_function"]:
        assert function["tracing_config"] == [{"mode": "Active"}]
        assert function["reserved_concurrent_executions"] == 2


def test_the_texts_of_runs_are_kept_for_a_time(
    terraform: Terraform, applied: dict[str, Any]
) -> None:
    terraform.run("plan", "-refresh=false", "-out=texts", "-var=run_texts_days=30")
    plan = json.loads(terraform.run("show", "-json", "texts"))
    changed = [one for one in plan["resource_changes"] if one["change"]["actions"] == ["update"]]
    assert sorted(one["address"].split(".")[1] for one in changed) == [
        f"{solution}_pipeline[0]" for solution in SOLUTIONS
    ]
    for one in changed:
        assert ".module.artifacts." in one["address"]
        _, rule = one["change"]["after"]["rule"]
        assert rule["expiration"][0]["days"] == 30
        (filtered,) = rule["filter"][0]["and"]
        assert (filtered["prefix"], filtered["tags"]) == ("runs/", {"content": "texts"})


def test_an_update_of_the_endpoint_is_watched(aws: LocalAWS, applied: dict[str, Any]) -> None:
    name = applied["sagemaker"]["retraining"]["function_names"]["create_endpoint"]
    function = aws.client("lambda").get_function_configuration(FunctionName=name)
    alarms = function["Environment"]["Variables"]["ROLLBACK_ALARMS"].split(",")
    found = aws.client("cloudwatch").describe_alarms(AlarmNames=alarms)["MetricAlarms"]
    assert {alarm["MetricName"] for alarm in found} == {"Invocation5XXErrors", "ModelLatency"}
    assert all(alarm["Namespace"] == "AWS/SageMaker" for alarm in found)


# --- the state machine


@pytest.fixture(scope="module", params=SOLUTIONS)
def definition(
    request: pytest.FixtureRequest, aws: LocalAWS, applied: dict[str, Any]
) -> dict[str, Any]:
    arn = applied[request.param]["retraining"]["state_machine_arn"]
    machine = aws.client("stepfunctions").describe_state_machine(stateMachineArn=arn)
    return dict(json.loads(machine["definition"]))


@pytest.fixture(scope="session")
def linter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """asl-validator, as pinned in infra/terraform/lint."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    folder = tmp_path_factory.mktemp("lint") / "lint"
    shutil.copytree(MODULE / "lint", folder, ignore=shutil.ignore_patterns("node_modules"))
    found = subprocess.run(["npm", "ci"], cwd=folder, capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip(f"asl-validator cannot be installed: {found.stderr.strip()[-500:]}")
    return folder / "node_modules" / ".bin" / "asl-validator"


def lint(
    linter: Path, definition: dict[str, Any], folder: Path
) -> subprocess.CompletedProcess[str]:
    path = folder / "definition.json"
    path.write_text(json.dumps(definition))
    return subprocess.run(
        [linter, "--json-path", path], capture_output=True, text=True, check=False
    )


def test_state_machine_passes_the_linter(
    linter: Path, definition: dict[str, Any], tmp_path: Path
) -> None:
    found = lint(linter, definition, tmp_path)
    assert found.returncode == 0, found.stdout + found.stderr


def test_the_linter_finds_a_state_that_leads_nowhere(
    linter: Path, definition: dict[str, Any], tmp_path: Path
) -> None:
    states = {**definition["States"], "Done": {"Type": "Pass", "Next": "Nowhere"}}
    assert lint(linter, {**definition, "States": states}, tmp_path).returncode != 0


def test_every_task_is_tried_again_and_caught(definition: dict[str, Any]) -> None:
    tasks = {name: state for name, state in definition["States"].items() if state["Type"] == "Task"}
    assert len(tasks) == 7
    for name, task in tasks.items():
        errors = {error for retry in task["Retry"] for error in retry["ErrorEquals"]}
        assert errors >= {"Lambda.ServiceException", "Lambda.TooManyRequestsException"}, name
        assert all(retry["BackoffRate"] == 2.0 for retry in task["Retry"])
        assert task["Catch"][0]["ErrorEquals"] == ["States.ALL"], name


def test_every_failure_ends_in_a_notice(definition: dict[str, Any]) -> None:
    states = definition["States"]
    leads_to_failed = [
        name
        for name, state in states.items()
        if "Failed" in [state.get("Next"), *(catch["Next"] for catch in state.get("Catch", []))]
    ]
    assert leads_to_failed == ["NotifyFailure"]
    assert states["NotifyFailure"]["Resource"].endswith(":sns:publish")


# --- the end


def test_everything_is_deleted(
    aws: LocalAWS, terraform: Terraform, applied: dict[str, Any]
) -> None:
    bucket = applied["comprehend"]["dataset_bucket"]
    aws.client("s3").put_object(Bucket=bucket, Key="heldout/heldout.json", Body=b"{}")
    sagemaker = aws.client("sagemaker")
    name = applied["sagemaker"]["endpoint_name"]
    sagemaker.create_model(
        ModelName="m", PrimaryContainer={"Image": "other"}, ExecutionRoleArn=ROLE
    )
    variant = {"VariantName": "v", "ModelName": "m", "InstanceType": "ml.m5.large"}
    sagemaker.create_endpoint_config(
        EndpointConfigName="c", ProductionVariants=[{**variant, "InitialInstanceCount": 1}]
    )
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName="c")
    with pytest.raises(TerraformError, match="bot pipeline teardown"):
        terraform.destroy()
    # Nothing of this pipeline is gone that would tell of it.
    budgets = aws.client("budgets").describe_budgets(AccountId="123456789012")["Budgets"]
    assert [budget["BudgetName"] for budget in budgets] == [f"{name}-sagemaker"]
    alarms = aws.client("cloudwatch").describe_alarms(AlarmNamePrefix=f"{name}-sagemaker-")
    watched = {alarm["MetricName"] for alarm in alarms["MetricAlarms"]}
    assert watched >= {"Invocation5XXErrors", "ModelLatency"}
    policies = aws.client("iam").list_role_policies(RoleName=f"{name}-sagemaker-execution")
    assert policies["PolicyNames"]
    while sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"] == "Creating":
        pass
    sagemaker.delete_endpoint(EndpointName=name)
    while sagemaker.list_endpoints()["Endpoints"]:
        pass
    terraform.destroy()
    assert aws.client("s3").list_buckets()["Buckets"] == []
    assert aws.client("lambda").list_functions()["Functions"] == []
    assert aws.client("stepfunctions").list_state_machines()["stateMachines"] == []
    assert aws.client("iam").list_roles()["Roles"] == []
