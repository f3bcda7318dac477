"""The S3 objects that our services read and write, straight in moto's S3.

``LOCALAWS_S3``, boto3's options of a client in JSON, names another S3 to keep them in: that of a
stand-in which does the rest of AWS, and leaves Comprehend and SageMaker to this one.
"""

from __future__ import annotations

import functools
import json
import os
import sys
from typing import Any

import boto3
from botocore.exceptions import ClientError
from moto.s3.exceptions import MissingBucket
from moto.s3.models import s3_backends

from localaws.protocol import ACCOUNT


class StorageError(Exception):
    """There is no such bucket or object."""


def split(uri: str) -> tuple[str, str]:
    """Return bucket and key of ``s3://bucket/key``; the key may be empty."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


def read(uri: str) -> bytes:
    """Return an object's content.

    Raises:
        StorageError: There is none.
    """
    bucket, key = split(uri)
    if elsewhere := _elsewhere():
        try:
            return bytes(elsewhere.get_object(Bucket=bucket, Key=key)["Body"].read())
        except ClientError as error:
            raise StorageError(str(error)) from None
    try:
        found = _backend().get_object(bucket, key)
    except MissingBucket:
        found = None
    if found is None:
        raise StorageError(f"There is no {uri}")
    return bytes(found.value)


def keys(uri: str) -> list[str]:
    """Return the keys that begin with the key of ``uri``, in order.

    Raises:
        StorageError: There is no such bucket.
    """
    bucket, prefix = split(uri)
    if elsewhere := _elsewhere():
        pages = elsewhere.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        try:
            return [found["Key"] for page in pages for found in page.get("Contents", [])]
        except ClientError as error:
            raise StorageError(str(error)) from None
    try:
        found, _, _ = _backend().list_objects_v2(
            _backend().get_bucket(bucket), prefix, None, None, None, max_keys=sys.maxsize
        )
    except MissingBucket:
        raise StorageError(f"There is no bucket {bucket}") from None
    return [key.name for key in found]


def write(uri: str, content: bytes) -> None:
    """Store an object; its bucket sends its notifications.

    Raises:
        StorageError: There is no such bucket.
    """
    bucket, key = split(uri)
    if elsewhere := _elsewhere():
        try:
            elsewhere.put_object(Bucket=bucket, Key=key, Body=content)
        except ClientError as error:
            raise StorageError(str(error)) from None
        return
    try:
        _backend().put_object(bucket, key, content)
    except MissingBucket:
        raise StorageError(f"There is no bucket {bucket}") from None


@functools.cache
def _elsewhere() -> Any:
    """Return a client of the S3 that is named; None where none is."""
    options = os.environ.get("LOCALAWS_S3")
    return boto3.client("s3", **json.loads(options)) if options else None


def _backend() -> Any:
    return s3_backends[ACCOUNT]["aws"]
