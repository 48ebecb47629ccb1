"""A root or a uri -> the storage that it is in.

Credentials, regions and endpoints come from the environment (AWS_*, GOOGLE_*,
AZURE_*), never from options: a uri with a password or key in it is refused.
"""

from __future__ import annotations

import os
import re
import urllib.parse
from collections.abc import Callable

from pipeline.errors import InputError
from pipeline.runtime.uri_secrets import holds_secret, is_secret, places_in
from pipeline.storage.local import LocalStorage
from pipeline.storage.storage import Storage

_REMOTE = re.compile(r"^(?!file://)[A-Za-z][A-Za-z0-9+.-]*://")

OBJECT_SCHEMES = ("s3", "s3a", "gs", "az", "abfs", "abfss", "memory")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_JSON_NAME = re.compile(r'"([^"]*)"\s*:')
_HAS_NAMES = re.compile("environment|experiment|label|dataflow_service_option")
"""Beginnings of Beam's options whose values hold names and values."""
_NAME_IN_VALUE = re.compile(r"([\w.-]+)[\"']?\s*[=:]")
_others: dict[Callable[[str], Storage | None], None] = {}


def add_storage(opened: Callable[[str], Storage | None]) -> None:
    """Registers a function for roots of other schemes: root -> storage, or None if it does not know the scheme."""
    _others[opened] = None


def open_storage(root: str) -> Storage:
    """The storage of a folder (plain path or file://) or of a prefix in a bucket (s3://, gs://, az://).

    memory://NAME/… exists in this process alone, for tests. `add_storage` registers other schemes.
    """
    scheme, rest = _split_scheme(root)
    if not scheme:
        return LocalStorage(rest)
    if scheme not in OBJECT_SCHEMES:
        return _open_other(root, scheme)
    from pipeline.storage.object_store import ObjectStorage  # obstore takes long to import

    bucket, _, prefix = rest.partition("/")
    if not bucket:
        raise InputError(f"{root} names no bucket: write {scheme}://BUCKET/FOLDER")
    prefix = "/".join(name for name in prefix.split("/") if name)
    return ObjectStorage(f"{scheme}://{bucket}" + (f"/{prefix}" if prefix else ""))


def is_within(root: str, other: str) -> bool:
    """Whether a root is the other one or lies in it, by whatever name: links are followed."""
    place, around = (_real(open_storage(each).root) for each in (root, other))
    return place == around or place.startswith(around.rstrip("/") + "/")


def _real(root: str) -> str:
    return root if _REMOTE.match(root) else os.path.realpath(root)


def split_uri(uri: str) -> tuple[str, str]:
    """(root, path) of one object, so that open_storage(root).read(path) reads it."""
    scheme, rest = _split_scheme(uri)
    if not scheme:
        folder, name = os.path.split(rest)
        return folder, name
    if scheme not in OBJECT_SCHEMES:
        folder, _, name = rest.rpartition("/")
        return f"{scheme}://{folder}", name
    bucket, _, path = rest.partition("/")
    return f"{scheme}://{bucket}", path


def _split_scheme(uri: str) -> tuple[str, str]:
    """("", absolute path) of a local uri, else (scheme, what follows "://")."""
    match = _SCHEME.match(uri)
    if not uri:
        raise InputError("the path is empty: write a folder or a uri such as s3://BUCKET/FOLDER")
    refuse_secrets(uri, f"{match[1].lower()}://…" if match else "a path or address")
    if not match:
        return "", _absolute(uri)
    scheme, rest = match[1].lower(), uri[match.end() :]
    if scheme == "file":
        host, slash, path = rest.partition("/")
        if host not in ("", "localhost") or not slash:
            raise InputError(f"{uri}: a file uri has no host; write file:///FOLDER or a plain path")
        return "", os.path.abspath(urllib.parse.unquote("/" + path))
    return scheme, rest


def _absolute(path: str) -> str:
    home, slash, _ = path.partition("/")
    if path == "~" or (slash and home.startswith("~")):
        path = os.path.expanduser(path)
        if not os.path.isabs(path):
            whose = "you have" if home == "~" else f"{home[1:]} has"
            raise InputError(f"{path}: {home} stands for no folder, since {whose} no home here; write the path in full")
    return os.path.abspath(path)


def refuse_secrets(place: str, where: str) -> None:
    """InputError if a uri, a path or an address holds a password, a key or a signature; nothing of it is repeated.

    The rule looks at the text as it stands, and again after each reading of its percent-escapes:

    1. Between a colon and an @ stands a password, if the colon comes before the first slash. The slashes of :// do not
       count. So these hold none: `runs/a:b@c`, `./a:b@c`, `s3://bucket/a:b@c`. A port before an @ cannot be told from a
       password, and counts as one: `hdfs://user:1234/pw@host`. The @ of `image@sha256:` is no such @.
    2. After a scheme, a key may also stand before an @ without a colon: `s3://KEY@bucket`. Names of containers and
       users may stand there too: `abfss://container@account`, `hdfs://me@namenode`. Behind a bucket's name, a colon is
       enough, since buckets have no port: `s3://KEY:SECRET`.
    3. A parameter of a query lets its bearer in if its name says so: `?sig=`, `?X-Amz-Signature=`, `#access_token=`.
       The name of a local file may hold a question mark: it has no query.

    Args:
      where: names the option or the place, for the message.
    """
    if holds_secret(place):
        raise _held(where)


def refuse_secrets_of_option(name: str, value: str, where: str) -> None:
    """`refuse_secrets` for an option, whose value may be a list with commas, or JSON.

    Names may say too that a secret follows: --s3_secret_access_key=..., {"AWS_SECRET_ACCESS_KEY": ...}, and in options
    of Beam's that hold other names: --environment_option=process_variables=AWS_SECRET_ACCESS_KEY=...
    """
    names = [name]
    if value.lstrip().startswith(("{", "[")):
        names += _JSON_NAME.findall(value)
    if _HAS_NAMES.match(name.replace("-", "_").lstrip("_")):
        names += _NAME_IN_VALUE.findall(value)
    if any(map(is_secret, names)) or any(map(holds_secret, places_in(value))):
        raise _held(where)


def _held(where: str) -> InputError:
    return InputError(
        f"{where} holds a password, a key or a signature, which would be kept and shown: take it out, and set"
        " AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (for s3://), GOOGLE_APPLICATION_CREDENTIALS (gs://), or"
        " AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN (az://) in the"
        " environment. If it is a local path with a colon and an @, write it with ./ before it"
    )


def _open_other(root: str, scheme: str) -> Storage:
    for opened in _others:
        if storage := opened(root):
            return storage
    known = ", ".join(f"{name}://" for name in OBJECT_SCHEMES)
    raise InputError(f"{root}: {scheme}:// is not supported; supported are a plain path, file://, {known}")


def is_remote(uri: str) -> bool:
    return bool(_REMOTE.match(uri))
