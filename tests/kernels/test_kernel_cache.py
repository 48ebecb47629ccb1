"""Compiled kernels are kept on disk, are never stale, and are nobody else's."""

import grp
import json
import os
import pathlib
import pickle
import pwd
import shutil
import subprocess
import sys
import tempfile

import numba
import pytest

import pipeline
from pipeline.kernels import compile
from tests.helpers.commands import finish
from tests.helpers.warm import WarmProcess

ROOT = pathlib.Path(pipeline.__file__).parent
SCRIPT = """
import numpy as np
from pipeline.kernels import philox, generate
from pipeline.kernels.negatives import _multiply_high
print(int(_multiply_high(np.uint64(2**63), np.uint64(6))), sum(_multiply_high.stats.cache_hits.values()))
"""


said: list[str] = []


@pytest.fixture(scope="module")
def with_numba():
    script = ROOT.parent / "tests" / "helpers" / "with_numba.py"
    command = [sys.executable, "-P", "-B", script]  # -B: two edits in one second look the same to Python
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.stdin.close()


@pytest.fixture
def run(with_numba):
    """Runs a script in a new process with the package in a folder, and this cache; what it prints, in words."""

    def run(folder, cache, script=SCRIPT):
        print(json.dumps([str(folder), str(cache), script]), file=with_numba.stdin, flush=True)
        status, out, error = json.loads(with_numba.stdout.readline())
        assert status == 0, error
        said.append(error)
        return out.split()

    return run


def test_second_process_compiles_nothing_and_an_edited_helper_is_noticed(run, tmp_path):
    shutil.copytree(ROOT, tmp_path / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    cache = tmp_path / "cache"
    assert run(tmp_path, cache) == ["3", "0"]
    assert run(tmp_path, cache) == ["3", "1"]
    helper = tmp_path / "pipeline" / "kernels" / "philox.py"  # negatives.py imports it and stays as it is
    helper.write_text(helper.read_text() + "\n# another line\n")
    assert run(tmp_path, cache) == ["3", "0"]
    source = tmp_path / "pipeline" / "kernels" / "negatives.py"
    source.write_text(source.read_text().replace("return a_high * b_high + (", "return 100 + a_high * b_high + ("))
    assert run(tmp_path, cache) == ["103", "0"]


def test_a_torn_file_and_a_full_disk_only_cost_time(run, tmp_path):
    assert run(ROOT.parent, tmp_path) == ["3", "0"]
    for ending, left in (("nbc", 0), ("nbc", 100), ("nbi", 10)):
        (torn,) = tmp_path.rglob(f"negatives._multiply_high-*.{ending}")
        os.truncate(torn, left)
        assert run(ROOT.parent, tmp_path) == ["3", "0"]
        assert "is damaged" in said[-1]
        assert run(ROOT.parent, tmp_path) == ["3", "1"]
        assert not said[-1]
    shutil.rmtree(torn.parent)
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (50, 50))\n{SCRIPT}"
    assert run(ROOT.parent, tmp_path, limited) == ["3", "0"]
    assert "cannot be kept" in said[-1]


PAIR = """
from typing import NamedTuple

class Pair(NamedTuple):
    {fields}

class Pairs(NamedTuple):
    pair: Pair
"""
DIFFERENCE = """
from pipeline.kernels.compile import kernel

@kernel
def difference(pairs):
    return pairs.pair.left - pairs.pair.right
"""
SUBTRACT = """
from difference import difference
from pair import Pair, Pairs
print(difference(Pairs(Pair(left=5, right=3))), sum(difference.stats.cache_hits.values()))
"""


def test_fields_of_a_named_tuple_that_change_places_are_not_taken_for_each_other(run, tmp_path):
    """Its class may lie outside the folder of kernels, whose digest then stays."""
    cache = tmp_path / "cache"
    (tmp_path / "difference.py").write_text(DIFFERENCE)

    def subtract(fields: str) -> list[str]:
        (tmp_path / "pair.py").write_text(PAIR.format(fields=fields))
        return run(tmp_path, cache, f"import sys; sys.path.append({str(ROOT.parent)!r})\n{SUBTRACT}")

    assert subtract("left: int; right: int") == ["2", "0"]
    assert subtract("left: int; right: int") == ["2", "1"]
    assert subtract("right: int; left: int") == ["2", "0"]


USER, ATTACKER, TEAM = 54321, 54322, 54323
"""Numbers that no list of users has, as in a container."""
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
FOLDER = "from pipeline.kernels import compile"
"""Imported by root: the interpreter may lie where the other user cannot read."""
FOLDER_AS_USER = "print(compile.cache_folder()); compile.report_cache()"
KERNEL = "import grp, pwd, numba, tqdm; numba.njit(lambda x: x + 1)(1)"
KERNEL_AS_USER = """
import numpy as np
from pipeline.kernels.negatives import _multiply_high
print(getattr(_multiply_high._cache, "_cache_path", ""), flush=True)
input()
print(int(_multiply_high(np.uint64(2**63), np.uint64(6))), sum(_multiply_high.stats.cache_hits.values()))
"""
OTHER_TYPES = "_multiply_high(np.uint32(1), np.uint32(1))"
"""For which there is no machine code yet."""


@pytest.fixture
def place():
    """A folder of root's that every user can reach, with the package in it and a folder for temporary files."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = pathlib.Path(name)
        folder.chmod(0o755)
        shutil.copytree(ROOT, folder / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
        made(folder / "tmp", 0, 0o1777)
        made(folder / "work", USER, 0o700)
        yield folder


def made(folder, owner, mode, group=0):
    folder.mkdir()
    os.chown(folder, owner, group)
    folder.chmod(mode)
    return folder


def as_user(place, before, script, uid=USER, gid=USER, **environment):
    """A process that runs `before` as root and `script` as another user, in that user's folder `work`."""
    become = f"import os; os.setgroups([]); os.setgid({gid}); os.setuid({uid})"
    return subprocess.Popen(
        [sys.executable, "-c", f"{before}\n{become}\n{script}"],
        cwd=place / "work",
        text=True,
        env={"PYTHONPATH": str(place), "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": str(place / "tmp"), **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def folder_of(place, **given):
    """(the folder that is chosen, the lines on stderr)"""
    outcome = finish(WarmProcess(choose_folder, place, **given))
    assert outcome.status == 0, outcome.stderr
    return outcome.stdout.strip(), outcome.stderr.splitlines()


def choose_folder(place, uid=USER, gid=USER, **environment):
    """As another user, in that user's folder `work`, who has just loaded the kernels."""
    os.chdir(place / "work")
    os.environ.clear()
    os.environ.update({"TMPDIR": str(place / "tmp"), **environment})
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    numba.config.reload_config()
    compile._choose_folder.cache_clear()
    print(compile.cache_folder())
    compile.report_cache.cache_clear()
    compile.report_cache()
    return 0


def of_another_user(place):
    return {"HOME": str(made(place / "home", ATTACKER, 0o777))}, "{place}/home belongs to user 54322"


def without_a_home(place):
    return {}, "{place}/tmp/beam2vec-54321 belongs to user 54322"


def with_a_relative_cache(place):
    return {"XDG_CACHE_HOME": "cache", "HOME": "/nowhere"}, "/nowhere does not exist and cannot be created"


def of_a_group(place):
    return {"XDG_CACHE_HOME": str(made(place / "team", USER, 0o770, TEAM))}, "group 54323 may write to {place}/team"


def of_everybody(place):
    return {"XDG_CACHE_HOME": str(made(place / "all", 0, 0o777))}, "everybody may write to {place}/all"


def by_a_link_of_another_user(place):
    os.symlink(made(place / "own", USER, 0o700), place / "tmp" / "link")
    os.chown(place / "tmp" / "link", ATTACKER, ATTACKER, follow_symlinks=False)
    return {"XDG_CACHE_HOME": str(place / "tmp" / "link")}, "{place}/tmp/link belongs to user 54322"


def by_a_link_to_another_user(place):
    os.symlink(made(place / "theirs", ATTACKER, 0o777), place / "link")
    return {"XDG_CACHE_HOME": str(place / "link")}, "{place}/theirs belongs to user 54322"


def of_the_group_of_a_container(place):
    """As OpenShift runs it: any number, group 0, the home at the root, folders that group 0 may write to."""
    shared = made(place / "shared", 0, 0o775)
    return {"HOME": "/", "NUMBA_CACHE_DIR": str(shared), "gid": 0}, "group root may write to {place}/shared"


CASES = [
    of_another_user,
    without_a_home,
    with_a_relative_cache,
    of_a_group,
    of_everybody,
    by_a_link_of_another_user,
    by_a_link_to_another_user,
    of_the_group_of_a_container,
]


@needs_root
@pytest.mark.parametrize("case", CASES)
def test_where_another_user_could_write_nothing_is_kept_and_one_line_says_so(place, case):
    made(place / "tmp" / f"beam2vec-{USER}", ATTACKER, 0o777)  # before we came, where everybody may
    given, why = case(place)
    folder, lines = folder_of(place, **given)
    assert folder == ""
    assert len(lines) == 1
    assert why.format(place=place) in lines[0]
    assert "set XDG_CACHE_HOME or NUMBA_CACHE_DIR to a folder of your own" in lines[0]
    assert list((place / "work").iterdir()) == []  # neither "~" nor "cache"


@needs_root
@pytest.mark.parametrize("given", [{}, {"HOME": "/"}, {"HOME": "~"}, {"XDG_CACHE_HOME": "cache"}])
def test_without_a_home_the_folder_for_temporary_files_will_do(place, given):
    folder, lines = folder_of(place, gid=0, **given)
    assert folder.startswith(f"{place}/tmp/beam2vec-{USER}/beam2vec/kernels-")
    assert (os.stat(folder).st_uid, os.stat(folder).st_mode & 0o777) == (USER, 0o700)
    assert lines == []
    assert list((place / "work").iterdir()) == []


@needs_root
def test_a_chosen_folder_that_is_refused_is_told(place):
    everybodys = made(place / "all", 0, 0o777)
    home = made(place / "home", USER, 0o755)
    folder, lines = folder_of(place, HOME=str(home), NUMBA_CACHE_DIR=str(everybodys))
    assert folder.startswith(f"{home}/.cache/beam2vec/kernels-")
    assert len(lines) == 1
    assert lines[0].startswith(f"NUMBA_CACHE_DIR={everybodys} is not used (everybody may write to {everybodys}): ")
    other, lines = folder_of(place, HOME=str(home), XDG_CACHE_HOME=str(everybodys))
    assert other.startswith(f"{place}/tmp/beam2vec-{USER}/beam2vec/kernels-")
    assert len(lines) == 1
    assert lines[0].startswith(f"XDG_CACHE_HOME={everybodys} is not used (everybody may write to {everybodys}): ")
    lines = folder_of(place, NUMBA_CACHE_DIR="~nobody-here/x", XDG_CACHE_HOME=str(everybodys))[1]
    assert len(lines) == 1
    assert lines[0].startswith(
        "NUMBA_CACHE_DIR=~nobody-here/x is not used (~nobody-here is not the home of a user of this system)"
    )
    assert f", and XDG_CACHE_HOME={everybodys} is not used" in lines[0]
    assert list((place / "work").iterdir()) == []
    given = {"HOME": str(home), "NUMBA_CACHE_DIR": str(everybodys), "WORKER_ID": "sdk-0-0"}
    assert folder_of(place, **given) == (folder, [])  # the command has told it, its workers need not


@pytest.mark.parametrize(("job", "variable"), [("export", "NUMBA_CACHE_DIR"), ("evaluate", "XDG_CACHE_HOME")])
def test_a_command_tells_once_of_a_folder_that_is_refused(job, variable, tmp_path):
    """As it begins: also one that does not come to compiled code."""
    everybodys = tmp_path / "all"
    everybodys.mkdir()
    everybodys.chmod(0o777)
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    done = subprocess.run(
        [sys.executable, "-m", f"jobs.{job}"],
        env={**environment, "PYTHONPATH": str(ROOT.parent), variable: str(everybodys)},
        cwd=ROOT.parent,
        capture_output=True,
        text=True,
    )
    told, error = done.stderr.splitlines()
    assert told.startswith(f"{variable}={everybodys} is not used (everybody may write to ")
    assert error.startswith(f"beam2vec {job}: ")


@needs_root
def test_without_any_folder_kernels_are_compiled_and_one_line_says_so(place):
    nowhere = "import tempfile; tempfile._candidate_tempdir_list = lambda: []"  # nothing can be written
    out, error = as_user(place, f"{FOLDER}\n{nowhere}", FOLDER_AS_USER).communicate(timeout=120)
    assert out == "\n"
    assert error.count("\n") == 1
    assert "there is neither a home nor a folder for temporary files" in error


@needs_root
def test_a_group_of_ones_own_and_a_link_of_ones_own_will_do(place):
    """Debian and Fedora make a group for each user, who then works with umask 002."""
    groups = {(one.gr_name, one.gr_gid): one.gr_mem for one in grp.getgrall()}
    first = [one.pw_gid for one in pwd.getpwall()]
    alone = [
        one
        for one in pwd.getpwall()
        if one.pw_uid and groups.get((one.pw_name, one.pw_gid)) == [] and first.count(one.pw_gid) == 1
    ]
    if not alone:
        pytest.skip("no user here has a group of its own")
    user = alone[0]
    home = made(place / "home", user.pw_uid, 0o775, user.pw_gid)
    os.symlink(home, place / "tmp" / "link")
    os.chown(place / "tmp" / "link", user.pw_uid, user.pw_gid, follow_symlinks=False)
    given = {"uid": user.pw_uid, "gid": user.pw_gid}
    os.chown(place / "work", user.pw_uid, user.pw_gid)
    folder, lines = folder_of(place, HOME=f"{place}/tmp/link", **given)
    assert folder.startswith(f"{home}/.cache/beam2vec/kernels-")
    assert lines == []
    os.chown(home, user.pw_uid, TEAM)
    assert not folder_of(place, HOME=str(home), **given)[0].startswith(str(home))


class Payload:
    """What runs when it is read as a pickle."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (pathlib.Path.touch, (self.mark,))


@needs_root
def test_a_cache_that_is_swapped_after_it_was_chosen_does_not_run(place):
    before = made(place / "tmp" / f"beam2vec-{USER}", ATTACKER, 0o777)
    mark = place / "work" / "ran"
    victim = as_user(place, KERNEL, KERNEL_AS_USER, HOME="/nowhere")
    if chosen := victim.stdout.readline().strip():
        (before / "beam2vec").rename(before / "moved")
        os.makedirs(chosen)
        for line in range(1, 400):
            name = f"negatives._multiply_high-{line}.py{sys.version_info[0]}{sys.version_info[1]}.nbi"
            pathlib.Path(chosen, name).write_bytes(pickle.dumps(Payload(mark)))
    out, error = victim.communicate("\n", timeout=120)
    assert not mark.exists()
    assert out.split() == ["3", "0"]
    assert error.count("\n") == 1


@needs_root
def test_a_cache_of_roots_is_read_and_left_alone(place):
    """Such as one that was made with the image of a container."""
    image = made(place / "image", 0, 0o755)
    root = as_user(place, KERNEL, KERNEL_AS_USER, uid=0, gid=0, NUMBA_CACHE_DIR=str(image))
    assert root.communicate("\n", timeout=120)[0].split()[1:] == ["3", "0"]
    subprocess.run(["chmod", "-R", "a+rX", image], check=True)
    there = sorted(image.rglob("*"))
    user = as_user(place, KERNEL, KERNEL_AS_USER + OTHER_TYPES, NUMBA_CACHE_DIR=str(image))
    out, error = user.communicate("\n", timeout=120)
    assert out.split()[1:3] == ["3", "1"]
    assert (error, sorted(image.rglob("*"))) == ("", there)
    (kept,) = image.rglob("*.nbc")
    kept.chmod(0o666)  # now everybody can change what would run
    user = as_user(place, KERNEL, KERNEL_AS_USER, NUMBA_CACHE_DIR=str(image))
    assert user.communicate("\n", timeout=120)[0].split()[-2:] == ["3", "0"]
