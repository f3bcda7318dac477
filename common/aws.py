"""AWS clients with the limits that a chat needs, and what to do when AWS refuses.

Credentials, region and endpoint come from AWS's own chain (environment, profile, role;
``AWS_ENDPOINT_URL`` for a local AWS); nothing of it is configured here. ``AWS_REGION``, which boto3
alone among Amazon's clients does not read, is read as well.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
from collections.abc import Iterator
from typing import Any

from common.errors import UserError

# It tells where it found credentials, each time that a client is made.
logging.getLogger("botocore.credentials").setLevel(logging.WARNING)

# What to do, by AWS's error code or botocore's exception name.
_ADVICE = {
    "NoCredentialsError": "Give AWS credentials in one of AWS's own ways: `aws configure`, "
    "`aws sso login`, AWS_PROFILE, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a role.",
    "ProfileNotFound": "Set AWS_PROFILE to one of `aws configure list-profiles`, or unset it.",
    "NoRegionError": "Set 'region' in the configuration, or AWS_REGION in the environment.",
    "AccessDeniedException": "The role or user lacks this permission: see docs/aws.md.",
    "AccessDenied": "The role or user lacks this permission: see docs/aws.md.",
    "ExpiredTokenException": "The credentials have expired: sign in again (`aws sso login`).",
    "UnrecognizedClientException": "The credentials are not valid in this account or region.",
    "InvalidSignatureException": "Check the secret key and the clock of this machine.",
    "ThrottlingException": "AWS limits the rate: raise the inference units, or ask less often.",
    "EndpointConnectionError": "AWS cannot be reached: check the network and the region.",
    "ConnectTimeoutError": "AWS cannot be reached: check the network and the region.",
    "ReadTimeoutError": "AWS did not answer in time: raise 'read_timeout', or try again.",
    "LimitExceededException": "A quota of the account is used up: delete what is not needed, or "
    "ask AWS for more.",
    "ResourceLimitExceeded": "A quota of the account is used up: delete what is not needed, or "
    "ask AWS for more.",
}
_NOT_FOUND = {
    "ResourceNotFoundException",
    "NoSuchKey",
    "NoSuchBucket",
    "NoSuchEntity",
    "404",
    "ExecutionDoesNotExist",
    "StateMachineDoesNotExist",
}
_EXISTS = {
    "ConflictException",
    "ExecutionAlreadyExists",
    "ResourceInUse",
    "ResourceInUseException",
}
_BAD_CREDENTIALS = {
    "NoCredentialsError",
    "ProfileNotFound",
    "PartialCredentialsError",
    "CredentialRetrievalError",
    "TokenRetrievalError",
    "SSOTokenLoadError",
    "UnauthorizedSSOTokenError",
    "AccessDenied",
    "AccessDeniedException",
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "UnrecognizedClientException",
}
_TRANSIENT = {
    "ThrottlingException",
    "TooManyRequestsException",
    "InternalServerException",
    "ConnectionClosedError",
    "ConnectTimeoutError",
    "EndpointConnectionError",
    "ReadTimeoutError",
}


class AwsError(UserError):
    """AWS refused or could not be reached; the message says what to do.

    Attributes:
        code: AWS's error code (``ThrottlingException``), or botocore's exception name where no
            answer came (``ReadTimeoutError``).
    """

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code

    @property
    def not_found(self) -> bool:
        """Whether the thing asked for does not exist."""
        return self.code in _NOT_FOUND

    @property
    def exists(self) -> bool:
        """Whether the thing to be made exists already, or is being changed."""
        return self.code in _EXISTS

    @property
    def transient(self) -> bool:
        """Whether the same request may well succeed a little later."""
        return self.code in _TRANSIENT

    @property
    def bad_credentials(self) -> bool:
        """Whether credentials are missing, expired or without the permission."""
        return self.code in _BAD_CREDENTIALS


@contextlib.contextmanager
def aws_errors(doing: str) -> Iterator[None]:
    """Turn botocore's exceptions into :class:`AwsError`.

    Args:
        doing: What was tried, for the message: ``"read the endpoint 'skills-bot'"``.

    Raises:
        AwsError: Instead of ``ClientError`` and ``BotoCoreError``.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        details = error.response.get("Error", {})
        code = str(details.get("Code", "Unknown"))
        raise _explained(doing, code, str(details.get("Message", error))) from error
    except BotoCoreError as error:
        raise _explained(doing, type(error).__name__, str(error)) from error


def _explained(doing: str, code: str, reason: str) -> AwsError:
    text = f"Could not {doing}: {reason.rstrip('.')} ({code}). {_ADVICE.get(code, '')}"
    return AwsError(text.rstrip(), code)


def client(
    service: str,
    region: str | None = None,
    *,
    connect_timeout: float = 3,
    read_timeout: float = 30,
    attempts: int = 3,
    connections: int = 10,
) -> Any:
    """Return a boto3 client; it is safe to use from several threads.

    Args:
        service: AWS's name of the service, such as ``comprehend``.
        region: Region; None takes that of AWS's chain.
        connect_timeout: Seconds to connect.
        read_timeout: Seconds to wait for each part of the answer.
        attempts: Tries in all, the first included (botocore's ``standard`` mode).
        connections: Connections kept open.

    Raises:
        AwsError: No region is set, or the profile of AWS_PROFILE does not exist.
        UserError: The service is not offered in the region; the message says where it is.
    """
    import botocore.session
    from botocore.config import Config

    with aws_errors(f"open a client of '{service}'"):
        session = botocore.session.Session()
        session.register_component("data_loader", _loader())
        region = region or _region_of_environment() or session.get_config_variable("region")
        offered = session.get_available_regions(service, _partition(session, region))
        if region and offered and region not in offered:
            raise UserError(
                f"Amazon offers no '{service}' in the region '{region}'. "
                f"Choose one of: {', '.join(offered)}."
            )
        return session.create_client(
            service,
            region,
            config=Config(
                connect_timeout=connect_timeout,
                read_timeout=read_timeout,
                retries={"mode": "standard", "total_max_attempts": attempts},
                max_pool_connections=connections,
                tcp_keepalive=True,
            ),
        )


def _partition(session: Any, region: str | None) -> str:
    """Return AWS's part of the world that a region is in, ``aws-us-gov`` for instance."""
    from botocore.exceptions import UnknownRegionError

    try:
        return str(session.get_partition_for_region(region)) if region else "aws"
    except UnknownRegionError:
        return "aws"


def _region_of_environment() -> str | None:
    return os.environ.get("AWS_DEFAULT_REGION") or os.environ.get("AWS_REGION")


@functools.cache
def _loader() -> Any:
    """Return botocore's descriptions of the services, read once: that is what takes the time."""
    from botocore.loaders import create_loader

    return create_loader()


def split_s3_uri(uri: str) -> tuple[str, str]:
    """Return bucket and key of ``s3://bucket/key``; the key may be empty.

    Raises:
        UserError: It is not such an address.
    """
    scheme, _, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme != "s3" or not bucket:
        raise UserError(f"'{uri}' is not an address in S3; write it as s3://BUCKET/PATH.")
    return bucket, key
