"""Where shards are: a folder, or a prefix of an S3 bucket."""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from datamodules.errors import DataError


class Storage(ABC):
    """Named files of one source's shards."""

    @property
    def scratch(self) -> Path | None:
        """Where to write a file that `put` then takes without copying it, if there is such a place."""
        return None

    @abstractmethod
    def location(self, name: str) -> str:
        """Path or URL of a file, for messages."""

    @abstractmethod
    def exists(self, name: str) -> bool:
        """Whether the file is there."""

    @abstractmethod
    def fetch(self, name: str, to: Path) -> None:
        """Copy a file to a path; `DataError` if that cannot be done."""

    @abstractmethod
    def put(self, path: Path, name: str) -> None:
        """Take over a file; it is no longer at `path`. `DataError` if that cannot be done."""


@dataclass(frozen=True)
class Folder(Storage):
    """A folder of this machine."""

    path: Path

    @property
    def scratch(self) -> Path:
        """The folder itself."""
        self.path.mkdir(parents=True, exist_ok=True)
        return self.path

    def location(self, name: str) -> str:
        """The file's path."""
        return str(self.path / name)

    def exists(self, name: str) -> bool:
        """Whether the file is there."""
        return (self.path / name).exists()

    def fetch(self, name: str, to: Path) -> None:
        """Copy a file; `DataError` if it cannot be read."""
        try:
            shutil.copyfile(self.path / name, to)
        except OSError as error:
            raise DataError(f"{self.location(name)}: {error.strerror}") from error

    def put(self, path: Path, name: str) -> None:
        """Move a file into the folder."""
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            path.replace(self.path / name)
        except OSError as error:
            raise DataError(f"{self.location(name)}: {error.strerror}") from error


@dataclass(frozen=True)
class Bucket(Storage):
    """A prefix of an S3 bucket, of Amazon's or any compatible server.

    Attributes:
        bucket: The bucket's name.
        prefix: What the files' keys begin with.
        endpoint: The server's URL; the environment's `AWS_ENDPOINT_URL`, else Amazon's, if None. Credentials are those
            of the environment.
    """

    bucket: str
    prefix: str
    endpoint: str | None = None

    def location(self, name: str) -> str:
        """The file's URL."""
        return f"s3://{self.bucket}/{self._key(name)}"

    def exists(self, name: str) -> bool:
        """Whether the object is there."""
        with self._requests(name) as client:
            found = client.list_objects_v2(Bucket=self.bucket, Prefix=self._key(name), MaxKeys=1)
        return any(entry["Key"] == self._key(name) for entry in found.get("Contents", ()))

    def fetch(self, name: str, to: Path) -> None:
        """Download an object."""
        with self._requests(name) as client, to.open("wb") as file:
            client.download_fileobj(self.bucket, self._key(name), file)

    def put(self, path: Path, name: str) -> None:
        """Upload a file and remove it here."""
        with self._requests(name) as client:
            client.upload_file(str(path), self.bucket, self._key(name))
        path.unlink()

    def _key(self, name: str) -> str:
        return f"{self.prefix}/{name}" if self.prefix else name

    @contextmanager
    def _requests(self, name: str) -> Iterator[Any]:
        """The client; what fails at the server or on the way to it becomes one line that names the object."""
        try:
            from boto3.exceptions import Boto3Error
            from botocore.exceptions import BotoCoreError, ClientError
        except ImportError as error:
            needed = "pip install 'region-understanding[streaming]'"
            raise DataError(f"{self.location(name)}: S3 needs boto3 ({error}): {needed}") from error
        try:
            yield self._client
        except (Boto3Error, BotoCoreError, ClientError, OSError) as error:
            raise DataError(f"{self.location(name)}: {error}") from error

    @cached_property
    def _client(self) -> Any:
        import boto3

        return boto3.client("s3", endpoint_url=self.endpoint)

    def __getstate__(self) -> dict[str, Any]:
        # a client holds connections, which no other process may use
        return {key: value for key, value in self.__dict__.items() if key != "_client"}


def open_storage(place: str, endpoint: str | None = None) -> Storage:
    """The storage at a folder's path or an `s3://bucket/prefix` URL; nothing is opened yet.

    Raises:
        DataError: The URL is of another kind, or names no bucket.
    """
    scheme, separator, rest = place.partition("://")
    if not separator:
        return Folder(Path(place))
    bucket, _, prefix = rest.partition("/")
    if scheme != "s3" or not bucket:
        raise DataError(f"{place}: shards are in a folder or at s3://bucket/prefix")
    return Bucket(bucket, prefix.strip("/"), endpoint)
