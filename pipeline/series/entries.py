"""The entries of a series' log: what was decided, what became of it, and the figures by which that was judged.

    log/00000000000000000012.json    made by conditional create of the next number, sealed as run.json is, never changed

An entry's number is its place in the order, and the order is the truth. Of two commands that make the same number one
wins; the other reads what the winner wrote, and thinks again.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from pipeline.errors import ArtifactError, InputError
from pipeline.runtime.shown_text import shown
from pipeline.storage.records import Digest, Number, sealed_json, unsealed_json

VERSION = 1
"""Of the log. A series of another version is not touched."""
FOLDER = "log"
DIGITS = 20
MODES = ("update", "warm", "cold")
COLD, WARM, UPDATE = "cold", "warm", "update"

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=255, pattern="^[^/]+$")]
Folder = Annotated[str, msgspec.Meta(pattern="^generations/[^/]+$")]


class Parent(msgspec.Struct, frozen=True):
    """The generation that one goes on from, by name and by content."""

    name: Name
    folder: Folder
    model: Digest


class Figure(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a gate has seen: written once, and never computed again."""

    gate: str
    value: float | None = None
    """None: there was nothing to compare with"""
    low: float | None = None
    high: float | None = None
    """the bounds that the value was compared with; None: there is none"""
    verdict: str = "passed"
    """passed, warned or refused"""
    why: str = ""
    """for people"""


class Entry(msgspec.Struct, frozen=True, kw_only=True, tag_field="entry"):
    """What all entries have. `at` (UTC) and `who` are for people: nothing is decided by them."""

    version: int = VERSION
    number: Number = 0
    at: float = 0.0
    who: str = ""
    token: str = ""
    """random, so that a writer whose answer was lost knows its own entry"""


class Policy(Entry, frozen=True, kw_only=True, tag="policy"):
    """How a series is made, from here on."""

    root: str
    """what paths of files are relative to"""
    by: str = ""
    done: str = "_SUCCESS"
    pattern: str = "*"
    mode: str = UPDATE
    retrain_every: Number = 7
    gates: tuple[str, ...] = ()
    """those that refuse; the others only warn"""
    pairs: tuple[str, ...] = ()
    keep_days: Number = 7
    forget: tuple[str, ...] = ()
    """patterns of files that no generation reads any more"""
    options: dict[str, Any] = {}
    """of training, as they were given; the others have their defaults"""


class Decided(Entry, frozen=True, kw_only=True, tag="decided"):
    """A generation that will be made."""

    name: Name
    partition: str
    """whose text is new in it; "": none, it is made to forget"""
    folder: Folder
    mode: str
    follows: str = ""
    """folder of the generation that was current; the chain of text"""
    parent: Parent | None = None
    """the generation whose model it goes on from; None for a cold one"""
    options: dict[str, Any] = {}
    """all that decide bytes, with their values"""
    first_options: dict[str, Any] = {}
    """of the update with which a retrain begins"""
    manifest: str
    """path of the list of its files"""
    manifest_digest: Digest
    files: Number
    """of the partition"""
    bytes: Number
    fingerprint: str
    """of the partition's files, see `partitions.Fingerprint`"""
    forced: bool = False
    """whether gates only warn"""
    forget: tuple[str, ...] = ()
    """the policy's patterns of files that are not read"""


class Void(Entry, frozen=True, kw_only=True, tag="void"):
    """A decided generation cannot be made: its partition is due again."""

    folder: Folder
    why: str


class Promoted(Entry, frozen=True, kw_only=True, tag="promoted"):
    """A generation is what is current."""

    name: Name
    folder: Folder
    model: Digest
    figures: tuple[Figure, ...] = ()


class Refused(Entry, frozen=True, kw_only=True, tag="refused"):
    """A generation will not be current; its text waits for a person."""

    name: Name
    folder: Folder
    why: str
    figures: tuple[Figure, ...] = ()


class RolledBack(Entry, frozen=True, kw_only=True, tag="rolled_back"):
    """An older generation is current again; those after it are withdrawn, and their text waits for a person."""

    name: Name
    folder: Folder
    withdrawn: tuple[str, ...]
    """folders"""


class Released(Entry, frozen=True, kw_only=True, tag="released"):
    """The text of a refused or withdrawn partition is due again."""

    partition: Name
    forced: bool = False


class Dropped(Entry, frozen=True, kw_only=True, tag="dropped"):
    """The text of a refused or withdrawn partition is never taken."""

    partition: Name


AnyEntry = Policy | Decided | Void | Promoted | Refused | RolledBack | Released | Dropped


def path_of(number: int) -> str:
    return f"{FOLDER}/{number:0{DIGITS}}.json"


def to_json(entry: Entry) -> bytes:
    return sealed_json(msgspec.to_builtins(entry))


def from_json(data: bytes, uri: str) -> AnyEntry:
    """The entry in a file of the log.

    Raises:
      InputError: it is of another version; ArtifactError: it is damaged.
    """
    body = unsealed_json(data)
    if body is None:
        raise ArtifactError(f"{uri} is damaged", "restore it from a copy: the log is what the series is")
    if body.get("version") != VERSION:
        raise InputError(
            f"{uri} has version {shown(body.get('version'))} of the log, this beam2vec reads {VERSION}: use the version"
            " of beam2vec that wrote it"
        )
    try:
        return msgspec.convert(body, AnyEntry)
    except msgspec.ValidationError as error:
        raise ArtifactError(f"{uri} is damaged ({shown(error)})", "restore it from a copy") from error
