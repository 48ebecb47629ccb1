"""Records of finished work: a small JSON file for each piece of work, written after its artefacts.

    records/STAGE/KEY/NAME.json      KEY: the first 8 digits of the stage key

A piece of work is done if its record exists, has the present stage key, and agrees with its artefacts. So a crash
between artefact and record costs that piece of work, never correctness. Two workers that do the same piece write the
same bytes; pieces under other keys are in other folders.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Annotated, Any, BinaryIO, TypeVar, cast

import msgspec

from pipeline.errors import ArtifactError
from pipeline.runtime.process import each
from pipeline.runtime.shown_text import shown
from pipeline.storage.open_storage import is_remote, open_storage
from pipeline.storage.storage import Data, Storage

FOLDER = "records"
KEY_DIGITS = 8
"""Digits of a stage key in paths: enough to keep the keys of one output apart."""
_TOGETHER = 256
"""Records that are read from a store in parallel."""
_MAX_BYTES = 64 << 20
"""Most bytes of a record; a larger file is not one."""
_DELETE = "delete it and start the run again"
_PIECE_BYTES = 8 << 20
"""Bytes of an artefact that are read at once."""

Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Digest = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=255, pattern="^[^/]+$")]
_Path = Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]
_Key = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]
Numbers = TypeVar("Numbers")


@dataclasses.dataclass(frozen=True)
class Artifact:
    """A stored object: its path in the output, the SHA-256 (hex) of its bytes, and their number."""

    path: _Path
    digest: Digest
    size: Number
    root: str = ""
    """the output of the other run that it is in, else ""; never in a record"""


@dataclasses.dataclass(frozen=True)
class Record:
    """What one piece of a stage has made: artefacts, and numbers about them.

    `numbers` holds what later stages and reports need (tokens, lines, …), as JSON values; NumPy scalars become plain
    numbers.
    """

    stage: _Name
    name: _Name
    key: _Key
    artifacts: tuple[Artifact, ...] = ()
    numbers: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def path(self) -> str:
        return record_path(self.stage, self.key, self.name)

    @property
    def artifact(self) -> Artifact:
        """The first artefact, often the only one; ArtifactError if the record names none."""
        if not self.artifacts:
            raise ArtifactError(f"{self.path} is damaged (it names no artefact)", _DELETE)
        return self.artifacts[0]

    def read(self, kind: type[Numbers]) -> Numbers:
        """The numbers as an object of `kind`; ArtifactError if they do not fit it.

        Args:
          kind: a dataclass with the names and types of the numbers.
        """
        try:
            return msgspec.convert(self.numbers, kind)
        except msgspec.ValidationError as error:
            raise ArtifactError(f"{self.path} is damaged ({shown(error)})", _DELETE) from error


def record_path(stage: str, key: str, name: str) -> str:
    if not stage or not name or "/" in stage + name:
        raise ValueError(f"a record's stage and name are single parts of a path, not {stage!r}, {name!r}")
    return f"{stage_folder(stage, key)}/{name}.json"


def stage_folder(stage: str, key: str) -> str:
    """The folder of a stage's records under a key."""
    return f"{FOLDER}/{stage}/{key[:KEY_DIGITS]}"


def canonical_json(value: Any) -> bytes:
    """JSON in a canonical form: sorted keys, no spaces, no NaN; NumPy scalars as plain numbers."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False, default=_plain
    ).encode()


def sealed_json(body: dict[str, Any]) -> bytes:
    """Readable JSON of `body` with one more member, the SHA-256 of the others, by which damage is detected."""
    body = json.loads(canonical_json(body))
    body["digest"] = hashlib.sha256(canonical_json(body)).hexdigest()
    return json.dumps(body, indent=1).encode() + b"\n"


def unsealed_json(data: bytes) -> dict[str, Any] | None:
    """The body that `sealed_json` wrote; None if the text is not such JSON, or was changed."""
    try:
        body = json.loads(data)
        digest = body.pop("digest")
        return body if digest == hashlib.sha256(canonical_json(body)).hexdigest() else None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _plain(value: Any) -> Any:
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        return value.item()
    raise TypeError(f"{value!r} of type {type(value).__name__} has no place in JSON")


@dataclasses.dataclass(frozen=True)
class Records:
    """The records of one output, and their artefacts. Picklable."""

    storage: Storage

    def write_artifact(self, path: str, data: Data) -> Artifact:
        """Stores the bytes; the result belongs in a record."""
        self.storage.put(path, data)
        view = memoryview(data)
        return Artifact(path, hashlib.sha256(view).hexdigest(), view.nbytes)

    def stream_artifact(self, path: str, write: Callable[[BinaryIO], object]) -> Artifact:
        """Stores what `write` writes to the file that it is passed; for artefacts larger than memory."""
        passed: list[_Measured] = []

        def measured(file: BinaryIO) -> None:
            passed.append(_Measured(file))
            write(cast(BinaryIO, passed[-1]))

        self.storage.write(path, measured)
        return Artifact(path, passed[-1].digest.hexdigest(), passed[-1].bytes)

    def commit(self, record: Record) -> None:
        """Stores the record, so that the work counts as done; its artefacts have to be stored already."""
        self.storage.put(record.path, _to_json(record))

    def load(self, stage: str, name: str, key: str) -> Record | None:
        """The record, if it exists, is whole, and has this stage key; its artefacts are not checked."""
        data = self.storage.find(record_path(stage, key, name))
        record = _from_json(data) if data is not None else None
        if record is None or (record.stage, record.name, record.key) != (stage, name, key):
            return None
        return record

    def has_any(self, stage: str, key: str) -> bool:
        """Whether anything is recorded of a stage under this key."""
        return next(self.storage.walk(stage_folder(stage, key)), None) is not None

    def valid(self, stage: str, name: str, key: str, check: str = "size") -> Record | None:
        """Like `load`; None also if an artefact is missing, or has another "size" or "digest" than recorded."""
        record = self.load(stage, name, key)
        if record is None or any(self.damage(artifact, check) for artifact in record.artifacts):
            return None
        return record

    def storage_of(self, artifact: Artifact) -> Storage:
        """The storage that the artefact is in: this output, or that of another run."""
        return open_storage(artifact.root) if artifact.root else self.storage

    def uri(self, artifact: Artifact) -> str:
        """The artefact's full name."""
        return self.storage_of(artifact).uri(artifact.path)

    def damage(self, artifact: Artifact, check: str = "digest") -> str | None:
        """What is wrong with an artefact, in words that follow its name; None if it is sound."""
        if check not in ("size", "digest"):
            raise ValueError(f"check is size or digest, not {check!r}")
        storage = self.storage_of(artifact)
        digest = _digest(storage, artifact) if check == "digest" else None
        if digest is None:
            info = storage.info(artifact.path)
            if info is None:
                return "is missing"
            if info.size != artifact.size:
                return f"has {info.size} bytes where its record says {artifact.size}"
        return _compare(digest, artifact.digest) if digest else None

    def read(self, artifact: Artifact) -> bytes:
        """The artefact's bytes, after a check of size and digest; ArtifactError names the artefact and the remedy."""
        data = self.storage_of(artifact).find(artifact.path)
        if data is None:
            wrong: str | None = "is missing"
        elif len(data) != artifact.size:
            wrong = f"has {len(data)} bytes where its record says {artifact.size}"
        else:
            wrong = _compare(hashlib.sha256(data).hexdigest(), artifact.digest)
        if data is None or wrong:
            raise ArtifactError(f"{self.uri(artifact)} {wrong}", remedy(artifact, gone=data is None))
        return data

    def names(self, stage: str, key: str) -> list[str]:
        """The names of a stage's records under a key, in order; the records are not read."""
        return [path.rpartition("/")[2].removesuffix(".json") for path in self._paths(stage_folder(stage, key))]

    def all(self, stage: str, key: str, strict: bool = False) -> list[Record]:
        """Every whole record of a stage under a key, ordered by path; artefacts are not checked.

        A damaged record is left out, like work that has to be done again.

        Raises:
          ArtifactError: with `strict`, if a record is damaged.
        """
        records = []
        for path, record in self.scan(stage_folder(stage, key)):
            if record and record.key == key:
                records.append(record)
            elif strict and not record:
                remedy = f"delete it and start the run in {self.storage.root} again"
                raise ArtifactError(f"{self.storage.uri(path)} is damaged", remedy)
        return records

    def scan(self, folder: str = FOLDER) -> Iterator[tuple[str, Record | None]]:
        """(path, record) of every record file in a folder and below; None if the file is damaged."""
        paths = self._paths(folder)
        for start in range(0, len(paths), _TOGETHER):
            together = paths[start : start + _TOGETHER]
            for path, data in zip(together, each(self.storage.find, together, is_remote(self.storage.root))):
                if data is not None:
                    record = _from_json(data)
                    yield path, record if record and record.path == path else None

    def _paths(self, folder: str) -> list[str]:
        """Paths of all records in a folder, in order. Nothing else is held in memory, since there can be millions."""
        return sorted(info.path for info in self.storage.walk(folder) if info.path.endswith(".json"))

    def remove(self, record: Record) -> None:
        """Deletes the record, then its artefacts. A crash in between leaves artefacts, never a false record."""
        self.storage.delete(record.path)
        for artifact in record.artifacts:
            self.storage.delete(artifact.path)


class _Measured:
    """A file to write to that computes the digest and counts the bytes on their way."""

    closed = False

    def __init__(self, file: BinaryIO):
        self._file, self.digest, self.bytes = file, hashlib.sha256(), 0

    def write(self, data: bytes) -> int:
        self._file.write(data)
        self.digest.update(data)
        self.bytes += len(data)
        return len(data)

    def tell(self) -> int:
        return self.bytes

    def flush(self) -> None:
        """Nothing to do: the file is flushed when it is complete."""


def remedy(artifact: Artifact, gone: bool) -> str:
    """What to do about a damaged artefact, or one that is gone."""
    run = f"the run in {artifact.root}" if artifact.root else "the run"
    return f"{'' if gone else 'delete it and '}start {run} again, which makes it again"


def _digest(storage: Storage, artifact: Artifact) -> str | None:
    """SHA-256 of the object, hex; None where it is missing or has another size than the artefact's.

    A small object costs an object store one request: it is not asked for its size first.
    """
    digest, size = hashlib.sha256(), 0
    try:
        for start in range(0, artifact.size or 1, _PIECE_BYTES):
            last = start + _PIECE_BYTES >= artifact.size
            # The last piece asks for a byte more: it is there where the object is too long.
            piece = storage.read_range(artifact.path, start, artifact.size + 1 - start if last else _PIECE_BYTES)
            digest.update(piece)
            size += len(piece)
    except ArtifactError:
        if storage.info(artifact.path) is None:
            return None
        raise
    return digest.hexdigest() if size == artifact.size else None


def _compare(actual: str, recorded: str) -> str | None:
    if actual == recorded:
        return None
    return f"is damaged: its SHA-256 is {actual[:16]}… where its record says {recorded[:16]}…"


def _to_json(record: Record) -> bytes:
    body = dataclasses.asdict(record)
    for artifact in body["artifacts"]:
        if artifact.pop("root"):
            raise ValueError(
                f"{artifact['path']} is in the output of another run, so no record of this one may name it"
            )
    return sealed_json(body)


def _from_json(data: bytes) -> Record | None:
    body = unsealed_json(data) if len(data) <= _MAX_BYTES else None
    try:
        record = msgspec.convert(body, Record)
        return None if any(artifact.root for artifact in record.artifacts) else record
    except msgspec.ValidationError:
        return None
