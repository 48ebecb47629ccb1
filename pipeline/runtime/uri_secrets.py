"""Finds passwords, keys and signatures in uris, and masks them in text.

SECURITY.md has the rule for users; `refuse_secrets` in `pipeline/storage/open_storage.py` applies it.
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Iterator

_SCHEME = r"(?<![A-Za-z0-9+.-])[A-Za-z][A-Za-z0-9+.-]*://"
_BEGINS = re.compile(rf"[\s@]*({_SCHEME})?")
"""What may come before host or path: the @ of a list file, and a scheme."""
_WITH_ACCOUNT = ("abfs", "abfss", "wasb", "wasbs", "hdfs")
"""Schemes with a name and @ before the host: a container, or a user."""
_WITH_BUCKET = ("s3", "s3a", "gs", "az", "abfs", "abfss")
"""Schemes with a bucket in place of a host, so without a port."""
_AT = re.compile(r"@(?!sha256:)")
"""An @, except the one before the digest of a container image."""
_NAMES = re.compile(r"[?#&;]([^=?#&;]*)=")
_SECRET = re.compile(
    r"signature|credential|token(?!iz|is)|secret|passw|pwd|access_?id|authorization|hmac|connection[_-]?string"
    r"|(?:access|account|private|shared|api)[_-]?key|^(?:sig|sas|key|auth|pass|pw)$",
    re.IGNORECASE,
)
"""Names whose value gives access to anybody who has it: X-Amz-Signature, AWSAccessKeyId, sig (Azure), ..."""
_QUERY = re.compile(r"[?#]|%(?:25)*(?:3f|23)", re.IGNORECASE)
_ODD_PASSWORD = r"[^\s'\"<>/?#@,:]*:(?![0-9]*(?:[\s'\"<>/,:]|$))(?=\S)(?:(?!://)[^@\n]){1,200}@"
"""A user and a password that has blanks or quotes in it, with more text behind."""
_IN_TEXT = re.compile(rf"({_SCHEME})((?:{_ODD_PASSWORD})?(?:(?!,{_SCHEME})[^\s'\"<>])*)")


def is_secret(name: str) -> bool:
    """Whether an option or a query parameter of this name holds a password, a key or a signature."""
    return bool(_SECRET.search(name))


def places_in(value: str) -> Iterator[str]:
    """Everything in an option's value that may be a uri or path: all of it (passwords have commas), and each part."""
    for place in re.split(rf",(?=[\s@]*{_SCHEME})", value):
        yield place
        yield from place.split(",")[1:]
        yield from (place[match.start() :] for match in re.finditer(_SCHEME, place) if match.start())


def holds_secret(place: str) -> bool:
    """Whether a uri, path or address gives access to anybody who reads it, as it is or with percent-escapes decoded."""
    if not any(mark in place for mark in "@:%"):  # most are paths, and there may be many
        return False
    while not _lets_in(place):
        plain = urllib.parse.unquote(place)
        if plain == place:
            return False
        place = plain
    return True


def _lets_in(place: str) -> bool:
    scheme = rest = ""
    if begin := _BEGINS.match(place):  # always true
        scheme, rest = (begin[1] or "").lower().removesuffix("://"), place[begin.end() :]
    if scheme not in ("", "file"):
        rest = rest.lstrip("/").removeprefix("***@")  # as `masked` leaves it
    host = re.split("[/?#]", rest, maxsplit=1)[0]
    colon = host.find(":")
    at = max((match.start() for match in _AT.finditer(rest)), default=-1)
    if -1 < colon < at - 1:
        return True
    if scheme and "@" in host and scheme not in _WITH_ACCOUNT:
        return True
    if scheme in _WITH_BUCKET and colon >= 0 and "@" not in host:
        return True
    is_address = scheme not in ("", "file") or colon >= 0
    return is_address and any(map(is_secret, _NAMES.findall(rest)))


def masked(text: str) -> str:
    """The text with *** in place of each password, key and signature in a uri."""
    return _IN_TEXT.sub(_masked, text) if "://" in text else text


def _masked(uri: re.Match) -> str:
    scheme, rest = uri[1], uri[2]
    if not holds_secret(scheme + rest.rstrip(":")):  # as in "s3://bucket: there is no such bucket"
        return uri[0]
    without_user = "***" + (rest[rest.rfind("@") :] if "@" in rest else "")
    for kept in (_without_query(rest), without_user, _without_query(without_user)):
        if not holds_secret(scheme + kept):
            return scheme + kept
    return scheme + "***"


def _without_query(rest: str) -> str:
    return _QUERY.split(rest, maxsplit=1)[0] + "?***"
