"""Partitions: text that arrives together, in a folder, and is closed by a marker.

    texts/dt=2026-11-29/part-0.txt, part-1.txt, _SUCCESS     with --by=dt=* the partition 2026-11-29

A poll looks at each file of the input's root once, and holds none: of each folder it keeps the number of its files and
a fingerprint, which adds up. Where both are those of the log, nothing has come. Only the files of other folders are
compared one by one, with the manifests of what was taken there.

    manifests/NAME-DIGEST.parquet    partition, path string, size int64, version string; by partition and path
"""

from __future__ import annotations

import dataclasses
import fnmatch
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec
import pyarrow as pa

from pipeline.errors import ArtifactError, InputError
from pipeline.runtime.shown_text import quoted
from pipeline.series.entries import Decided, Policy
from pipeline.series.state import DUE, Held, State
from pipeline.storage.open_storage import open_storage
from pipeline.storage.parquet import from_parquet, to_parquet
from pipeline.storage.storage import Storage

MANIFESTS = "manifests"
FLAT = "files"
"""The partition of a root without folders (--by=): what comes later is late, as files+1 and so on."""
SCHEMA = pa.schema(
    [
        pa.field("partition", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("size", pa.int64(), nullable=False),
        pa.field("version", pa.string(), nullable=False),
    ]
)
_LATE = re.compile(r"(.+)\+([1-9][0-9]*)")
_MODULUS = 2**128


class File(NamedTuple):
    """A file of a partition; `path` is relative to the input's root."""

    partition: str
    path: str
    size: int
    version: str


@dataclasses.dataclass
class Fingerprint:
    """How many files there are, and the sum of their hashes modulo 2^128: whatever their order.

    >>> a, b = Fingerprint.of([("x", 1, "7"), ("y", 2, "8")]), Fingerprint.of([("y", 2, "8"), ("x", 1, "7")])
    >>> a == b, a == Fingerprint.of([("x", 1, "7")])
    (True, False)
    """

    files: int = 0
    sum: int = 0

    @classmethod
    def of(cls, files: Iterable[tuple[str, int, str]]) -> Fingerprint:
        """Of (path, size, version)."""
        made = cls()
        for path, size, version in files:
            made.add(path, size, version)
        return made

    def add(self, path: str, size: int, version: str) -> None:
        data = f"{path}\0{size}\0{version}".encode("utf-8", "surrogateescape")
        self.files += 1
        self.sum = (self.sum + int.from_bytes(hashlib.blake2b(data, digest_size=16).digest(), "little")) % _MODULUS

    def __add__(self, other: Fingerprint) -> Fingerprint:
        return Fingerprint(self.files + other.files, (self.sum + other.sum) % _MODULUS)

    @property
    def text(self) -> str:
        return f"{self.sum:032x}"

    @classmethod
    def known(cls, decided: Decided) -> Fingerprint:
        """That of the files which a generation has taken from its partition."""
        return cls(decided.files, int(decided.fingerprint, 16))


@dataclasses.dataclass(frozen=True)
class Arrived:
    """A folder of the input, as far as it is not what the log says.

    Attributes:
      closed: whether its marker is there.
      files: that no generation has taken.
      changed, gone: how many of those that were taken are others now, or not there.
    """

    closed: bool
    files: tuple[File, ...] = ()
    changed: int = 0
    gone: int = 0


@dataclasses.dataclass(frozen=True)
class Listing:
    """What a poll has found.

    Attributes:
      arrived: base name of a partition -> what differs from the log. A folder that does not differ is not in it.
      present: how many files that were taken are there, as they were.
      known: how many were taken.
    """

    arrived: Mapping[str, Arrived]
    present: int = 0
    known: int = 0


def settled(listing: Listing, before: Mapping[str, str]) -> tuple[Listing, dict[str, str]]:
    """Of a root without partitions: the files that a poll before this one has seen as they are; and what to remember.

    There no marker says that a file is complete, so it is taken when it was the same in two polls.

    Args:
      before: path -> size and version, what the poll before has returned.
    """
    if FLAT not in listing.arrived:
        return listing, {}
    arrived = listing.arrived[FLAT]
    seen = {file.path: f"{file.size} {file.version}" for file in arrived.files}
    files = tuple(file for file in arrived.files if before.get(file.path) == seen[file.path])
    flat = dataclasses.replace(arrived, closed=bool(files), files=files)
    return dataclasses.replace(listing, arrived={**listing.arrived, FLAT: flat}), seen


def base_of(partition: str) -> str:
    """The name of the folder that a partition is from.

    >>> base_of("2026-11-29"), base_of("2026-11-29+1")
    ('2026-11-29', '2026-11-29')
    """
    match = _LATE.fullmatch(partition)
    return match[1] if match else partition


def order_of(partition: str) -> tuple[bytes, int]:
    """The sort key of partitions: by name, and late ones by their numbers.

    >>> sorted(["b", "a+10", "a+2", "a"], key=order_of)
    ['a', 'a+2', 'a+10', 'b']
    """
    match = _LATE.fullmatch(partition)
    name, number = (match[1], int(match[2])) if match else (partition, 0)
    return name.encode("utf-8", "surrogateescape"), number


class Places:
    """Where the files of partitions are: --input_root, --by, --pattern and --done."""

    def __init__(self, policy: Policy, root: str = ""):
        """`root`: where the input is now, if it has moved."""
        self.root = root or policy.root
        self.policy = policy
        parts = policy.by.split("/") if policy.by else []
        if any(part.count("*") != 1 for part in parts):
            raise InputError(f"--by={policy.by}: write one * in each part of the path, as in dt=* or year=*/month=*")
        self._depth, self._end = len(parts), f"/{policy.done}"
        self._partitions: dict[str, str] = {}
        self._hidden: dict[str, bool] = {}
        self._by = re.compile("/".join("([^/]+)".join(map(re.escape, part.split("*"))) for part in parts))

    @property
    def storage(self) -> Storage:
        return open_storage(self.root)

    def partition_of(self, folder: str) -> str:
        """The base name of the partition that a folder is, or is in; "" if it is in none."""
        if folder not in self._partitions:
            self._partitions[folder] = self._partition_of(folder)
        return self._partitions[folder]

    def _partition_of(self, folder: str) -> str:
        if not self._depth:
            return FLAT
        names = folder.split("/")
        match = self._by.fullmatch("/".join(names[: self._depth]))
        if match is None or any(name[0] in "._" for name in names[: self._depth]):
            return ""
        name = "-".join(match.groups())
        if _LATE.fullmatch(name) or "@" in name:
            raise InputError(
                f"{self.root}: the partition {quoted(name)} ends like a late one (NAME+1), or has an @: rename it"
            )
        return name

    def folder_of(self, path: str) -> str:
        """The folder of the partition that a path is in."""
        return "/".join(path.split("/", self._depth)[: self._depth])

    def is_marker(self, path: str) -> bool:
        """Whether this is the file that closes a partition."""
        return bool(self._depth) and path.endswith(self._end) and path.count("/") == self._depth

    def is_text(self, path: str) -> bool:
        """Whether a file of a partition is read: its name has to match --pattern, and not to begin with . or _."""
        folder, _, name = path.rpartition("/")
        if name[0] in "._" or self._is_hidden(folder):
            return False
        if self.policy.pattern != "*" and not fnmatch.fnmatchcase(name, self.policy.pattern):
            return False
        return not self.is_forgotten(path)

    def _is_hidden(self, folder: str) -> bool:
        """Whether a folder within a partition, or one that it is in, begins with . or _."""
        if folder not in self._hidden:
            self._hidden[folder] = any(name[0] in "._" for name in folder.split("/")[self._depth :] if name)
        return self._hidden[folder]

    def is_forgotten(self, path: str) -> bool:
        """Whether --forget names the file."""
        return any(fnmatch.fnmatchcase(path, pattern) for pattern in self.policy.forget)


def poll(places: Places, state: State, series: Storage) -> Listing:
    """Looks at all files below the input's root."""
    seen: dict[str, Fingerprint] = {}
    closed: set[str] = set()
    folders: dict[str, str] = {}
    for info in places.storage.walk():
        name = places.partition_of(info.path.rpartition("/")[0])
        if not name:
            continue
        if name not in seen:
            seen[name], folders[name] = Fingerprint(), places.folder_of(info.path)
        elif folders[name] and not info.path.startswith(folders[name] + "/"):
            raise InputError(f"{places.root}: two folders are the partition {quoted(name)}: --by={places.policy.by}")
        if places.is_marker(info.path):
            closed.add(name)
        elif places.is_text(info.path):
            seen[name].add(info.path, info.size, info.version)
    return _compared(places, state, series, seen, closed, folders)


def _compared(
    places: Places,
    state: State,
    series: Storage,
    seen: Mapping[str, Fingerprint],
    closed: set[str],
    folders: Mapping[str, str],
) -> Listing:
    arrived: dict[str, Arrived] = {}
    known = held_by_base(state)
    count = sum(state.generations[held.folder].decided.files for all_held in known.values() for held in all_held)
    lost = 0
    for name, found in seen.items():
        taken = known.get(name, [])
        generations = [state.generations[held.folder].decided for held in taken]
        expected = Fingerprint()
        for decided in generations:
            expected += Fingerprint.known(decided)
        if taken and expected == found:
            continue
        old = {
            path: (size, version)
            for decided in generations
            for _, path, size, version in own_files(read_manifest(series, decided), decided)
            if not places.is_forgotten(path)
        }
        files, changed, same = [], 0, 0
        for info in places.storage.walk(folders[name]):
            if places.is_marker(info.path) or not places.is_text(info.path):
                continue
            if info.path not in old:
                files.append(File(name, info.path, info.size, info.version))
            elif old[info.path] == (info.size, info.version):
                same += 1
            else:
                changed += 1
        gone = len(old) - same - changed
        lost += gone + changed
        arrived[name] = Arrived(name in closed, tuple(sorted(files)), changed, gone)
    lost += sum(
        state.generations[held.folder].decided.files
        for name, all_held in known.items()
        if name not in seen
        for held in all_held
    )
    return Listing(arrived, count - lost, count)


def held_by_base(state: State) -> dict[str, list[Held]]:
    """Base name -> the partitions of that folder whose files a generation has."""
    bases: dict[str, list[Held]] = {}
    for name, held in state.partitions.items():
        if held.status != DUE:
            bases.setdefault(base_of(name), []).append(held)
    return bases


def write_manifest(series: Storage, name: str, files: Iterable[File]) -> tuple[str, str]:
    """Stores the list; (path, digest). The path has the digest, so two commands never write one another's."""
    columns = list(zip(*sorted(files))) or [()] * len(SCHEMA)
    table = pa.table([pa.array(column, field.type) for column, field in zip(columns, SCHEMA)], schema=SCHEMA)
    data = to_parquet(table)
    digest = hashlib.sha256(data).hexdigest()
    path = f"{MANIFESTS}/{name}-{digest[:8]}.parquet"
    series.put(path, data)
    return path, digest


def read_manifest(series: Storage, decided: Decided) -> pa.Table:
    """The files of a generation: those of its own partition, and where it reads old text, of those before."""
    data = series.find(decided.manifest)
    if data is None or hashlib.sha256(data).hexdigest() != decided.manifest_digest:
        problem = "is missing" if data is None else "is damaged"
        raise ArtifactError(f"{series.uri(decided.manifest)} {problem}", "restore it from a copy")
    return from_parquet(data)


def own_files(manifest: pa.Table, decided: Decided) -> list[File]:
    """Those of the generation's own partition."""
    return [file for file in files_of(manifest) if file.partition == decided.partition]


def files_of(manifest: pa.Table) -> list[File]:
    return list(map(File, *(manifest[name].to_pylist() for name in SCHEMA.names))) if len(manifest) else []


class Stated(msgspec.Struct, frozen=True):
    """What a marker may say of its partition, as JSON: how much there is. It is compared exactly."""

    files: int | None = None
    bytes: int | None = None
    rows: int | None = None


def stated(places: Places, files: Sequence[File]) -> Stated:
    """What the marker of a partition says; nothing where it is empty, no JSON, or the files came later.

    Raises:
      InputError: it begins like a JSON object, and is none: it was cut off while it was written.
    """
    if not files or not places.policy.by or files[0].partition != base_of(files[0].partition):
        return Stated()
    data = places.storage.find(f"{places.folder_of(files[0].path)}/{places.policy.done}")
    try:
        return msgspec.json.decode(data or b"{}", type=Stated)
    except msgspec.MsgspecError as error:
        if data and data.lstrip().startswith(b"{") and not isinstance(error, msgspec.ValidationError):
            raise InputError(f"{places.policy.done} is not whole JSON ({error}): write it again") from error
        return Stated()


def altered(places: Places, files: Sequence[File]) -> str:
    """Which of the files is another now, or gone, and how many; "" where all are as they were."""
    by_folder: dict[str, dict[str, File]] = {}
    for file in files:
        by_folder.setdefault(places.folder_of(file.path), {})[file.path] = file
    wrong = []
    for folder, expected in by_folder.items():
        found = {info.path: (info.size, info.version) for info in places.storage.walk(folder)}
        wrong += [path for path, file in expected.items() if found.get(path) != (file.size, file.version)]
    if not wrong:
        return ""
    others = f" and {len(wrong) - 1:,} more" if len(wrong) > 1 else ""
    return f"{wrong[0]}{others} changed since it was listed, or is gone"
