"""Where the registry keeps its objects: a bucket in S3, or a folder of this machine."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from common.aws import AwsError, aws_errors, client

CONNECTIONS = 8
_LOST_RACE = {"PreconditionFailed", "ConditionalRequestConflict"}
ANYWAY = "*"


def is_folder(place: str) -> bool:
    """Whether a place is a folder of this machine: a path with a slash; else it is a bucket."""
    return "/" in place


def address(place: str, key: str) -> str:
    """Return where an object is, ``s3://…`` or a path."""
    return f"{place}/{key}" if is_folder(place) else f"s3://{place}/{key}"


_TEXTS = (".csv", "/dataset.json")


class Storage(Protocol):
    """Objects by key; all raise :class:`~common.aws.AwsError` or ``OSError`` on trouble.

    Attributes:
        name: The bucket, or the path of the folder.
    """

    name: str

    def uri(self, key: str) -> str:
        """Return the address of an object."""

    def read(self, key: str) -> tuple[bytes, str] | None:
        """Return content and version of an object, None where there is none."""

    def write(self, key: str, content: bytes, version: str | None = ANYWAY) -> bool:
        """Write an object; False, and nothing is written, where its version is another by now.

        Args:
            key: Its key.
            content: What to write.
            version: As it was read; None: there is none yet; :data:`ANYWAY`: whatever is there.
        """

    def delete(self, key: str) -> None:
        """Delete an object; none is no error."""

    def folders(self, prefix: str) -> list[str]:
        """Return the names of the folders below a prefix that ends in a slash."""


class Bucket:
    """See :class:`Storage`.

    Args:
        name: The bucket.
        s3: Client of S3; None makes one.
    """

    def __init__(self, name: str, s3: Any = None) -> None:
        self.name = name
        self._s3 = s3 or client("s3", connections=CONNECTIONS)

    def uri(self, key: str) -> str:
        """Return ``s3://…``."""
        return f"s3://{self.name}/{key}"

    def read(self, key: str) -> tuple[bytes, str] | None:
        """Read an object; its version is its ETag."""
        try:
            with self._errors(f"read '{self.uri(key)}'"):
                answer = self._s3.get_object(Bucket=self.name, Key=key)
                return answer["Body"].read(), answer["ETag"]
        except AwsError as error:
            if error.code == "NoSuchKey":
                return None
            raise

    def write(self, key: str, content: bytes, version: str | None = ANYWAY) -> bool:
        """Write by one of S3's conditional writes."""
        condition = {"IfMatch": version} if version else {"IfNoneMatch": "*"}
        # By the tag the bucket knows what people wrote, and for how long to keep it.
        tags = {"Tagging": "content=texts"} if key.endswith(_TEXTS) else {}
        try:
            with self._errors(f"write '{self.uri(key)}'"):
                self._s3.put_object(
                    Bucket=self.name,
                    Key=key,
                    Body=content,
                    **tags,
                    **({} if version == ANYWAY else condition),
                )
        except AwsError as error:
            if error.code in _LOST_RACE:
                return False
            raise
        return True

    def delete(self, key: str) -> None:
        """Delete an object."""
        with self._errors(f"delete '{self.uri(key)}'"):
            self._s3.delete_object(Bucket=self.name, Key=key)

    def folders(self, prefix: str) -> list[str]:
        """List the common prefixes."""
        with self._errors(f"list '{self.uri(prefix)}'"):
            pages = self._s3.get_paginator("list_objects_v2").paginate(
                Bucket=self.name, Prefix=prefix, Delimiter="/"
            )
            return [
                item["Prefix"].removeprefix(prefix).rstrip("/")
                for page in pages
                for item in page.get("CommonPrefixes", [])
            ]

    @contextlib.contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        """Do as :func:`common.aws.aws_errors`; a bucket that is not there is told apart."""
        try:
            with aws_errors(doing):
                yield
        except AwsError as error:
            if error.code not in ("NoSuchBucket", "ParamValidationError"):
                raise
            raise AwsError(
                f"There is no bucket '{self.name}' in this account. The pipeline's is the "
                "'artifact_bucket' of `terraform output`.",
                error.code,
            ) from error


class Folder:
    """See :class:`Storage`; a file takes the place of the one before as a whole.

    Args:
        path: The folder; it need not be there before the first write.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path)

    def uri(self, key: str) -> str:
        """Return the path."""
        return str(self.path / key)

    def read(self, key: str) -> tuple[bytes, str] | None:
        """Read a file; its version is its hash."""
        try:
            content = (self.path / key).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return content, hashlib.sha256(content).hexdigest()

    def write(self, key: str, content: bytes, version: str | None = ANYWAY) -> bool:
        """Write a file, one process at a time."""
        from filelock import FileLock

        target = self.path / key
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path / ".lock"):
            found = None if version == ANYWAY else self.read(key)
            if version != ANYWAY and (found[1] if found else None) != version:
                return False
            handle, name = tempfile.mkstemp(dir=target.parent, prefix=".")
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(target)
        return True

    def delete(self, key: str) -> None:
        """Delete a file."""
        (self.path / key).unlink(missing_ok=True)

    def folders(self, prefix: str) -> list[str]:
        """List the folders in a folder."""
        with contextlib.suppress(FileNotFoundError):
            return sorted(item.name for item in (self.path / prefix).iterdir() if item.is_dir())
        return []
