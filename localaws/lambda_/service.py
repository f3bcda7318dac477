"""AWS Lambda: functions that really run. moto keeps them, child processes execute them.

https://docs.aws.amazon.com/lambda/latest/dg/lambda-invocation.html
"""

from __future__ import annotations

import base64
import datetime
import json
import logging
import threading
import uuid
from collections.abc import Callable
from typing import Any, ClassVar

import moto.awslambda.models as moto_lambda
import moto.awslambda.urls as moto_lambda_urls
from moto.awslambda.exceptions import UnknownFunctionException
from moto.sns.models import sns_backends
from moto.sqs.models import sqs_backends
from werkzeug.wrappers import Response

from localaws import cloudwatch_logs
from localaws.background import Background
from localaws.lambda_.execution import Environment, Function, Result
from localaws.processes import Children
from localaws.protocol import ACCOUNT, AwsError, Call, operation

log = logging.getLogger(__name__)

_RETRY_SECONDS = (60, 120)  # between the attempts at an asynchronous event
_LOG_TAIL_BYTES = 4096
_ASYNCHRONOUS, _DRY_RUN = "Event", "DryRun"


class LambdaFunction(moto_lambda.LambdaFunction):
    """moto's function, with what it forgets of a configuration, and run by us."""

    deliver: ClassVar[Callable[[str, str], None]]
    _KEPT = ("DeadLetterConfig", "LoggingConfig", "KMSKeyArn")

    def __init__(self, account_id: str, spec: dict[str, Any], region: str, version: Any = 1):
        super().__init__(account_id, spec, region, version)
        self._kept = {"LoggingConfig": {"LogFormat": "Text", "LogGroup": self.logs_group_name}}
        self._keep(spec)

    def update_configuration(self, config_updates: dict[str, Any]) -> dict[str, Any]:
        self._keep(config_updates)
        return super().update_configuration(config_updates)

    def get_configuration(self, on_create: bool = False) -> dict[str, Any]:
        return {**super().get_configuration(on_create), **self._kept}

    def invoke(self, body: str, request_headers: Any, response_headers: Any) -> str:
        """Take an event of another service: S3, SNS, EventBridge, SQS."""
        type(self).deliver(self.function_arn, body)
        return ""

    def _keep(self, spec: dict[str, Any]) -> None:
        given = {name: spec[name] for name in self._KEPT if name in spec}
        logging_config = {**self._kept["LoggingConfig"], **given.get("LoggingConfig", {})}
        self._kept = {**self._kept, **given, "LoggingConfig": logging_config}


class LambdaBackend(moto_lambda.LambdaBackend):
    """moto's backend, with a function's last event configuration instead of its first."""

    _url_module = moto_lambda_urls  # moto derives it from the name of the class's module

    def put_function_event_invoke_config(
        self, function_name: str, config: dict[str, Any]
    ) -> dict[str, Any]:
        self.get_function(function_name).event_invoke_config = []
        return super().put_function_event_invoke_config(function_name, config)


class Lambda:
    """Invocation, synchronous and asynchronous.

    Args:
        background: Runs asynchronous events.
        children: Runs functions.
        url: Where the local AWS is, for the functions.
    """

    def __init__(self, background: Background, children: Children, url: str) -> None:
        self._background = background
        self._children = children
        self._url = url
        self._lock = threading.Lock()
        self._idle: list[Environment] = []
        self._busy: list[Environment] = []
        moto_lambda.LambdaFunction = LambdaFunction  # type: ignore[misc]
        moto_lambda.lambda_backends.backend = LambdaBackend
        LambdaFunction.deliver = self.deliver

    def reset(self) -> None:
        """End every execution environment that waits."""
        with self._lock:
            idle, self._idle = self._idle, []
        for environment in idle:
            environment.close()

    def crash(self, access_key: str) -> None:
        """Kill the function that calls with ``access_key``, if it is one."""
        with self._lock:
            for environment in self._busy:
                if environment.access_key == access_key:
                    environment.crash()

    @operation
    def invoke(self, call: Call) -> Response:
        headers = call.request.headers
        event = call.request.get_data(as_text=True) or "{}"
        try:
            json.loads(event)
        except ValueError as error:
            raise AwsError(
                "InvalidRequestContentException",
                f"Could not parse request body into json: {error}",
            ) from error
        function = _find(call.region, call.path["FunctionName"], call.request.args.get("Qualifier"))
        kind = headers.get("X-Amz-Invocation-Type", "RequestResponse")
        if kind == _ASYNCHRONOUS:
            self.deliver(function.function_arn, event)
            return Response(status=202)
        if kind == _DRY_RUN:
            return Response(status=204)
        request_id = str(uuid.uuid4())
        result = self._run(function, event, request_id)
        answer = Response(
            result.payload,
            content_type="application/json",
            headers={"X-Amz-Executed-Version": _version(function), "x-amzn-RequestId": request_id},
        )
        if result.failed:
            answer.headers["X-Amz-Function-Error"] = "Unhandled"
        if headers.get("X-Amz-Log-Type") == "Tail":
            tail = result.log.encode()[-_LOG_TAIL_BYTES:]
            answer.headers["X-Amz-Log-Result"] = base64.b64encode(tail).decode()
        return answer

    def deliver(self, function_arn: str, event: str) -> None:
        """Run a function on an event (JSON), later, with Lambda's retries and destinations."""
        self._background.run(self._attempt_all, function_arn, event, str(uuid.uuid4()))

    def _attempt_all(self, function_arn: str, event: str, request_id: str) -> None:
        attempts = 0
        while True:
            try:
                function = _find(function_arn.split(":")[3], function_arn)
            except AwsError as error:
                log.warning("Lambda: an event is lost: %s", error)
                return
            config = function.event_invoke_config[0].config if function.event_invoke_config else {}
            retries = config.get("MaximumRetryAttempts", len(_RETRY_SECONDS))
            try:
                result = self._run(function, event, request_id)
            except AwsError as error:
                if error.code != "TooManyRequestsException":
                    log.warning("Lambda: an event is lost: %s", error)
                    return
                self._background.wait(1)  # such attempts do not count
                continue
            except Exception as error:  # of the local AWS itself, or of a zip that is none
                log.exception("Lambda: %s cannot be run", function.function_arn)
                payload = {"errorType": type(error).__name__, "errorMessage": str(error)}
                result = Result(json.dumps(payload), True, "", 0.0)
            attempts += 1
            if not result.failed or attempts > retries or self._background.stopping.is_set():
                break
            self._background.wait(_RETRY_SECONDS[attempts - 1])
        destinations = config.get("DestinationConfig", {})
        kind = "OnFailure" if result.failed else "OnSuccess"
        record = _record(function.function_arn, event, request_id, result, attempts)
        self._send(destinations.get(kind, {}).get("Destination"), json.dumps(record))
        if result.failed:
            dead_letters = function.get_configuration().get("DeadLetterConfig") or {}
            self._send(dead_letters.get("TargetArn"), event)

    def _send(self, arn: str | None, body: str) -> None:
        if not arn:
            return
        _, _, service, region, _, resource = arn.split(":", 5)
        try:
            match service:
                case "sqs":
                    sqs_backends[ACCOUNT][region].send_message(resource, body)
                case "sns":
                    sns_backends[ACCOUNT][region].publish(body, arn)
                case "lambda":
                    self.deliver(arn, body)
                case _:
                    log.warning("Lambda: the local AWS has no destination such as %s", arn)
        except Exception as error:  # moto's, of a queue or topic that is gone
            log.warning("Lambda: the destination %s took nothing: %s", arn, error)

    # --- execution environments ---

    def _run(self, function: LambdaFunction, event: str, request_id: str) -> Result:
        wanted = _execution(function)
        environment = self._take(wanted, function.reserved_concurrency)
        try:
            result = environment.call(event, request_id, function.function_arn)
        finally:
            with self._lock:
                self._busy.remove(environment)
                keep = environment.usable and not any(
                    idle.function == wanted for idle in self._idle
                )
                if keep:
                    self._idle.append(environment)
        _write_log(function, environment, result, request_id)
        if not keep:
            environment.close()
        return result

    def _take(self, wanted: Function, limit: int | None) -> Environment:
        """Return an idle execution environment of a function, or a new one."""
        with self._lock:
            busy = sum(item.function.name == wanted.name for item in self._busy)
            if limit is not None and busy >= int(limit):
                raise AwsError(
                    "TooManyRequestsException",
                    "Rate Exceeded.",
                    429,
                    Reason="ReservedFunctionConcurrentInvocationLimitExceeded",
                    Type="User",
                )
            outdated = [
                item
                for item in self._idle
                if item.function.name == wanted.name and item.function != wanted
            ]
            idle = [item for item in self._idle if item.function == wanted]
            self._idle = [item for item in self._idle if item not in idle + outdated]
            usable = next((item for item in idle if item.usable), None)
            environment = usable or Environment(wanted, self._url, self._children)
            self._busy.append(environment)
        for item in [*outdated, *idle]:
            if item is not usable:
                item.close()
        return environment


def _find(region: str, name_or_arn: str, qualifier: str | None = None) -> LambdaFunction:
    """Return moto's function.

    Raises:
        AwsError: There is none.
    """
    if name_or_arn.startswith("arn:"):
        region = name_or_arn.split(":")[3]
    backend = moto_lambda.lambda_backends[ACCOUNT][region]
    try:
        function = backend.get_function(name_or_arn, qualifier)
    except UnknownFunctionException as error:
        arn = f"arn:aws:lambda:{region}:{ACCOUNT}:function:{name_or_arn.rpartition(':')[2]}"
        raise AwsError("ResourceNotFoundException", f"Function not found: {arn}", 404) from error
    assert isinstance(function, LambdaFunction)
    return function


def _execution(function: LambdaFunction) -> Function:
    """Return what an execution environment of moto's function is made from.

    Raises:
        AwsError: It is not one that runs here.
    """
    if not str(function.run_time).startswith("python") or not function.handler:
        raise AwsError(
            "InvalidParameterValueException",
            f"The local AWS runs Python functions from a zip file, not '{function.run_time}'.",
        )
    logging_config = function.get_configuration()["LoggingConfig"]
    return Function(
        name=function.function_name,
        version=_version(function),
        region=function.region,
        handler=function.handler,
        code=function.code_bytes,
        variables=dict(function.environment_vars),
        memory=int(function.memory_size),
        timeout=float(function.timeout),
        log_group=logging_config["LogGroup"],
        json_logs=logging_config["LogFormat"] == "JSON",
    )


def _version(function: LambdaFunction) -> str:
    published = function.function_arn.count(":") > 6
    return str(function.version) if published else "$LATEST"


def _write_log(
    function: LambdaFunction, environment: Environment, result: Result, request_id: str
) -> None:
    """Put what a function wrote into CloudWatch Logs, between the lines of Lambda itself."""
    milliseconds = result.seconds * 1000
    lines = [
        f"START RequestId: {request_id} Version: {environment.function.version}",
        *result.log.splitlines(),
        f"END RequestId: {request_id}",
        f"REPORT RequestId: {request_id}\tDuration: {milliseconds:.2f} ms\t"
        f"Memory Size: {environment.function.memory} MB",
    ]
    cloudwatch_logs.write(
        function.region, environment.function.log_group, environment.log_stream, lines
    )
    for line in result.log.splitlines():
        log.info("Lambda %s: %s", function.function_name, line)


def _record(arn: str, event: str, request_id: str, result: Result, attempts: int) -> dict[str, Any]:
    """Return the invocation record for a destination.

    https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
    """
    now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")
    response_context: dict[str, Any] = {"statusCode": 200, "executedVersion": "$LATEST"}
    if result.failed:
        response_context["functionError"] = "Unhandled"
    return {
        "version": "1.0",
        "timestamp": now.replace("+00:00", "Z"),
        "requestContext": {
            "requestId": request_id,
            "functionArn": arn if arn.count(":") > 6 else f"{arn}:$LATEST",
            "condition": "RetriesExhausted" if result.failed else "Success",
            "approximateInvokeCount": attempts,
        },
        "requestPayload": json.loads(event),
        "responseContext": response_context,
        "responsePayload": json.loads(result.payload),
    }
