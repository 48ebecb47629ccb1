"""Storage through Beam's FileSystems, for places that only they know (hdfs://): to export to, and to read files from.

What it cannot promise, where `pipeline/storage/storage.py` does:

- Create-if-absent and swap: Beam has neither. So no lock can be held, and no run may live here.
- Replacing at once: a file is written under another name beside its place, whole; then the old one is deleted and
  the new one renamed. Nobody sees half a file, but a kill between the two leaves only the one that ends in
  `.beam2vec-tmp-...`.
- Durability: a file is as safe as the file system leaves it when it is closed.
- Listing: only files that are named are read, and no run that was copied to here.
"""

import contextlib
import dataclasses
import secrets
from collections.abc import Iterator, Sequence
from typing import BinaryIO, NoReturn

from apache_beam.io.filesystem import BeamIOError, CompressionTypes, FileSystem
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions

from pipeline.errors import ArtifactError, InputError, PipelineError
from pipeline.storage.open_storage import add_storage
from pipeline.storage.storage import Data, ObjectInfo, Storage, checked_path

_PIECE = 8 << 20


def open_beam_storage(root: str) -> "BeamStorage | None":
    """The storage of a root such as hdfs://folder; None if Beam does not know the scheme."""
    scheme = FileSystems.get_scheme(root)
    known = scheme is not None and any(
        file_system.scheme() == scheme for file_system in FileSystem.get_all_subclasses()
    )
    return BeamStorage(root if root.endswith("://") else root.rstrip("/")) if known else None


def set_beam_options(options: PipelineOptions) -> None:
    """Sets options such as --hdfs_host=... for file systems that are opened later."""
    FileSystems.set_options(options)


def read_through_beam(arguments: Sequence[str]) -> None:
    """Makes `open_storage` in this process know Beam's file systems, with the arguments of the command."""
    add_storage(open_beam_storage)
    if arguments:
        set_beam_options(PipelineOptions(list(arguments)))


@dataclasses.dataclass(frozen=True)
class BeamStorage(Storage):
    """A folder of one of Beam's file systems."""

    root: str

    def uri(self, path: str) -> str:
        return f"{self.root}{'' if self.root.endswith('/') else '/'}{path}" if path else self.root

    def info(self, path: str) -> ObjectInfo | None:
        uri = self._file(path)
        with self._errors(uri):
            if not FileSystems.exists(uri):
                return None
            metadata = FileSystems.get_filesystem(uri).metadata(uri)
        return ObjectInfo(path, metadata.size_in_bytes, str(metadata.last_updated_in_seconds))

    def find(self, path: str) -> bytes | None:
        if self.info(path) is None:
            return None
        with self.open(path) as reader:
            return reader.read()

    def read_range(self, path: str, start: int, length: int) -> bytes:
        with self._errors(self._file(path)), self.open(path) as reader:
            reader.seek(start)
            return reader.read(max(0, length))

    def open(self, path: str) -> BinaryIO:
        uri = self._file(path)
        with self._errors(uri):
            return FileSystems.open(uri, compression_type=CompressionTypes.UNCOMPRESSED)

    def put(self, path: str, data: Data) -> None:
        uri = self._file(path)
        temporary = f"{uri}.beam2vec-tmp-{secrets.token_hex(8)}"
        with self._errors(uri):
            system = FileSystems.get_filesystem(uri)
            folder, _ = system.split(uri)
            if system.has_dirs() and not system.exists(folder):
                system.mkdirs(folder)
            try:
                with system.create(temporary, compression_type=CompressionTypes.UNCOMPRESSED) as writer:
                    view = memoryview(data).cast("B")
                    for start in range(0, len(view), _PIECE):
                        writer.write(view[start : start + _PIECE])
            except BaseException:
                with contextlib.suppress(Exception):
                    system.delete([temporary])
                raise
            if system.exists(uri):
                system.delete([uri])
            system.rename([temporary], [uri])

    def delete(self, path: str) -> None:
        uri = self._file(path)
        with self._errors(uri):
            if FileSystems.exists(uri):
                FileSystems.delete([uri])

    def create(self, path: str, data: Data) -> bool:
        self.check_holds_runs()

    def swap(self, path: str, old: bytes, new: Data) -> bool:
        self.check_holds_runs()

    def walk(self, prefix: str = "") -> Iterator[ObjectInfo]:
        raise InputError(f"{self.uri(prefix)}: files here are not listed; name one, or copy them first")

    def check_holds_runs(self) -> NoReturn:
        raise InputError(
            f"{self.root}: no run can live here, for want of a way to lock it; export to it, and keep the run in a"
            " folder or on s3://, gs:// or az://"
        )

    def _file(self, path: str) -> str:
        return self.uri(checked_path(path))

    @contextlib.contextmanager
    def _errors(self, uri: str) -> Iterator[None]:
        """Turns errors of Beam and its clients into one line that names the uri."""
        try:
            yield
        except PipelineError:
            raise
        except Exception as error:
            shown = _reason(error)
            users = isinstance(shown, (ValueError, ImportError))  # a missing option or package
            raise (InputError if users else ArtifactError)(f"{uri}: {str(shown).partition(chr(10))[0]}") from error


def _reason(error: BaseException) -> BaseException:
    """The first cause that Beam lists, or the error itself."""
    causes = (getattr(error, "exception_details", None) or {}).values() if isinstance(error, BeamIOError) else ()
    return next((cause for cause in causes if isinstance(cause, Exception)), error)
