"""Storage in a bucket (s3://, gs://, az://) or, for tests, in memory, through obstore."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import errno
import functools
import io
import os
import threading
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

import obstore.exceptions
import obstore.store

from pipeline.errors import ArtifactError, InputError, PipelineError
from pipeline.storage.storage import NO_CONDITIONAL_CREATE, Data, Names, ObjectInfo, Storage, checked_path
from pipeline.storage.world import world

_READ_AHEAD = 8 << 20
_REFUSED = (
    PermissionError,
    ValueError,
    obstore.exceptions.PermissionDeniedError,
    obstore.exceptions.UnauthenticatedError,
)
"""Errors that the user has to mend: credentials, or a name that no object may have."""


_VARIABLES = {
    ("s3", "credentials"): "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (AWS_SESSION_TOKEN with temporary ones), or"
    " AWS_SKIP_SIGNATURE=true for a public bucket",
    ("s3", "address"): "check the network, AWS_REGION, and AWS_ENDPOINT_URL for a server of your own",
    ("gs", "credentials"): "set GOOGLE_APPLICATION_CREDENTIALS to the file of a key",
    ("gs", "address"): "check the network",
    ("az", "credentials"): "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
    ("az", "address"): "check the network and AZURE_STORAGE_ACCOUNT_NAME",
}
"""What to check, by kind of store and kind of problem."""
_NO_CREDENTIALS = (
    "Missing AccessKeyId",
    "Missing SecretAccessKey",
    "Account must be specified",
    "/latest/api/token",
    "/latest/meta-data",
    "169.254.",
    "metadata.google.internal",
    "/metadata/identity",
)
"""Signs of missing credentials in messages: half a key, or the addresses that clouds serve to their own machines."""
_CONFLICT_WAITS = (0.05, 0.1, 0.2, 0.5)
"""Seconds between attempts if a store says that another write is under way; obstore does not retry then."""
_NOT_VALID = ("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "XAdminUserNotFound")
_PATIENCE = datetime.timedelta(seconds=10)
_RETRIES: Any = {
    "max_retries": 40,
    "retry_timeout": datetime.timedelta(minutes=3),
    "backoff": {
        "init_backoff": datetime.timedelta(seconds=0.2),
        "max_backoff": datetime.timedelta(seconds=15),
        "base": 3,
    },
}
"""A run survives two minutes without its store. (With obstore's default backoff, ten retries take two seconds.) Lost
connections, server errors and slow answers are retried; refusals are not."""
_FEW_RETRIES: Any = {"max_retries": 4, "retry_timeout": _PATIENCE / 2}
"""For operations that a store may not support at all, and answer by a server error."""

_stores: dict[str, Any] = {}
_stores_lock = threading.Lock()


def _open_store(bucket: str, conditional: bool = False) -> Any:
    """The client of a bucket, one for each process: all storages share its connections and credentials.

    Only the bucket is parsed as a url, so that keys may contain %, # and ?.
    """
    in_memory = bucket.startswith("memory://")
    name = f"{bucket} for conditional writes" if conditional and not in_memory else bucket
    with _stores_lock:
        if name not in _stores:
            try:
                if in_memory:
                    _stores[name] = obstore.store.MemoryStore()
                else:
                    store = obstore.store.from_url(bucket, retry_config=_FEW_RETRIES if conditional else _RETRIES)
                    _check(bucket)
                    _stores[name] = store
            except PipelineError:
                raise
            except Exception as error:
                raise _explained(bucket, error) or InputError(f"{bucket}: {_first_line(error)}") from error
        return _stores[name]


def _check(bucket: str) -> None:
    """Sends one request with few retries, so that a wrong name, address or credentials are reported within seconds.

    The client itself retries for minutes.
    """
    store = obstore.store.from_url(bucket, retry_config=_FEW_RETRIES)
    errors: list[PipelineError | None] = []

    def ask() -> None:
        try:
            store.get("beam2vec-asks-whether-anything-is-here")
        except Exception as error:
            errors.append(_explained(bucket, error))

    asking = threading.Thread(target=ask, name="ask-bucket", daemon=True)
    asking.start()
    asking.join(_PATIENCE.total_seconds())
    if asking.is_alive():
        raise ArtifactError(f"{bucket}: no answer in {_PATIENCE.seconds} s; {_advice(bucket, 'address')}")
    for explained in errors:
        if explained:
            raise explained


def _explained(bucket: str, error: BaseException) -> PipelineError | None:
    """An error about the bucket in plain words, with the variables to check; None if it is about an object."""
    text = str(error)
    if "NoSuchBucket" in text:
        return InputError(f"{bucket}: there is no such bucket")
    if "list request" in text and "404 Not Found" in text:
        return _no_bucket(bucket)
    if any(sign in text for sign in _NO_CREDENTIALS):
        return InputError(f"{bucket}: there are no credentials; {_advice(bucket, 'credentials')}")
    if any(code in text for code in _NOT_VALID):
        return InputError(f"{bucket}: the credentials are not valid; {_advice(bucket, 'credentials')}")
    if "incorrectly configured region" in text or "AuthorizationHeaderMalformed" in text:
        return InputError(f"{bucket}: the bucket is in another region; set AWS_REGION")
    if "builder error" in text and os.environ.get("AWS_ENDPOINT_URL", "").startswith("http:"):
        return InputError(f"{bucket}: AWS_ENDPOINT_URL is not https; set AWS_ALLOW_HTTP=true if that is meant")
    if "error sending request" in text:
        return ArtifactError(f"{bucket}: {_first_line(error)}; {_advice(bucket, 'address')}")
    return None


def _no_bucket(bucket: str) -> InputError:
    """The error for a server that has no such bucket, or is no object store."""
    return InputError(
        f"{bucket}: there is no such bucket, or the server is no object store; {_advice(bucket, 'address')}"
    )


def _advice(bucket: str, about: str) -> str:
    family = {"s3a": "s3", "abfs": "az", "abfss": "az"}.get(scheme := bucket.partition(":")[0], scheme)
    return _VARIABLES[family, about]


@dataclasses.dataclass(frozen=True)
class ObjectStorage(Storage):
    """A prefix of a bucket, through obstore, which retries lost requests for 3 minutes."""

    root: str

    @property
    def server(self) -> object | None:
        return self._store

    @functools.cached_property
    def _place(self) -> tuple[str, str]:
        """(scheme://bucket, prefix with its closing "/", or "")."""
        scheme, _, rest = self.root.partition("://")
        bucket, _, prefix = rest.partition("/")
        return f"{scheme}://{bucket}", f"{prefix}/" if prefix else ""

    @property
    def _store(self) -> Any:
        return _open_store(self._place[0])

    @property
    def _conditional_store(self) -> Any:
        """The client for conditional writes, which a store may not support."""
        return _open_store(self._place[0], conditional=True)

    def _key(self, path: str) -> str:
        return self._place[1] + checked_path(path)

    def walk(self, prefix: str = "") -> Iterator[ObjectInfo]:
        root = self._place[1]
        folder = root + (checked_path(prefix).rstrip("/") + "/" if prefix else "")
        with self._errors(prefix):
            for page in self._store.list(folder or None, chunk_size=1000):
                for item in page:
                    yield ObjectInfo(item["path"][len(root) :], item["size"], _version(item))

    def folders(self, prefix: str) -> Names:
        folder = self._key(prefix).rstrip("/") + "/"
        with self._errors(prefix):
            prefixes = self._store.list_with_delimiter(folder)["common_prefixes"]
        return sorted(name.rstrip("/").rpartition("/")[2] for name in prefixes)

    def info(self, path: str) -> ObjectInfo | None:
        with self._errors(path):
            try:
                item = self._store.head(self._key(path))
            except FileNotFoundError:
                return None
        return ObjectInfo(path, item["size"], _version(item))

    def find(self, path: str) -> bytes | None:
        contents = self._find(path)
        return contents[0] if contents else None

    def _find(self, path: str) -> tuple[bytes, dict[str, Any]] | None:
        with self._errors(path):
            try:
                result = self._store.get(self._key(path))
                return bytes(result.bytes()), result.meta
            except FileNotFoundError:
                return None

    def read_range(self, path: str, start: int, length: int) -> bytes:
        with self._errors(path):
            if length <= 0:
                return b""
            try:
                return bytes(self._store.get_range(self._key(path), start=start, length=length))
            except obstore.exceptions.BaseError:
                info = self.info(path)
                if info and start >= info.size:  # stores refuse a range that begins behind the end
                    return b""
                raise

    def open(self, path: str) -> BinaryIO:
        info = self.info(path)
        if info is None:
            raise ArtifactError(f"{self.uri(path)} does not exist")
        return cast(BinaryIO, io.BufferedReader(_RangeReader(self, path, info.size), _READ_AHEAD))

    def put(self, path: str, data: Data) -> None:
        with self._errors(path):
            for wait in _CONFLICT_WAITS:
                try:
                    self._store.put(self._key(path), _bytes(data))
                    return
                except FileNotFoundError as error:
                    raise _explained(self._place[0], error) or _no_bucket(self._place[0]) from error
                except obstore.exceptions.BaseError as error:
                    if "409 Conflict" not in str(error):
                        raise
                world().sleep(wait)
            self._store.put(self._key(path), _bytes(data))

    def create(self, path: str, data: Data) -> bool:
        for wait in (*_CONFLICT_WAITS, 0.0):
            if self._create(path, data):
                return True
            if self.info(path) is not None:
                return False
            # A store also says that the object exists (409) where two writes met and neither landed.
            world().sleep(wait)
        raise ArtifactError(f"{self.uri(path)}: the store says that it exists, and that it does not: try again later")

    def _create(self, path: str, data: Data) -> bool:
        """Whether the object was created; False if the store says that there is one."""
        with self._errors(path):
            try:
                self._conditional_store.put(self._key(path), _bytes(data), mode="create")
            except (FileExistsError, obstore.exceptions.AlreadyExistsError):
                return False
            except FileNotFoundError as error:
                raise _explained(self._place[0], error) or _no_bucket(self._place[0]) from error
            except (NotImplementedError, obstore.exceptions.BaseError) as error:
                if _is_unknown_to_store(error):
                    raise InputError(f"{self.uri(path)}: {NO_CONDITIONAL_CREATE}") from error
                raise
        return True

    def swap(self, path: str, old: bytes, new: Data) -> bool:
        current = self._find(path)
        if current is None or current[0] != old:
            return False
        mode = {name: current[1][name] for name in ("e_tag", "version") if current[1].get(name)}
        replaced = self._replace(path, new, mode)
        if replaced is None:  # then a write of another process since `_find` goes unnoticed
            self.put(path, new)
        return replaced is not False

    def _replace(self, path: str, new: Data, mode: dict[str, Any]) -> bool | None:
        """Whether the version that `mode` names was there and is replaced; None where a store does not support it."""
        with self._errors(path):
            try:
                self._conditional_store.put(self._key(path), _bytes(new), mode=mode)
            except (obstore.exceptions.PreconditionError, FileNotFoundError):
                return False
            except (NotImplementedError, obstore.exceptions.BaseError) as error:
                if _is_unknown_to_store(error):
                    return None
                raise
        return True

    def refuses_stale_swap(self, path: str) -> bool:
        return self._replace(path, b"", {"e_tag": '"00000000000000000000000000000000"', "version": "1"}) is False

    def delete(self, path: str) -> None:
        with self._errors(path), contextlib.suppress(FileNotFoundError):
            self._store.delete(self._key(path))

    @contextlib.contextmanager
    def _errors(self, path: str) -> Iterator[None]:
        """obstore's exceptions -> one line that names the uri."""
        try:
            yield
        except PipelineError:
            raise
        except (*_REFUSED, obstore.exceptions.BaseError, OSError, NotImplementedError) as error:
            if explained := _explained(self._place[0], error):
                raise explained from error
            if isinstance(error, FileNotFoundError):
                raise ArtifactError(f"{self.uri(path)} does not exist") from error
            kind = InputError if isinstance(error, _REFUSED) else ArtifactError
            raise kind(f"{self.uri(path)}: {_first_line(error)}") from error


def _is_unknown_to_store(error: BaseException) -> bool:
    """Whether the store does not support the operation (S3 answers with status 501)."""
    return isinstance(error, (NotImplementedError, obstore.exceptions.NotSupportedError)) or (
        "501 Not Implemented" in str(error) or "<Code>NotImplemented</Code>" in str(error)
    )


def _bytes(data: Data) -> Data:
    """The buffer in the form that obstore accepts: one dimension of unsigned bytes."""
    view = memoryview(data)
    return view.cast("B") if view.nbytes else b""


def _version(item: dict[str, Any]) -> str:
    return str(item.get("e_tag") or item.get("version") or item["last_modified"].isoformat())


def _first_line(error: BaseException) -> str:
    """obstore's message, without the dump of its internals that follows."""
    return str(error).split("\n", 1)[0]


class _RangeReader(io.RawIOBase):
    """A seekable raw file over read_range."""

    def __init__(self, storage: Storage, path: str, size: int):
        super().__init__()
        self._storage, self._path, self._size, self._at = storage, path, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self._at = base + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        length = min(len(view), self._size - self._at)
        if length <= 0:
            return 0
        data = self._storage.read_range(self._path, self._at, length)
        view[: len(data)] = data
        self._at += len(data)
        return len(data)
