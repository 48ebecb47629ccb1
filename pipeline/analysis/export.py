"""Exports the vectors of a run in the formats of other tools.

Files are built in a temporary file of the system and published in one piece, so a large vocabulary is never held as
text, and nothing half-written is ever seen. Pipes and devices are written as the vectors are read.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.analysis.export_files import Files, check_link, compression_of
from pipeline.analysis.model_card import ModelCard, published
from pipeline.analysis.plain_words import PlainWords, unused
from pipeline.analysis.precision import PRECISIONS, written_numbers
from pipeline.analysis.scalars import FILE as EVENTS
from pipeline.analysis.scalars import events
from pipeline.errors import InputError
from pipeline.model.checkpoints import METADATA_KEY, CheckpointRef
from pipeline.model.loss_curve import up_to
from pipeline.model.model import Model
from pipeline.model.neighbors import unit_length
from pipeline.model.vector_files import words_beside
from pipeline.model.vectors import SIDES, checked_top, rows_of_top, side_of
from pipeline.runs.result_files import STANDARD_OUTPUT, result_file, result_files
from pipeline.runs.run import Run
from pipeline.runtime.uri_secrets import masked
from pipeline.storage.records import canonical_json

ROWS = 8192
"""Words that are written at a time."""
UNKNOWN = "[UNK]"
_PROJECTOR_CONFIG = """embeddings {
  tensor_name: "words"
  tensor_path: "vectors.tsv"
  metadata_path: "metadata.tsv"
}
"""
"""With this file beside the tables, `tensorboard --logdir=FOLDER` opens them."""


_CARD = ModelCard()


@dataclasses.dataclass(frozen=True)
class Export:
    """What is written: the vectors of a checkpoint.

    Attributes:
      side: "input", "output" or "mean"; by default the usual one (`Run.side`).
      normalize: scale each vector to length 1 (zeros stay).
      top: only so many of the most frequent words.
      absent: bool [V], words to leave out, which `top` does not count; None leaves out none.
      precision: one of PRECISIONS.
      card: what the README.md of a folder says besides what the run knows.
      report: called with (words written, words in all).
    """

    run: Run
    ref: CheckpointRef
    side: str | None = None
    normalize: bool = False
    top: int | None = None
    absent: np.ndarray | None = None
    precision: str = PRECISIONS[0]
    card: ModelCard = _CARD
    report: Callable[[int, int], None] = lambda done, total: None

    def __post_init__(self) -> None:
        if self.top is not None:
            checked_top(self.top, least=1)

    @functools.cached_property
    def written_side(self) -> str:
        """The side that is written."""
        return self.run.side(self.side)

    @functools.cached_property
    def words(self) -> int:
        """How many are written."""
        return self.rows if self.absent is None else self.rows - int(self.absent[: self.rows].sum())

    @functools.cached_property
    def rows(self) -> int:
        """Rows of the model that they are among."""
        if self.absent is not None:
            return rows_of_top(self.top, self.absent)
        return self.ref.words if self.top is None else min(self.top, self.ref.words)

    def blocks(self) -> Iterator[tuple[pa.Array, np.ndarray, np.ndarray]]:
        """(words, counts int64 [n], vectors float32 [n, dims]) of the words in order, ROWS at a time."""
        first = done = 0
        for block in self.run.blocks(self.ref.step, self.rows):
            for start in range(0, len(block.words), ROWS):
                rows = slice(start, start + ROWS)
                model = Model(block.words[rows], block.counts[rows], block.input[rows], block.output[rows])
                words, counts, vectors = model.words, model.counts, side_of(model, self.written_side)
                if self.absent is not None:
                    kept = ~self.absent[first : first + len(words)]
                    first += len(words)
                    words, counts, vectors = words.filter(pa.array(kept)), counts[kept], vectors[kept]
                yield words, counts, _normalized(vectors) if self.normalize else vectors
                done += len(words)
                self.report(done, self.words)

    def typed(self, words: pa.Array) -> pa.Array:
        """The words as int64, if the items of the corpus are integers."""
        return words.cast(pa.int64()) if self.run.has_integers else words

    def provenance(self) -> dict[str, Any]:
        """Where the vectors come from, for formats that can hold it."""
        options = published(_without_secrets(self.run.identity["options"]["model"]))
        return {
            "digest": self.ref.digest,
            "step": self.ref.step,
            "steps": self.ref.steps,
            "vectors": self.written_side,
            "normalized": self.normalize,
            "precision": self.precision,
            "words": self.words,
            "dims": self.ref.dims,
            "options": options,
        }


@dataclasses.dataclass(frozen=True)
class Written:
    """The uris of the files, how many words had to be changed to fit the format, and the compression of tables."""

    uris: tuple[str, ...]
    changed: int = 0
    compression: str = ""


def export_files(format: str, to: str, precision: str = PRECISIONS[0]) -> Files:
    """The files that an export would write; nothing is written yet.

    Args:
      format: one of FORMATS.
      precision: one of PRECISIONS.
      to: a file, or a folder: see FORMATS. `-` is standard output.

    Raises:
      InputError: one of them cannot be written, or the name's ending is that of another format.
    """
    wanted = FORMATS[format]
    if precision not in wanted.precisions:
        able = ", ".join(name for name, other in FORMATS.items() if precision in other.precisions)
        raise InputError(f"--precision={precision} goes with --format={able}, not with {format}: leave it out")
    compression, ending = compression_of(format, to, wanted.compressible, bool(wanted.folder))
    if wanted.folder:
        names = [name + ending if name.endswith(".tsv") else name for name in wanted.folder]
        return Files(result_files("--to", to, names), compression)
    beside_it = [words_beside(to)] if format == "npy" else []
    if beside_it and precision == "int8":
        beside_it.append(scales_beside(to))
    if to == STANDARD_OUTPUT and beside_it:
        raise InputError(f"--to=- is one file, and --format={format} writes several: name a file")
    files = [result_file("--to", name, streams=not beside_it) for name in (to, *beside_it)]
    check_link(files[0], compression)
    compression_of(format, files[0].place, wanted.compressible)
    return Files(files, compression)


def check_effects(format: str, given: Mapping[str, Any]) -> None:
    """InputError for an option, by its name, that is given and that the format has no use for."""
    no_use = {"vectors", "normalize", "top", "leave_out_absent"} if format == "tensorboard" else set()
    no_use |= {"license", "evaluation"} if format != "safetensors" else set()
    for name in sorted(no_use):
        if given[name]:
            raise InputError(f"--{name} has no effect with --format={format}: leave it out")


def export(exported: Export, format: str, to: str) -> Written:
    """Writes `to` (a file, or a folder: see FORMATS) in one of FORMATS; what was there is replaced."""
    files = export_files(format, to, exported.precision)
    changed = FORMATS[format].write(exported, files)
    return Written(tuple(file.uri for file in files.files), changed, files.compression)


def _word2vec(exported: Export, files: Files) -> int:
    return _write_text(exported, files, f"{exported.words} {exported.ref.dims}\n")


def _glove(exported: Export, files: Files) -> int:
    return _write_text(exported, files, "")


def _write_text(exported: Export, files: Files, header: str) -> int:
    plain = PlainWords()

    def write(file: BinaryIO) -> None:
        file.write(header.encode())
        for words, _, vectors in exported.blocks():
            _write_lines(file, pc.binary_join_element_wise(plain.of(words), _rows_as_text(vectors, " "), " "))

    files.write(0, write)
    return plain.changed


def _word2vec_binary(exported: Export, files: Files) -> int:
    plain = PlainWords()

    def write(file: BinaryIO) -> None:
        file.write(f"{exported.words} {exported.ref.dims}\n".encode())
        for words, _, vectors in exported.blocks():
            rows = vectors.astype("<f4")
            lines = zip(plain.of(words).to_pylist(), rows)
            file.write(b"".join(word.encode() + b" " + row.tobytes() + b"\n" for word, row in lines))

    files.write(0, write)
    return plain.changed


def scales_beside(uri: str) -> str:
    """The file with the scales of an array of int8: vectors.npy -> vectors.scales.npy."""
    return re.sub(r"\.npy$", "", uri, flags=re.IGNORECASE) + ".scales.npy"


def _npy(exported: Export, files: Files) -> int:
    listed: list[str | int] = []
    scales: list[np.ndarray] = []

    def write(file: BinaryIO) -> None:
        shape, kind = (exported.words, exported.ref.dims), {"float32": "<f4", "float16": "<f2", "int8": "|i1"}
        header = {"descr": kind[exported.precision], "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for words, _, vectors in exported.blocks():
            listed.extend(exported.typed(words).to_pylist())
            numbers, scale = written_numbers(vectors, exported.precision)
            scales.append(scale)
            file.write(np.ascontiguousarray(numbers).data)

    files.write(0, write)
    files.put(1, _json(listed))
    if exported.precision == "int8":
        data = io.BytesIO()
        np.save(data, np.concatenate(scales))
        files.put(2, data.getvalue())
    return 0


def _projector(exported: Export, files: Files) -> int:
    plain = PlainWords()
    lines = [pa.array(["word\tcount"])]  # TensorBoard needs a header for two columns, and no header for one

    def write(file: BinaryIO) -> None:
        for words, counts, vectors in exported.blocks():
            _write_lines(file, _rows_as_text(vectors, "\t"))
            lines.append(pc.binary_join_element_wise(plain.of(words), pa.array(counts).cast(pa.string()), "\t"))

    def write_metadata(file: BinaryIO) -> None:
        for block in lines:
            _write_lines(file, block)

    files.write(0, write)
    files.write(1, write_metadata)
    origin = f"# {exported.ref.place}, {SIDES[exported.written_side]}, digest {exported.ref.digest}\n"
    files.put(2, (origin + _PROJECTOR_CONFIG).encode())
    return plain.changed


def _safetensors(exported: Export, files: Files) -> int:
    """The format's 8-byte length, JSON header and plain bytes, in a folder that sentence-transformers loads."""
    listed: list[str] = []
    card = exported.card.text(exported.run, exported.provenance(), SIDES[exported.written_side])
    shape = [exported.words + 1, exported.ref.dims]
    kind, number = {"float32": ("F32", 4), "float16": ("F16", 2)}[exported.precision]
    size = shape[0] * shape[1] * number
    metadata = {"format": "pt", "beam2vec": canonical_json(exported.provenance()).decode()}
    tensor = {"dtype": kind, "shape": shape, "data_offsets": [0, size]}
    header = json.dumps({"__metadata__": metadata, "embedding.weight": tensor}).encode()
    header += b" " * (-len(header) % 8)

    def write(file: BinaryIO) -> None:
        file.write(len(header).to_bytes(8, "little") + header)
        for words, _, vectors in exported.blocks():
            listed.extend(words.to_pylist())
            file.write(np.ascontiguousarray(written_numbers(vectors, exported.precision)[0]).data)
        file.write(bytes(shape[1] * number))

    files.write(0, write)
    listed.append(unused(UNKNOWN, listed))
    modules = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.StaticEmbedding"}]
    for number, content in enumerate((listed, _tokenizer(exported.run, listed), modules), 1):
        files.put(number, _json(content))
    files.put(4, card.encode())
    return 0


def _parquet(exported: Export, files: Files) -> int:
    numbers = {"float32": pa.float32(), "float16": pa.float16(), "int8": pa.int8()}[exported.precision]
    vector = pa.list_(pa.field("element", numbers, nullable=False), exported.ref.dims)
    word = pa.int64() if exported.run.has_integers else pa.string()
    fields = {"word": word, "count": pa.int64(), "vector": vector}
    if exported.precision == "int8":
        fields["scale"] = pa.float32()
    schema = pa.schema(
        [pa.field(name, kind, nullable=False) for name, kind in fields.items()],
        metadata={METADATA_KEY: canonical_json(exported.provenance())},
    )

    def write(file: BinaryIO) -> None:
        compression = "zstd" if exported.precision == "int8" else "none"  # Parquet's smallest integers have 32 bits
        settings = {"compression": compression, "use_dictionary": False, "write_statistics": ["word", "count"]}
        with pq.ParquetWriter(file, schema, **settings) as writer:
            for words, counts, vectors in exported.blocks():
                written, scale = written_numbers(vectors, exported.precision)
                lists = pa.FixedSizeListArray.from_arrays(pa.array(written.reshape(-1)), type=vector)
                columns = [exported.typed(words), pa.array(counts), lists, pa.array(scale)]
                writer.write_table(pa.table(columns[: len(schema)], schema=schema))

    files.write(0, write)
    return 0


def _tensorboard(exported: Export, files: Files) -> int:
    files.put(0, events(up_to(exported.run.metrics(), exported.ref.step)))
    return 0


@dataclasses.dataclass(frozen=True)
class Format:
    """How vectors are written.

    Attributes:
      write: returns how many words had to be changed to fit the format.
      folder: the names of its files, if they are several in a folder.
      compressible: whether an ending such as .gz compresses its tables.
      precisions: those its numbers may have.
    """

    write: Callable[[Export, Files], int]
    help: str
    folder: tuple[str, ...] = ()
    compressible: bool = False
    precisions: tuple[str, ...] = PRECISIONS[:1]


FORMATS = {
    "word2vec": Format(_word2vec, "text of word2vec, for gensim, fastText and others", compressible=True),
    "word2vec-binary": Format(
        _word2vec_binary, "the same in binary: smaller, exact, faster to load", compressible=True
    ),
    "glove": Format(_glove, "the text of word2vec without its first line, as GloVe has it", compressible=True),
    "npy": Format(
        _npy, "a NumPy array, and the words as a JSON list beside it (NAME.words.json)", precisions=PRECISIONS
    ),
    "projector": Format(
        _projector,
        "a folder that TensorBoard's projector opens: vectors.tsv, metadata.tsv",
        ("vectors.tsv", "metadata.tsv", "projector_config.pbtxt"),
        compressible=True,
    ),
    "safetensors": Format(
        _safetensors,
        "a folder that sentence-transformers loads as a static embedding, with a model card for the Hugging Face Hub",
        ("model.safetensors", "words.json", "tokenizer.json", "modules.json", "README.md"),
        precisions=("float32", "float16"),
    ),
    "parquet": Format(_parquet, "word, count and vector, one row a word", precisions=PRECISIONS),
    "tensorboard": Format(_tensorboard, "a folder with the loss curve, as scalars for TensorBoard", (EVENTS,)),
}


def _without_secrets(options: dict[str, Any]) -> dict[str, Any]:
    """Drops secrets in uris: an old run may have some, and an export may be published."""
    return {name: masked(value) if isinstance(value, str) else value for name, value in options.items()}


def _normalized(vectors: np.ndarray) -> np.ndarray:
    return unit_length(vectors.astype(np.float64)).astype(np.float32)


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
