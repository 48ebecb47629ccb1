"""--reuse: what was read of a file before is not read again.

The sentences of some files are kept as numbers of words, with the words, under a key of what they depend on: the
files (name, size, version), the options of reading, the tokeniser's identity. Who reads them gets the same sentences as
from the text; so nothing else knows of it, and no byte of a model depends on it. It is worth while where reading is
dear: with dictionaries, JSON, object stores.

    KEY[:2]/KEY.sentences    SHA-256 (32 bytes) of the rest, which is Parquet of one row: word list<string>,
                             token list<int32>, length list<int32>; lines, dead letters and content digests of the
                             files in the metadata
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa

from pipeline.corpus.dead_letters import DeadLetters
from pipeline.corpus.digests import FileDigests
from pipeline.corpus.files import check_all_unchanged
from pipeline.corpus.readers.reader import Reader, WrappingReader
from pipeline.corpus.readers.values import Portion
from pipeline.corpus.spans import Spans
from pipeline.corpus.word_table import WordTable, spans_of
from pipeline.corpus.work_units import TextRange
from pipeline.errors import ArtifactError
from pipeline.options import Options
from pipeline.runtime.messages import warn
from pipeline.storage.open_storage import open_storage
from pipeline.storage.parquet import from_parquet, to_parquet
from pipeline.storage.records import canonical_json

VERSION = 1
"""Of what is kept. Raise it when the same key would stand for other sentences."""
GROUP_BYTES = 128 << 10
"""About how many bytes of small files are kept together; a larger range is kept alone."""
_META = b"beam2vec reuse"
_SUFFIX = ".sentences"
_DIGEST_BYTES = 32


@dataclasses.dataclass(frozen=True)
class ReusingReader(WrappingReader):
    """Another reader's sentences: those that were kept, else those that it reads, which are then kept."""

    folder: str = ""
    key: str = ""
    """of what sentences depend on besides the files"""
    reread: bool = False
    """whether what is kept is made again"""

    def read(
        self, text_range: TextRange, dead_letters: DeadLetters, digests: list[FileDigests] | None = None
    ) -> Iterator[Portion]:
        return self.portions([text_range], dead_letters, digests)

    def portions(
        self, ranges: Iterable[TextRange], dead_letters: DeadLetters, digests: list[FileDigests] | None = None
    ) -> Iterator[Portion]:
        storage = open_storage(self.folder)
        for group in groups_of(ranges):
            path = self._path(group)
            known = None if self.reread else _opened(storage.find(path), storage.uri(path))
            if known is None:
                keeping = _Keeping()
                yield from self._read(group, keeping)
                check_all_unchanged(group)
                storage.put(path, keeping.packed())
            else:
                yield Portion(known.lines, iter([known.spans()]))
            read = known or keeping
            dead_letters.extend(read.letters)
            if digests is not None:
                digests += read.files

    def _read(self, group: Sequence[TextRange], keeping: _Keeping) -> Iterator[Portion]:
        for portion in self.inner.portions(group, keeping.letters, keeping.files):
            keeping.lines += portion.lines
            yield Portion(portion.lines, map(keeping.add, portion.spans))

    def _path(self, group: Sequence[TextRange]) -> str:
        files = [
            [part.name(), part.version or part.origin_version, part.size, part.start, part.end, part.origin_offset]
            for part in group
        ]
        key = hashlib.sha256(canonical_json([VERSION, self.key, files])).hexdigest()[:32]
        return f"{key[:2]}/{key}{_SUFFIX}"


def reusing(reader: Reader, options: Options) -> Reader:
    """The reader that keeps what it reads where --reuse says; the reader itself without it."""
    if not options.reuse:
        return reader
    decisive = options.of_stage("text") | options.of_stage("counts") | {"identity": reader.identity()}
    for name in ("block_bytes", "stopwords"):  # how text is cut; the identity has the digest of the words
        decisive.pop(name)
    key = hashlib.sha256(canonical_json([decisive, reader.items])).hexdigest()
    return ReusingReader.around(reader, folder=options.reuse, key=key, reread=options.reread)


def groups_of(ranges: Iterable[TextRange]) -> Iterator[list[TextRange]]:
    """Ranges that are kept together. Most groups stay as they were where files come in between."""
    group: list[TextRange] = []
    size = 0
    for part in ranges:
        length = part.end - part.start
        if group and (size + length > GROUP_BYTES or _begins(part)):
            yield group
            group, size = [], 0
        group.append(part)
        size += length
    if group:
        yield group


def _begins(part: TextRange) -> bool:
    """Whether a group begins with this range: by its name alone, about once in half of GROUP_BYTES."""
    drawn = int.from_bytes(hashlib.blake2b(part.name().encode("utf-8", "surrogateescape"), digest_size=8).digest())
    return drawn < 2**64 * 2 * (part.end - part.start) // GROUP_BYTES


class _Keeping:
    """Collects the sentences of a group while they are read."""

    def __init__(self) -> None:
        self.lines = 0
        self.letters = DeadLetters()
        self.files: list[FileDigests] = []
        self._table = WordTable()
        self._tokens: list[np.ndarray] = []
        self._lengths: list[np.ndarray] = []

    def add(self, spans: Spans) -> Spans:
        self._tokens.append(self._table.number(spans))
        self._lengths.append(np.diff(spans.sentence).astype(np.int32))
        return spans

    def packed(self) -> bytes:
        lists = [
            pa.array([self._table.words().to_pylist()], pa.list_(pa.string())),
            *(
                pa.ListArray.from_arrays([0, sum(map(len, arrays))], np.concatenate([np.empty(0, np.int32), *arrays]))
                for arrays in (self._tokens, self._lengths)
            ),
        ]
        meta = {
            "lines": self.lines,
            "bad_lines": self.letters.count,
            "dead_letters": [[*row[:3], row[3].hex()] for row in self.letters.rows],
            "files": [dataclasses.asdict(file) for file in self.files],
        }
        table = pa.table(lists, names=["word", "token", "length"]).replace_schema_metadata({_META: json.dumps(meta)})
        data = to_parquet(table).to_pybytes()
        return hashlib.sha256(data).digest() + data


@dataclasses.dataclass(frozen=True)
class _Kept:
    """The sentences of a group that were kept."""

    lines: int
    letters: DeadLetters
    files: list[FileDigests]
    words: pa.Array
    tokens: np.ndarray
    lengths: np.ndarray

    def spans(self) -> Spans:
        sentence = np.concatenate([np.zeros(1, np.int64), np.cumsum(self.lengths, dtype=np.int64)])
        return spans_of(self.words.take(pa.array(self.tokens)), sentence)


def _opened(data: bytes | None, uri: str) -> _Kept | None:
    """What was kept; None where there is nothing, or it is damaged."""
    if data is None:
        return None
    digest, rest = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
    if hashlib.sha256(rest).digest() != digest:
        warn(f"{uri} is damaged: the text is read again")
        return None
    try:
        table = from_parquet(rest)
    except ArtifactError:
        return None
    meta, letters = json.loads(table.schema.metadata[_META]), DeadLetters()
    for name, offset, reason, sample in meta["dead_letters"]:
        letters.add(name, offset, reason, bytes.fromhex(sample))
    letters.skip(meta["bad_lines"] - letters.count)
    files = [FileDigests(**file) for file in meta["files"]]
    words, tokens, lengths = (table[name].combine_chunks().flatten() for name in ("word", "token", "length"))
    return _Kept(meta["lines"], letters, files, words, tokens.to_numpy(), lengths.to_numpy())
