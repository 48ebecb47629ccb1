"""Folders from which code may be loaded, because no other user can write there.

All caches of code follow one rule; docs/reliability.md has it for users ("Compiled code that is kept").
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import stat

_MOST_LINKS = 40
"""The limit of Linux."""


class NotPrivateError(OSError):
    """A folder cannot be trusted or cannot be used; the message names it and says why."""


def private_folder(path: str) -> str:
    """The folder of this path, created if it is missing, after a check that only this user and root can change it.

    Every folder and link on the way has to belong to this user or to root. Others may not write to these folders,
    except to a sticky one such as /tmp, where only the owner of an entry can move it. To the folder itself and its
    files others may not write in any case. A group counts as others, unless it is the user's own. The folder may
    belong to root; then this user can perhaps only read it.

    Folders are checked from the top. Each is looked up in one that has passed, so nobody can swap it afterwards.

    Args:
      path: absolute, or relative to the working directory; ~ stands for a home.

    Returns:
      The path without links.

    Raises:
      NotPrivateError: other users can change the folder, or it cannot be created or read.
    """
    try:
        path = os.path.expanduser(path)
        if path.startswith("~"):
            raise NotPrivateError(f"{path.partition('/')[0]} is not the home of a user of this system")
        folder = _resolve_links(os.path.join(os.getcwd(), path))
        status = os.lstat(folder)
        _check(folder, status)
        if not os.access(folder, os.R_OK | os.X_OK):
            raise NotPrivateError(f"{folder} cannot be read")
        if status.st_mode & (stat.S_IXGRP | stat.S_IXOTH):  # otherwise other users cannot reach the files
            for entry in os.scandir(folder):
                with contextlib.suppress(FileNotFoundError):  # another process has renamed it meanwhile
                    _check(entry.path, entry.stat(follow_symlinks=False))
    except NotPrivateError:
        raise
    except OSError as error:
        raise NotPrivateError(f"{error.filename or path} cannot be used ({error.strerror})") from error
    return folder


def home_folder() -> str | None:
    """The user's home, absolute; None if neither HOME nor the system's list of users has one."""
    home = os.path.expanduser("~")
    return home if os.path.isabs(home) else None


def _resolve_links(path: str) -> str:
    """Resolves the links of an absolute path; checks each folder and link before it looks up the next."""
    folder, ahead, links = "/", _parts(path), 0
    _check(folder, os.lstat(folder), sticky_will_do=True)
    while ahead:
        name = ahead.pop()
        if name == "..":
            folder = os.path.dirname(folder)
            continue
        place = os.path.join(folder, name)
        status = _status_or_new_folder(place)
        _check(place, status, sticky_will_do=True)
        if stat.S_ISLNK(status.st_mode):
            links += 1
            if links > _MOST_LINKS:
                raise NotPrivateError(f"{path} is an endless chain of links")
            target = os.readlink(place)
            ahead += _parts(target)
            folder = "/" if os.path.isabs(target) else folder
        elif stat.S_ISDIR(status.st_mode):
            folder = place
        else:
            raise NotPrivateError(f"{place} is not a folder")
    return folder


def _parts(path: str) -> list[str]:
    """Names of a path, the last one first."""
    return [name for name in path.split("/") if name not in ("", ".")][::-1]


def _status_or_new_folder(place: str) -> os.stat_result:
    """Status of a path; if nothing is there, it becomes a folder for this user alone."""
    try:
        return os.lstat(place)
    except FileNotFoundError:
        try:
            os.mkdir(place, 0o700)
        except FileExistsError:  # another process was faster
            pass
        except OSError as error:
            raise NotPrivateError(f"{place} does not exist and cannot be created ({error.strerror})") from error
        return os.lstat(place)


def _check(place: str, status: os.stat_result, sticky_will_do: bool = False) -> None:
    """NotPrivateError if users other than this one and root can change what is at a place."""
    if status.st_uid not in (0, os.geteuid()):
        raise NotPrivateError(f"{place} belongs to {_user(status.st_uid)}")
    if stat.S_ISLNK(status.st_mode) or (sticky_will_do and status.st_mode & stat.S_ISVTX):
        return
    if status.st_mode & stat.S_IWOTH:
        raise NotPrivateError(f"everybody may write to {place}")
    if status.st_mode & stat.S_IWGRP and not _is_own_group(status.st_gid):
        raise NotPrivateError(f"group {_group(status.st_gid)} may write to {place}")


def _is_own_group(gid: int) -> bool:
    """Whether a group is this user's alone: it has the user's name, is the user's first group, and has no other
    members.

    Debian and Fedora create such a group for each user. Root has none, because users of containers are often in group
    0.
    """
    uid = os.geteuid()
    try:
        user, group = pwd.getpwuid(uid), grp.getgrgid(gid)
    except KeyError:
        return False
    others = any(entry.pw_gid == gid and entry.pw_uid != uid for entry in pwd.getpwall())
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
