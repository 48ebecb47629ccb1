"""Folders from which code may be loaded, because no other user can put anything there.

docs/reliability.md has the rule for users ("Compiled code that is kept"). All caches of code share it.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import stat

_MOST_LINKS = 40
"""As Linux has it."""


class NotPrivateError(OSError):
    """A folder cannot be trusted, or cannot be had; the message names it and says what is wrong with it."""


def private_folder(path: str) -> str:
    """The folder of this path, made where it is missing, if this user and root alone can change what is in it.

    Every folder on the way belongs to this user or to root, and so does every link. Nobody else may write to one,
    except where it is sticky, as /tmp is: there, only its owner can move an entry. To the folder itself and its
    files others may not write in any case. A group counts as others unless it is the user's own. The folder may be
    root's; then this user can perhaps only read it.

    Folders are checked from the top. Each is looked up in one that has passed, so nobody can swap it afterwards.

    Args:
      path: absolute, or from the working directory; ~ is a home.

    Returns:
      The path without links.

    Raises:
      NotPrivateError: somebody else can change it, or it cannot be made or read.
    """
    try:
        path = os.path.expanduser(path)
        if path.startswith("~"):
            raise NotPrivateError(f"{path.partition('/')[0]} is no home that is known here")
        folder = _followed(os.path.join(os.getcwd(), path))
        status = os.lstat(folder)
        _check(folder, status)
        if not os.access(folder, os.R_OK | os.X_OK):
            raise NotPrivateError(f"{folder} cannot be read")
        if status.st_mode & (stat.S_IXGRP | stat.S_IXOTH):  # else others do not get at the files
            for entry in os.scandir(folder):
                with contextlib.suppress(FileNotFoundError):  # another process has renamed it meanwhile
                    _check(entry.path, entry.stat(follow_symlinks=False))
    except NotPrivateError:
        raise
    except OSError as error:
        raise NotPrivateError(f"{error.filename or path} cannot be used ({error.strerror})") from error
    return folder


def home_folder() -> str | None:
    """The user's home, absolute; None where neither HOME nor the system's list of users has one."""
    home = os.path.expanduser("~")
    return home if os.path.isabs(home) else None


def _followed(path: str) -> str:
    """An absolute path without its links, each folder and link on the way checked before the next is looked at."""
    here, ahead, links = "/", _parts(path), 0
    _check(here, os.lstat(here), sticky_will_do=True)
    while ahead:
        name = ahead.pop()
        if name == "..":
            here = os.path.dirname(here)
            continue
        place = os.path.join(here, name)
        status = _status_or_made(place)
        _check(place, status, sticky_will_do=True)
        if stat.S_ISLNK(status.st_mode):
            links += 1
            if links > _MOST_LINKS:
                raise NotPrivateError(f"{path} is a chain of links without an end")
            target = os.readlink(place)
            ahead += _parts(target)
            here = "/" if os.path.isabs(target) else here
        elif stat.S_ISDIR(status.st_mode):
            here = place
        else:
            raise NotPrivateError(f"{place} is no folder")
    return here


def _parts(path: str) -> list[str]:
    """Names of a path, the last one first."""
    return [part for part in path.split("/") if part not in ("", ".")][::-1]


def _status_or_made(place: str) -> os.stat_result:
    """Of a path, which is made a folder of this user's alone where there is nothing."""
    try:
        return os.lstat(place)
    except FileNotFoundError:
        try:
            os.mkdir(place, 0o700)
        except FileExistsError:  # another process was faster
            pass
        except OSError as error:
            raise NotPrivateError(f"{place} is not there and cannot be made ({error.strerror})") from error
        return os.lstat(place)


def _check(place: str, status: os.stat_result, sticky_will_do: bool = False) -> None:
    """NotPrivateError where somebody else than this user and root can change what is at a place."""
    if status.st_uid not in (0, os.geteuid()):
        raise NotPrivateError(f"{place} belongs to {_user(status.st_uid)}")
    if stat.S_ISLNK(status.st_mode) or (sticky_will_do and status.st_mode & stat.S_ISVTX):
        return
    if status.st_mode & stat.S_IWOTH:
        raise NotPrivateError(f"everybody may write to {place}")
    if status.st_mode & stat.S_IWGRP and not _is_own_group(status.st_gid):
        raise NotPrivateError(f"group {_group(status.st_gid)} may write to {place}")


def _is_own_group(gid: int) -> bool:
    """Whether a group is this user's alone, as Debian and Fedora make one for each user: with its name, its first
    group, and that of nobody else. Root has none: what runs under a number of its own in a container is often in
    group 0.
    """
    uid = os.geteuid()
    try:
        user, group = pwd.getpwuid(uid), grp.getgrgid(gid)
    except KeyError:
        return False
    others = any(one.pw_gid == gid and one.pw_uid != uid for one in pwd.getpwall())
    is_first = (group.gr_name, gid) == (user.pw_name, user.pw_gid)
    return uid != 0 and is_first and not others and set(group.gr_mem) <= {user.pw_name}


def _user(uid: int) -> str:
    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"user {uid}"


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
