"""Where a result cannot go, a command says so before it works for it."""

from __future__ import annotations

import os
import pathlib
import resource
import socket
import stat
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline.errors import ArtifactError, InputError
from pipeline.runs.result_files import result_file, result_files
from pipeline.storage.open_storage import open_storage
from tests.helpers.commands import ROOT, run

NO_RUN = "--run=no/such/run"
"""Whoever looks for it, says so first."""


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch) -> pathlib.Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("~/x", "~ stands for no folder, since you have no home here"),
        ("~", "~ stands for no folder, since you have no home here"),
        ("~nobody-here/x", "~nobody-here stands for no folder, since nobody-here has no home here"),
        ("folder", "is a folder: name a file"),
        ("folder/", "is a folder: name a file"),
        ("file/x", "/file is not a folder"),
        ("file/x/y", "/file is not a folder"),
        ("ftp://host/x", "ftp:// is not supported"),
    ],
)
@pytest.mark.parametrize("arguments", [["evaluate", "json"], ["report", "to"], ["export", "to", "--format=npy"]])
def test_a_target_is_looked_at_first(arguments, target, why, monkeypatch, place):
    monkeypatch.setenv("HOME", "~")
    job, option, *others = arguments
    outcome = run(f"jobs.{job}", NO_RUN, f"--{option}={target}", *others)
    assert outcome.status == 2
    assert why in outcome.error
    assert target in outcome.error
    assert sorted(path.name for path in place.iterdir()) == ["file", "folder"]


@pytest.mark.parametrize("option", ["--output", "--corpus", "--vocabulary", "--stopwords", "--config", "--input"])
def test_no_folder_is_called_like_a_home_that_is_not_known(option, monkeypatch, place):
    (place / "text.txt").write_text("a b c\n" * 9)
    given = {"--input": "text.txt", "--output": "run", option: "~/x"}
    if option == "--corpus":
        del given["--input"]
    monkeypatch.setenv("HOME", "~")
    outcome = run("jobs.train", *(f"{name}={value}" for name, value in given.items()))
    assert outcome.status == 2
    assert "~/x: ~ stands for no folder, since you have no home here; write the path in full" in outcome.error
    assert not (place / "~").exists()


def test_a_file_whose_name_begins_with_a_tilde_is_one(place):
    assert open_storage("~text.txt").root == str(place / "~text.txt")


def test_what_is_missing_on_the_way_is_made_later(place):
    result_file("--to", "new/folder/x.npy")
    result_files("--to", "folder/", ["x", "y"])
    result_file("--to", "file")
    result_file("--to", "memory://bucket/x")
    with pytest.raises(InputError, match="--to=file is a file: name a folder"):
        result_files("--to", "file", ["x", "y"])


def test_a_folder_that_may_not_be_written_is_told(place):
    """By a user who is not root: root may write everywhere."""
    (place / "folder").chmod(0o555)
    script = (
        "import os, sys\n"
        "from pipeline.runs.result_files import result_file, result_files\n"
        "result_file('--json', 'file')\n"  # imports the rest, which another user may not read
        "os.getuid() or os.setuid(65534)\n"
        "for to in sys.argv[1:]:\n"
        "    try:\n"
        "        result_file('--json', to)\n"
        "    except Exception as error:\n"
        "        print(error)"
    )
    os.chmod(place, 0o755)
    inside = "/usr" if os.getuid() == 0 else str(place / "folder")  # this folder may lie where others see nothing
    done = subprocess.run(
        [sys.executable, "-c", script, f"{inside}/x", f"{inside}/new/x"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [
        f"--json={inside}/x cannot be written: you may not write to {inside}",
        f"--json={inside}/new/x cannot be written: you may not write to {inside}",
    ]


@pytest.fixture
def say(place):
    """Writes through a name, as by --to, and says what the file that it should be has in it then."""

    def say(name: str, data: bytes = b"new") -> None:
        result_file("--to", name).put(data)
        result_file("--to", name).write(lambda file: [file.write(data), file.tell() == len(data) or 1 / 0])

    return say


def test_a_link_stays_and_its_target_is_replaced(place, say):
    (place / "folder" / "target").write_text("old")
    (place / "link").symlink_to("folder/target")
    (place / "chain").symlink_to(place / "link")
    say("chain")
    assert (place / "folder" / "target").read_text() == "new"
    assert (place / "link").is_symlink()
    assert (place / "chain").is_symlink()
    assert [path.name for path in (place / "folder").iterdir()] == ["target"]


def test_a_link_that_leads_nowhere_makes_what_it_names(place, say):
    (place / "link").symlink_to("new/target")
    say("link")
    assert (place / "link").is_symlink()
    assert (place / "new" / "target").read_text() == "new"


@pytest.mark.parametrize(
    ("target", "why"), [("link", "Too many levels of symbolic links"), ("folder", "is a folder: name a file")]
)
def test_links_that_cannot_be_written(place, target, why):
    (place / "link").symlink_to(target)
    with pytest.raises(InputError, match=f"--to=link .*{why}"):
        result_file("--to", "link")


def makes_devices() -> bool:
    """Whether this user makes devices, and can write to them where tests are."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            os.mknod(f"{folder}/null", stat.S_IFCHR | 0o600, os.makedev(1, 3))
            return pathlib.Path(folder, "null").write_bytes(b"x") == 1
        except OSError:
            return False


MAKES_DEVICES = makes_devices()
root = pytest.mark.skipif(not MAKES_DEVICES, reason="only root makes devices")


@pytest.fixture
def special(place) -> pathlib.Path:
    """A folder with a pipe, a socket, and if this is root, a device that takes all, one that is full, and a disk."""
    os.mkfifo(place / "pipe")
    socket.socket(socket.AF_UNIX).bind("socket")
    devices = {"null": (stat.S_IFCHR, 1, 3), "full": (stat.S_IFCHR, 1, 7), "disk": (stat.S_IFBLK, 7, 250)}
    for name, (kind, *number) in devices.items() if MAKES_DEVICES else ():
        os.mknod(place / name, kind | 0o600, os.makedev(*number))
    return place


def test_a_pipe_is_written_and_stays(special, say):
    (special / "link").symlink_to("pipe")
    for name in ("pipe", "link"):
        with ThreadPoolExecutor(1) as pool:
            read = [pool.submit((special / "pipe").read_bytes)]
            result_file("--to", name).write(lambda file: file.write(b"new"))
            assert read[0].result(timeout=60) == b"new"
    assert (special / "pipe").is_fifo()


@root
def test_a_device_is_written_and_stays(special, say):
    say("null")
    assert (special / "null").is_char_device()
    for to in ("full", "/dev/full"):
        with pytest.raises(ArtifactError, match=f"--to={to} cannot be written: No space left on device"):
            say(to)
    assert (special / "full").is_char_device()


@pytest.mark.parametrize("name", ["socket", pytest.param("disk", marks=root)])
def test_what_cannot_be_written_is_refused(special, name):
    (special / "link").symlink_to(name)
    mode = (special / name).stat().st_mode
    for to in (name, "link"):
        with pytest.raises(InputError, match=f"--to={to} is a (socket|block device)"):
            result_file("--to", to)
    assert (special / name).stat().st_mode == mode


@pytest.mark.parametrize("name", ["-", "pipe", "/dev/stdout", "/dev/fd/2", pytest.param("null", marks=root)])
@pytest.mark.parametrize("format", ["npy", "projector", "safetensors"])
def test_several_files_do_not_go_into_one_stream(special, name, format):
    outcome = run("jobs.export", NO_RUN, f"--format={format}", f"--to={name}")
    assert outcome.status == 2
    assert f"--to={name} is" in outcome.error


def test_one_of_several_files_is_no_stream(special):
    os.rename(special / "pipe", special / "folder" / "vectors.tsv")
    outcome = run("jobs.export", NO_RUN, "--format=projector", "--to=folder")
    assert (outcome.status, "vectors.tsv is no file" in outcome.error) == (2, True)


def test_a_stream_that_is_not_open_for_writing(special):
    with open(special / "file") as file:
        for to in (f"/dev/fd/{file.fileno()}", "/proc/self/fd/987"):
            with pytest.raises(InputError, match=f"--to={to} cannot be written: it is not open for that"):
                result_file("--to", to)


def test_messages_are_kept_off_a_result_that_goes_where_they_go(special):
    """If standard output is a pipe that is named, too; and also when the pipe is gone since."""
    reads, before = os.open("pipe", os.O_RDONLY | os.O_NONBLOCK), os.dup(1)
    writes = os.open("pipe", os.O_WRONLY)
    file, other = result_file("--json", "pipe"), result_file("--json", "/dev/fd/2")
    os.dup2(writes, 1)
    try:
        same = [file.is_stdout, other.is_stdout, result_file("--json", "-").is_stdout]
        os.unlink("pipe")
        same.append(file.is_stdout)
    finally:
        os.dup2(before, 1)
        for number in (reads, before, writes):
            os.close(number)
    assert same == [True, False, True, False]


def test_an_open_file_is_written_where_it_stands(special):
    with open(special / "file", "wb", buffering=0) as file:
        file.write(b"before ")
        result_file("--to", f"/dev/fd/{file.fileno()}").put(b"new ")
        file.write(b"after")
    assert (special / "file").read_text() == "before new after"


@pytest.mark.parametrize("broken", [b"run.json", b"lock.json", b""])
def test_files_of_a_run_are_refused(place, broken):
    """Also if the run is half there: its lock alone, or nothing but its records."""
    run_folder = place / "runs" / "mine"
    (run_folder / "records" / "counts" / "0123abcd").mkdir(parents=True)
    (run_folder / "checkpoints").mkdir()
    if broken:
        (run_folder / broken.decode()).touch()
    (place / "link").symlink_to(run_folder / "checkpoints" / "x")
    (place / "away").mkdir()
    (run_folder / "tokens").symlink_to(place / "away")
    names = [
        "run.json",
        "lock.json",
        "records/counts/0123abcd/x.json",
        "checkpoints/x",
        "text",
        "metrics/new/x",
        "tokens/x",
    ]
    for to in ["link", *(f"runs/mine/{name}" for name in names)]:
        with pytest.raises(InputError, match=f"--json={to} (has the name|is in)"):
            result_file("--json", to)
    with pytest.raises(InputError, match=r"is in checkpoints/, where the run in .*/runs/mine has its own files"):
        result_files("--to", "runs/mine/checkpoints/new", ["x", "y"])
    result_file("--json", "runs/mine/report.html")
    result_file("--json", "runs/mine/mine/checkpoints")
    result_file("--json", "text/x")
    open_storage("memory://results/run").put("run.json", b"{}")
    with pytest.raises(InputError, match="is in tokens/, where the run in memory://results/run has its own files"):
        result_file("--json", "memory://results/run/tokens/x")


def test_the_old_file_is_kept_if_the_new_one_does_not_fit(place):
    (place / "file").write_text("old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limits[1]))
    try:
        with pytest.raises(ArtifactError, match="/file: File too large"):
            result_file("--to", "file").put(bytes(1 << 20))
        with pytest.raises(ArtifactError, match=r"a temporary file in .*TMPDIR.* cannot be written: File too large"):
            result_file("--to", "file").write(lambda file: file.write(bytes(1 << 20)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert sorted(path.name for path in place.iterdir()) == ["file", "folder"]
    assert (place / "file").read_text() == "old"


def test_a_temporary_file_that_cannot_be_made_is_told(place, monkeypatch):
    monkeypatch.setattr("tempfile.TemporaryFile", lambda **_: (place / "no" / "folder").open())
    with pytest.raises(ArtifactError, match="no temporary file can be made: No such file or directory"):
        result_file("--to", "file").write(lambda file: file.write(b"new"))
