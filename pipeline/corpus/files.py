"""Input files: patterns -> the list of files, in corpus order, each once."""

from __future__ import annotations

import fnmatch
import glob
import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline.corpus.work_units import TextRange
from pipeline.errors import ArtifactError, InputError, PipelineError
from pipeline.runtime.process import each
from pipeline.storage.open_storage import is_remote, open_storage, refuse_secrets, split_uri

_MAGIC = re.compile(r"[*?[]")


@dataclass(frozen=True)
class InputFile:
    """A file of the corpus. `version` changes with the file: its mtime in ns, or the ETag of an object.

    It is "" where the name says what is in the file (`pipeline.corpus.given_sentences`).
    """

    uri: str
    size: int
    version: str


IndexedFiles = tuple[int, tuple[InputFile, ...]]
"""(index of the first file, consecutive files)"""
_LOOKED_AT = 1000
"""Files in a store that are looked at again when a run ends."""
_TOGETHER, _TOGETHER_BYTES = 256, 1 << 20
"""Files, and bytes of files, that are passed on together."""


def indexed(files: Sequence[InputFile]) -> Iterator[IndexedFiles]:
    """Consecutive files as elements: a large file alone, tiny ones together, since each element costs runners time."""
    first = size = 0
    for index, file in enumerate(files):
        if index > first and (size + file.size > _TOGETHER_BYTES or index - first == _TOGETHER):
            yield first, tuple(files[first:index])
            first, size = index, 0
        size += file.size
    if files:
        yield first, tuple(files[first:])


def match_inputs(patterns: Sequence[str], output: str = "") -> list[InputFile]:
    """The files that the patterns match, ordered by the bytes of their uri, each once, without those below `output`.

    A pattern is one of these; local paths become absolute, and s3://, gs://, az:// work too:
      @FILE     the patterns in that file, one a line; blank lines and those that begin with # are left out
      a file
      a folder  its files at any depth, also of linked folders; names that begin with "." or "_" are left out
      a glob    `*`, `?` and `[...]` match within a folder, `**` between slashes any number of folders; none of them
                matches a "." at the beginning of a name

    Raises:
      InputError: a pattern matches no file, or only files below `output`; a file cannot be read; all files are empty.
    """
    files: dict[str, InputFile] = {}
    if not patterns:
        raise InputError("--input names no file")
    listed = list(_listed(patterns))
    remote = [pattern for pattern in listed if is_remote(pattern)]
    matched = dict(zip(remote, each(_match_remote, remote, remote=True)))
    own = open_storage(output).uri("").rstrip("/") + "/" if output else "\0"
    for pattern in listed:
        has_files = below_output = False
        for file in matched[pattern] if pattern in matched else _match_local(pattern):
            if file.uri.startswith(own):  # else the files of a run would become input when it is resumed
                below_output = True
            else:
                files[file.uri] = file
                has_files = True
        if not has_files:
            if below_output:
                raise InputError(
                    f"--input={pattern} matches only files below --output={output}, which are left out: choose another"
                    " --output, or move the files"
                )
            if pattern not in matched and os.path.isdir(os.path.join(*split_uri(pattern))):
                raise InputError(f"--input={pattern} is a folder without files (names with . or _ first do not count)")
            raise InputError(f"--input={pattern} matches no file; check the path and the pattern's * and ?")
    if not any(file.size for file in files.values()):
        problem = f"all {len(files):,} files are empty" if len(files) > 1 else f"{next(iter(files))} is empty"
        raise InputError(f"--input={','.join(patterns)} holds no text: {problem}")
    return sorted(files.values(), key=lambda file: uri_order(file.uri))


def check_all_unchanged(ranges: Sequence[TextRange]) -> None:
    """`check_unchanged` for each input file. Work text has no version: only this run writes it."""
    files = list(dict.fromkeys((text_range.uri, text_range.version) for text_range in ranges if text_range.version))
    each(lambda file: check_unchanged(*file), files, remote=any(is_remote(uri) for uri, _ in files))


def check_unchanged(uri: str, version: str) -> None:
    """InputError unless the file is the one that was listed with this version."""
    root, path = split_uri(uri)
    info = open_storage(root).info(path)
    if info is None or info.version != version:
        raise InputError(f"{uri} changed while it was read; run again with --overwrite")


def change_since(files: Sequence[InputFile]) -> str:
    """A sentence about files that are not any more what they were when they were listed, "" if there are none.

    Of many files in a store, some are looked at.
    """
    remote = bool(files) and is_remote(files[0].uri)
    looked_at = files[:: -(-len(files) // _LOOKED_AT)] if remote else files
    changed = [change for change in each(_change_of, looked_at, remote) if change]
    if not changed:
        return ""
    more = f" (and {len(changed) - 1:,} more)" if len(changed) > 1 else ""
    return (
        f"{changed[0]}{more} while the run was at work, which took what was there when it began. For the rest, start it"
        " again with --overwrite or another --output"
    )


def _change_of(file: InputFile) -> str:
    root, path = split_uri(file.uri)
    try:
        info = open_storage(root).info(path)
    except PipelineError:  # nothing is known of it
        return ""
    if info is None:
        return f"{file.uri} was removed"
    if info.size > file.size:
        return f"{file.uri} grew from {file.size:,} to {info.size:,} bytes"
    return "" if file.version in ("", info.version) else f"{file.uri} changed"


def _listed(patterns: Sequence[str]) -> Iterator[str]:
    """The patterns, with those of list files in their place."""
    for pattern in patterns:
        if not pattern.startswith("@"):
            yield pattern
            continue
        root, path = split_uri(pattern[1:])
        try:
            lines = open_storage(root).read(path).decode("utf-8", "surrogateescape").split("\n")
        except ArtifactError as error:
            raise InputError(f"--input={pattern} cannot be read: {error}") from error
        named = []
        for number, line in enumerate(lines, 1):
            line = line.removeprefix("\ufeff")  # at the beginning, and where lists were joined
            if line.lstrip().startswith("#"):
                continue
            refuse_secrets(line, f"--input={pattern}: line {number:,}")
            if line.strip():
                named.append(line.rstrip("\r"))
        if not named:
            raise InputError(f"--input={pattern} lists no file: write one a line")
        yield from named


def read_option_file(option: str, uri: str, most: int | None = None) -> bytes:
    """The file that an option names; InputError names both when it cannot be read, or has more than `most` bytes."""
    root, path = split_uri(uri)
    try:
        if most is None:
            return open_storage(root).read(path)
        with open_storage(root).open(path) as file:
            data = file.read(most + 1)
    except (ArtifactError, OSError) as error:
        raise InputError(f"--{option}={uri} cannot be read: {error}") from error
    if len(data) > most:
        raise InputError(f"--{option}={uri} has more than {most:,} bytes: it is no such file")
    return data


def split_names(names: str) -> list[str]:
    """The names in a list with commas. A file that is there may have commas in its own name."""
    parts = [names] if "," in names and os.path.exists(names) else names.split(",")
    return [part.strip() for part in parts if part.strip()]


def uri_order(uri: str) -> bytes:
    """The sort key of the corpus: the bytes of the uri (names of local files may be any bytes)."""
    return uri.encode("utf-8", "surrogateescape")


def _match_local(pattern: str) -> Iterator[InputFile]:
    folder, name = split_uri(pattern)
    path = os.path.join(folder, name)
    if os.path.isdir(path):
        paths = _walk(path)
    elif os.path.lexists(path) or not _MAGIC.search(path):
        paths = iter([path])
    else:
        # The working directory is not part of the pattern, so its `*?[` are escaped.
        own = os.path.commonpath([path, os.getcwd()])
        paths = (
            match
            for match in glob.iglob(glob.escape(own) + path[len(own) :], recursive=True)
            if not os.path.isdir(match)
        )
    for match in paths:
        try:
            info = os.stat(match)
        except FileNotFoundError:
            if os.path.lexists(match):
                raise InputError(f"{match} is a link to a file that does not exist") from None
            continue  # deleted since it was listed, or never there: the caller reports that no file matches
        except OSError as error:
            raise InputError(f"{match} cannot be read: {error.strerror}") from error
        if not stat.S_ISREG(info.st_mode):
            raise InputError(f"{match} is not a regular file; save the text in one, since it is read twice")
        if not os.access(match, os.R_OK):
            if not os.path.lexists(match):
                continue
            raise InputError(f"{match} cannot be read: permission denied")
        yield InputFile(os.path.abspath(match), info.st_size, str(info.st_mtime_ns))


def _walk(folder: str) -> Iterator[str]:
    def fail(error: OSError) -> None:
        raise InputError(f"{error.filename} cannot be listed: {error.strerror}") from error

    top, followed = os.path.realpath(folder), set()

    def leads_elsewhere(path: str) -> bool:
        """Whether a link leads out of `top`, to a folder not visited yet: no file twice, no endless loop."""
        real = os.path.realpath(path)
        if os.path.commonpath([real, top]) in (real, top) or real in followed:
            return False
        followed.add(real)
        return True

    for place, folders, names in os.walk(folder, onerror=fail, followlinks=True):
        paths = [(name, os.path.join(place, name)) for name in sorted(folders) if name[0] not in "._"]
        folders[:] = [name for name, path in paths if not os.path.islink(path) or leads_elsewhere(path)]
        yield from (os.path.join(place, name) for name in names if name[0] not in "._")


def _match_remote(pattern: str) -> list[InputFile]:
    root, path = split_uri(pattern)
    storage = open_storage(root)
    info = storage.info(path) if path and not path.endswith("/") else None
    if info is not None:
        return [InputFile(storage.uri(path), info.size, info.version)]
    magic = _MAGIC.search(path)
    folder = path[: magic.start()].rpartition("/")[0] if magic else path.rstrip("/")
    parts = [name for name in path.split("/") if name]
    files = []
    for info in storage.list(folder):
        below = info.path[len(folder) :].strip("/")
        hidden = any(name[0] in "._" for name in below.split("/") if name)
        if _matches(info.path.split("/"), parts) if magic else not hidden:
            files.append(InputFile(storage.uri(info.path), info.size, info.version))
    return files


def _matches(names: Sequence[str], parts: Sequence[str]) -> bool:
    """Whether the parts of a glob match the names of a path, by the rules of `glob` for folders."""
    if not names or not parts:
        return not names and not parts
    hidden = names[0].startswith(".") and not parts[0].startswith(".")
    if parts[0] == "**":
        return _matches(names, parts[1:] or ["*"]) or (not hidden and _matches(names[1:], parts))
    return not hidden and fnmatch.fnmatchcase(names[0], parts[0]) and _matches(names[1:], parts[1:])
