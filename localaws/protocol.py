"""AWS on the wire: which operation a request asks for, and answers and errors in its protocol.

Everything comes from botocore's models of the services, which every AWS client is made from.
Protocols: JSON 1.x, REST-JSON, query and (for errors of S3 only) REST-XML; see
https://smithy.io/2.0/aws/protocols/index.html.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import json
import re
import uuid
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

import botocore.session
from botocore.exceptions import UnknownServiceError
from botocore.model import ServiceModel, Shape
from werkzeug.wrappers import Request, Response

ACCOUNT = "123456789012"  # moto's
TO_MOTO = object()  # what an operation returns that leaves the rest to moto
_SIGNING_NAMES = {
    "states": "stepfunctions",
    "monitoring": "cloudwatch",
    "servicequotas": "service-quotas",
}
_CREDENTIAL = re.compile(r"Credential=([^/]*)/\d+/([^/]+)/([^/]+)/aws4_request")


class AwsError(Exception):
    """An error as a service answers it.

    Attributes:
        code: Its code, ``ThrottlingException`` for instance.
        message: Its explanation.
        status: HTTP status.
        fields: Further members of the error's shape.
    """

    def __init__(self, code: str, message: str, status: int = 400, **fields: Any) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.fields = fields


@dataclasses.dataclass
class Call:
    """A request for an operation of a service.

    Attributes:
        request: The HTTP request.
        service: Name that boto3 has for the service, ``stepfunctions`` for instance.
        operation: Name of the operation, ``StartExecution`` for instance; empty where unknown.
        region: The region it was signed for.
        access_key: The access key it was signed with.
        path: The variables of a REST path.
    """

    request: Request
    service: str
    operation: str
    region: str
    access_key: str
    path: dict[str, str] = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def params(self) -> dict[str, Any]:
        """The input of an operation of JSON 1.x.

        Raises:
            AwsError: The body is no JSON object.
        """
        try:
            params = json.loads(self.request.get_data() or b"{}")
        except ValueError as error:
            raise AwsError("SerializationException", f"The body is no JSON: {error}") from error
        if not isinstance(params, dict):
            raise AwsError("SerializationException", "The body is no JSON object")
        return params

    def validate(self) -> None:
        """Check :attr:`params` against the model, as every service does before anything else.

        Raises:
            AwsError: ``ValidationException`` with every broken rule.
        """
        shape = service_model(self.service).operation_model(self.operation).input_shape
        broken = list(_broken_rules(shape, self.params, "")) if shape else []
        if broken:
            noun = "error" if len(broken) == 1 else "errors"
            message = f"{len(broken)} validation {noun} detected: {'; '.join(broken)}"
            raise AwsError("ValidationException", message)

    def arn(self, resource: str) -> str:
        """Return the ARN of a resource of this service in the call's region."""
        return f"arn:aws:{self.service}:{self.region}:{ACCOUNT}:{resource}"


def operation(method: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a method as the operation of its name: ``create_endpoint`` is ``CreateEndpoint``."""
    method.is_operation = True  # type: ignore[attr-defined]
    return method


def operations(service: Any) -> dict[str, Callable[[Call], Any]]:
    """Return the methods of a service that are marked as operations, by operation."""
    found = {}
    for name in dir(type(service)):
        if getattr(getattr(type(service), name), "is_operation", False):
            found["".join(word.capitalize() for word in name.split("_"))] = getattr(service, name)
    return found


@functools.cache
def service_model(service: str) -> ServiceModel:
    """Return botocore's model of a service.

    Raises:
        UnknownServiceError: botocore has none.
    """
    return _session().get_service_model(service)


@functools.cache
def offered_regions(service: str) -> frozenset[str]:
    """Return the regions where AWS offers a service."""
    return frozenset(_session().get_available_regions(service))


def identify(request: Request) -> Call | None:
    """Return what a request asks for; None where it is not signed, so not for AWS."""
    credential = _CREDENTIAL.search(request.headers.get("Authorization", ""))
    if credential is None:
        return None
    access_key, region, signing_name = credential.groups()
    service = _SIGNING_NAMES.get(signing_name, signing_name)
    if service == "sagemaker" and request.path.startswith("/endpoints/"):
        service = "sagemaker-runtime"
    if target := request.headers.get("X-Amz-Target"):
        return Call(request, service, target.rpartition(".")[2], region, access_key)
    if request.mimetype == "application/x-www-form-urlencoded":
        return Call(request, service, request.form.get("Action", ""), region, access_key)
    for route in _routes(service):
        if (path := route.match(request)) is not None:
            return Call(request, service, route.operation, region, access_key, path)
    return Call(request, service, "", region, access_key)


def json_response(answer: dict[str, Any] | None, status: int = 200) -> Response:
    """Return an answer in JSON 1.1; None is an answer without content."""
    return Response(
        "" if answer is None else json.dumps(answer),
        status,
        {"x-amzn-RequestId": str(uuid.uuid4())},
        content_type="application/x-amz-json-1.1",
    )


def error_response(call: Call, error: AwsError) -> Response:
    """Return an error in the protocol of the request."""
    request_id = str(uuid.uuid4())
    body: dict[str, Any] = {"message": error.message, "Message": error.message, **error.fields}
    headers = {"x-amzn-RequestId": request_id, "x-amzn-ErrorType": error.code}
    if "X-Amz-Target" in call.request.headers:
        body = {"__type": error.code, **body}
        return Response(
            json.dumps(body), error.status, headers, content_type="application/x-amz-json-1.1"
        )
    details = f"<Code>{escape(error.code)}</Code><Message>{escape(error.message)}</Message>"
    if call.service == "s3":
        text = f"<Error>{details}<RequestId>{request_id}</RequestId></Error>"
    elif call.request.mimetype == "application/x-www-form-urlencoded":
        sender = "Sender" if error.status < 500 else "Receiver"
        text = (
            f"<ErrorResponse><Error><Type>{sender}</Type>{details}</Error>"
            f"<RequestId>{request_id}</RequestId></ErrorResponse>"
        )
    else:
        return Response(json.dumps(body), error.status, headers, content_type="application/json")
    return Response(text, error.status, headers, content_type="text/xml")


def present(**members: Any) -> dict[str, Any]:
    """Return the members of an answer that are there."""
    return {name: value for name, value in members.items() if value is not None}


def page(items: list[Any], call: Call, default: int = 100) -> tuple[list[Any], str | None]:
    """Return the page of a list that a call asks for, and the token of the next one.

    Raises:
        AwsError: The token is none that a list gave.
    """
    size = call.params.get("MaxResults") or call.params.get("maxResults") or default
    token = call.params.get("NextToken") or call.params.get("nextToken")
    try:
        start = int(base64.b64decode(token)) if token else 0
    except ValueError as error:
        raise AwsError("ValidationException", "The NextToken is not valid") from error
    end = start + size
    following = base64.b64encode(str(end).encode()).decode() if end < len(items) else None
    return items[start:end], following


@functools.cache
def _session() -> botocore.session.Session:
    return botocore.session.Session()


@dataclasses.dataclass(frozen=True)
class _Route:
    """What tells a REST operation from the others."""

    operation: str
    method: str
    path: re.Pattern[str]
    arguments: frozenset[tuple[str, str | None]]  # name and value in the query, None: any
    headers: frozenset[str]

    def match(self, request: Request) -> dict[str, str] | None:
        match = self.path.fullmatch(request.path)
        if match is None or request.method != self.method:
            return None
        for name, value in self.arguments:
            if name not in request.args or value not in (None, request.args[name]):
                return None
        if not all(name in request.headers for name in self.headers):
            return None
        return match.groupdict()


@functools.cache
def _routes(service: str) -> list[_Route]:
    """Return the routes of a REST service, those with the most conditions first."""
    try:
        model = service_model(service)
    except UnknownServiceError:
        return []
    routes = []
    for name in model.operation_names:
        operation_model = model.operation_model(name)
        if operation_model.deprecated:  # S3 has some beside their successors
            continue
        path, _, query = operation_model.http["requestUri"].partition("?")
        arguments: set[tuple[str, str | None]] = {
            (key, value or None) for key, value in parse_qsl(query, keep_blank_values=True)
        }
        headers = set()
        shape = operation_model.input_shape
        for member in shape.required_members if shape else ():
            place = shape.members[member].serialization
            if place.get("location") == "querystring":
                arguments.add((place["name"], None))
            elif place.get("location") == "header":
                headers.add(place["name"])
        routes.append(
            _Route(
                name,
                operation_model.http["method"],
                re.compile(_path_pattern(path)),
                frozenset(arguments),
                frozenset(headers),
            )
        )
    return sorted(routes, key=lambda route: -len(route.arguments) - len(route.headers))


def _path_pattern(template: str) -> str:
    """Return the regular expression of ``/{Bucket}/{Key+}``."""
    pattern = ""
    for literal, variable in re.findall(r"([^{]*)(?:\{([^}]*)\})?", template):
        pattern += re.escape(literal)
        if variable:
            pattern += f"(?P<{variable.rstrip('+')}>{'.+' if variable[-1] == '+' else '[^/]+'})"
    return pattern.removesuffix("/") + "/?"


def _broken_rules(shape: Shape, value: Any, name: str) -> Iterable[str]:
    """Yield what a value breaks of its shape's rules, in the words of AWS."""
    rules = shape.metadata
    if shape.type_name == "structure" and isinstance(value, dict):
        for key in shape.required_members:
            if value.get(key) is None:
                yield f"Value null at '{_member(name, key)}' failed to satisfy constraint: " + (
                    "Member must not be null"
                )
        for key, member in shape.members.items():
            if value.get(key) is not None:
                yield from _broken_rules(member, value[key], _member(name, key))
        return
    if shape.type_name == "list" and isinstance(value, list):
        for index, item in enumerate(value, start=1):
            yield from _broken_rules(shape.member, item, f"{name}.{index}.member")
    broken = []
    size = value if shape.type_name in ("integer", "long", "float", "double") else None
    if shape.type_name in ("string", "list", "map") and hasattr(value, "__len__"):
        size = len(value)
    what = "value" if shape.type_name not in ("string", "list", "map") else "length"
    if size is not None and "min" in rules and size < rules["min"]:
        broken.append(f"Member must have {what} greater than or equal to {rules['min']}")
    if size is not None and "max" in rules and size > rules["max"]:
        broken.append(f"Member must have {what} less than or equal to {rules['max']}")
    if shape.type_name == "string" and isinstance(value, str):
        if "pattern" in rules and not _matches(rules["pattern"], value):
            broken.append(f"Member must satisfy regular expression pattern: {rules['pattern']}")
        if "enum" in rules and value not in rules["enum"]:
            broken.append(f"Member must satisfy enum value set: [{', '.join(rules['enum'])}]")
    for rule in broken:
        yield f"Value '{value}' at '{name}' failed to satisfy constraint: {rule}"


def _member(name: str, key: str) -> str:
    key = key[0].lower() + key[1:]
    return f"{name}.{key}" if name else key


def _matches(pattern: str, value: str) -> bool:
    try:
        return re.fullmatch(pattern, value) is not None
    except re.error:  # a construct of Java that Python lacks, such as \p{ASCII}
        return True
