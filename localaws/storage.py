"""The S3 objects that our services read and write, straight in moto's S3."""

from __future__ import annotations

import sys
from typing import Any

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
    try:
        _backend().put_object(bucket, key, content)
    except MissingBucket:
        raise StorageError(f"There is no bucket {bucket}") from None


def _backend() -> Any:
    return s3_backends[ACCOUNT]["aws"]
