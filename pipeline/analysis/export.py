"""Exports the vectors of a run in the formats of other tools.

Files are built in a temporary file of the system and published in one piece, so a
large vocabulary is never held as text, and nothing half-written is ever seen.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import mmap
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.model.checkpoints import METADATA_KEY, CheckpointRef, vector_type
from pipeline.model.model import Model
from pipeline.model.neighbors import unit_length
from pipeline.model.vectors import side_of
from pipeline.runs.run import Run
from pipeline.runtime.uri_secrets import masked
from pipeline.storage.open_storage import open_storage, split_uri
from pipeline.storage.records import canonical_json
from pipeline.storage.storage import Storage

ROWS = 8192
"""Words that are written at a time."""
UNKNOWN = "[UNK]"
_BREAKING = r"[\x00-\x20\x7f-\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}]"
"""White space and control characters, which some reader takes for the end of a word or line."""
_PROJECTOR_CONFIG = """embeddings {
  tensor_name: "words"
  tensor_path: "vectors.tsv"
  metadata_path: "metadata.tsv"
}
"""
"""With this file beside the tables, `tensorboard --logdir=FOLDER` opens them."""


@dataclasses.dataclass(frozen=True)
class Export:
    """What is written: the vectors of a checkpoint.

    Attributes:
      side: "input", "output" or "mean".
      normalize: scale each vector to length 1 (zeros stay).
      top: only so many of the most frequent words.
      report: called with (words written, words in all).
    """

    run: Run
    ref: CheckpointRef
    side: str = "input"
    normalize: bool = False
    top: int | None = None
    report: Callable[[int, int], None] = lambda done, total: None

    @property
    def words(self) -> int:
        return self.ref.words if self.top is None else min(self.top, self.ref.words)

    def blocks(self) -> Iterator[tuple[pa.Array, np.ndarray, np.ndarray]]:
        """(words, counts int64 [n], vectors float32 [n, dims]) of the words in order, ROWS at a time."""
        done = 0
        for block in self.run.blocks(self.ref.step, self.top):
            for start in range(0, len(block.words), ROWS):
                rows = slice(start, start + ROWS)
                model = Model(block.words[rows], block.counts[rows], block.input[rows], block.output[rows])
                vectors = side_of(model, self.side)
                yield model.words, model.counts, _normalized(vectors) if self.normalize else vectors
                done += len(model.words)
                self.report(done, self.words)

    def provenance(self) -> dict[str, Any]:
        """Where the vectors come from, for formats that can hold it."""
        options = _without_secrets(self.run.identity["options"]["model"])
        return {
            "digest": self.ref.digest,
            "step": self.ref.step,
            "steps": self.ref.steps,
            "vectors": self.side,
            "normalized": self.normalize,
            "words": self.words,
            "dims": self.ref.dims,
            "options": options,
        }


@dataclasses.dataclass(frozen=True)
class Written:
    """The uris of the files, and how many words had to be changed to fit the format."""

    uris: tuple[str, ...]
    changed: int = 0


def export(exported: Export, format: str, to: str) -> Written:
    """Writes `to` (a file, or a folder: see FORMATS) in one of FORMATS; what was there is replaced."""
    return FORMATS[format].write(exported, to)


def _word2vec(exported: Export, to: str) -> Written:
    plain = PlainWords()
    with _published(to) as file:
        file.write(f"{exported.words} {exported.ref.dims}\n".encode())
        for words, _, vectors in exported.blocks():
            _write_lines(file, pc.binary_join_element_wise(plain.of(words), _rows_as_text(vectors, " "), " "))
    return Written((to,), plain.changed)


def _word2vec_binary(exported: Export, to: str) -> Written:
    plain = PlainWords()
    with _published(to) as file:
        file.write(f"{exported.words} {exported.ref.dims}\n".encode())
        for words, _, vectors in exported.blocks():
            rows = vectors.astype("<f4")
            for word, row in zip(plain.of(words).to_pylist(), rows):
                file.write(word.encode() + b" " + row.tobytes() + b"\n")
    return Written((to,), plain.changed)


def _npy(exported: Export, to: str) -> Written:
    listed = _Listed()
    with _published(to) as file:
        shape = (exported.words, exported.ref.dims)
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
        for words, _, vectors in exported.blocks():
            listed.add(words)
            file.write(np.ascontiguousarray(vectors, "<f4").data)
    return Written((to, listed.write(beside(to))))


def _projector(exported: Export, to: str) -> Written:
    storage, plain = open_storage(to), PlainWords()
    with _temporary() as vectors_file, _temporary() as metadata_file:
        metadata_file.write(b"word\tcount\n")  # TensorBoard needs a header for two columns, and no header for one
        for words, counts, vectors in exported.blocks():
            _write_lines(vectors_file, _rows_as_text(vectors, "\t"))
            count = pa.array(counts).cast(pa.string())
            _write_lines(metadata_file, pc.binary_join_element_wise(plain.of(words), count, "\t"))
        _publish(vectors_file, storage, "vectors.tsv")
        _publish(metadata_file, storage, "metadata.tsv")
    origin = f"# {exported.ref.place}, digest {exported.ref.digest}\n"
    storage.put("projector_config.pbtxt", (origin + _PROJECTOR_CONFIG).encode())
    names = ("vectors.tsv", "metadata.tsv", "projector_config.pbtxt")
    return Written(tuple(map(storage.uri, names)), plain.changed)


def _safetensors(exported: Export, to: str) -> Written:
    """The format's 8-byte length, JSON header and plain bytes, in a folder that sentence-transformers loads."""
    storage, listed = open_storage(to), _Listed()
    shape = [exported.words + 1, exported.ref.dims]
    size = shape[0] * shape[1] * 4
    metadata = {"format": "pt", "beam2vec": canonical_json(exported.provenance()).decode()}
    tensor = {"dtype": "F32", "shape": shape, "data_offsets": [0, size]}
    header = json.dumps({"__metadata__": metadata, "embedding.weight": tensor}).encode()
    header += b" " * (-len(header) % 8)
    with _temporary() as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for words, _, vectors in exported.blocks():
            listed.add(words)
            file.write(np.ascontiguousarray(vectors, "<f4").data)
        file.write(bytes(shape[1] * 4))
        listed.words.append(_unused(UNKNOWN, listed.words))
        _publish(file, storage, "model.safetensors")
    storage.put("tokenizer.json", _json(_tokenizer(exported.run, listed.words)))
    modules = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.StaticEmbedding"}]
    storage.put("modules.json", _json(modules))
    listed.write(storage.uri("words.json"))
    names = ("model.safetensors", "words.json", "tokenizer.json", "modules.json")
    return Written(tuple(storage.uri(name) for name in names))


def _parquet(exported: Export, to: str) -> Written:
    vector = vector_type(exported.ref.dims)
    fields = {"word": pa.string(), "count": pa.int64(), "vector": vector}
    schema = pa.schema(
        [pa.field(name, kind, nullable=False) for name, kind in fields.items()],
        metadata={METADATA_KEY: canonical_json(exported.provenance())},
    )
    with (
        _published(to) as file,
        pq.ParquetWriter(
            file, schema, compression="none", use_dictionary=False, write_statistics=["word", "count"]
        ) as writer,
    ):
        for words, counts, vectors in exported.blocks():
            flat = pa.array(np.ascontiguousarray(vectors).reshape(-1))
            lists = pa.FixedSizeListArray.from_arrays(flat, type=vector)
            writer.write_table(pa.table([words, pa.array(counts), lists], schema=schema))
    return Written((to,))


@dataclasses.dataclass(frozen=True)
class Format:
    write: Callable[[Export, str], Written]
    help: str


FORMATS = {
    "word2vec": Format(_word2vec, "text of word2vec, for gensim, fastText and others"),
    "word2vec-binary": Format(_word2vec_binary, "the same in binary: smaller, exact, faster to load"),
    "npy": Format(_npy, "a NumPy array, and the words as a JSON list beside it (NAME.words.json)"),
    "projector": Format(_projector, "a folder that TensorBoard's projector opens: vectors.tsv, metadata.tsv"),
    "safetensors": Format(_safetensors, "a folder that sentence-transformers loads as a static embedding"),
    "parquet": Format(_parquet, "word, count and vector, one row a word"),
}


class PlainWords:
    """Words for formats that end a word at white space.

    White space and control characters become "_", an empty word too; a word that is
    then the same as one before it gets further "_" at its end.
    """

    def __init__(self) -> None:
        self.changed = 0
        self._seen: set[str] = set()

    def of(self, words: pa.Array) -> pa.Array:
        replaced = pc.replace_substring_regex(words, _BREAKING, "_")
        unique = []
        for old, new in zip(words.to_pylist(), replaced.to_pylist()):
            new = _unused(new or "_", self._seen)
            self._seen.add(new)
            unique.append(new)
            self.changed += new != old
        return pa.array(unique, pa.string())


class _Listed:
    """The words as a JSON list: any character keeps its place."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def add(self, words: pa.Array) -> None:
        self.words += words.to_pylist()

    def write(self, uri: str) -> str:
        root, path = split_uri(uri)
        open_storage(root).put(path, _json(self.words))
        return uri


def _without_secrets(options: dict[str, Any]) -> dict[str, Any]:
    """Drops secrets in uris: an old run may have some, and an export may be published."""
    return {name: masked(value) if isinstance(value, str) else value for name, value in options.items()}


def _normalized(vectors: np.ndarray) -> np.ndarray:
    return unit_length(vectors.astype(np.float64)).astype(np.float32)


def beside(to: str) -> str:
    """vectors.npy -> vectors.words.json"""
    return re.sub(r"\.npy$", "", to) + ".words.json"


def _unused(word: str, taken: Iterable[str]) -> str:
    while word in taken:
        word += "_"
    return word


def _rows_as_text(vectors: np.ndarray, separator: str) -> pa.Array:
    """string [n]: the shortest decimals that read back as the same float32, joined."""
    texts = pa.array(np.ascontiguousarray(vectors).reshape(-1)).cast(pa.string())
    offsets = np.arange(len(vectors) + 1, dtype=np.int32) * vectors.shape[1]
    return pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets), texts), separator)


def _write_lines(file: IO[bytes], lines: pa.Array) -> None:
    file.write("".join(f"{line}\n" for line in lines.to_pylist()).encode())


def _tokenizer(run: Run, words: list[str]) -> dict[str, Any]:
    """tokenizer.json of Hugging Face's tokenizers: whole words, split at white space."""
    forms = [run.options.normalize.upper()] if run.options.normalize else []
    forms += ["Lowercase"] if run.options.lowercase else []
    steps = [{"type": form} for form in forms]
    normalizer = {"type": "Sequence", "normalizers": steps} if steps else None
    vocabulary = {word: i for i, word in enumerate(words)}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": normalizer,
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": words[-1]},
    }


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


@contextlib.contextmanager
def _published(to: str) -> Iterator[IO[bytes]]:
    """A temporary file to write, which becomes `to` if there was no error."""
    root, path = split_uri(to)
    with _temporary() as file:
        yield file
        _publish(file, open_storage(root), path)


def _temporary() -> IO[bytes]:
    return tempfile.TemporaryFile(prefix="beam2vec-")


def _publish(file: IO[bytes], storage: Storage, path: str) -> None:
    """Stores the file's bytes through a memory map, without a copy; the map is closed when the storage releases it."""
    file.flush()
    storage.put(path, memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))
