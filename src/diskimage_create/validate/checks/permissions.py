"""Checks of who may do what with the files of an image: rights that a program lends, and files open to all."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable

from diskimage_create.model import Expectation
from diskimage_create.validate.registry import Outcome, check, listed, skipped, verdict
from diskimage_create.validate.root import Entry, ImageRoot
from diskimage_create.validate.system.privileged import CAPABLE, unknown_rights, usual_name
from diskimage_create.validate.view import ImageView

_CAPABILITIES = "security.capability"
_SPECIAL = stat.S_ISUID | stat.S_ISGID

#: Hidden at boot by what is mounted there
_MOUNT_POINTS = ("/dev/", "/proc/", "/sys/", "/run/")

#: Where programs are, and so those with capabilities
_PROGRAMS = (
    *("/bin/", "/home/", "/lib", "/opt/", "/root/", "/sbin/", "/srv/", "/tmp/", "/usr/bin/", "/usr/lib", "/usr/local/"),
    *("/usr/sbin/", "/var/tmp/"),
)


@check("privileged-programs", "Every program with the rights of others is one that distributions ship so")
def privileged_programs(view: ImageView, expectation: Expectation) -> Outcome:
    """Setuid and setgid files, and files with capabilities, are on the list of those that distributions' packages hold.

    Whoever starts such a program has its owner's rights for as long as it runs: a copy of a
    shell with this bit makes everybody root, and a tool that was not written for it does too.
    The list says which package each comes from. What an element installs beside it should run
    through sudo, or as a service, instead.
    """
    root = view.root
    problems, known = [], 0
    for entry in root.entries:
        if not stat.S_ISREG(entry.mode):
            continue
        if entry.mode & _SPECIAL and (unknown := unknown_rights(entry.name, entry.mode)):
            problems.append(f"{entry.name} is {unknown}")
        elif entry.mode & _SPECIAL:
            known += 1
        if entry.mode & 0o111 and entry.name.startswith(_PROGRAMS) and _has_capabilities(root, entry.name):
            if usual_name(entry.name) in CAPABLE:
                known += 1
            else:
                problems.append(f"{entry.name} has capabilities")
    return verdict([listed(sorted(problems))] if problems else [], f"{known}, all known")


def _has_capabilities(root: ImageRoot, name: str) -> bool:
    # Names of entries are free of links: to resolve them takes longer than to ask.
    path = root.resolve(name, follow=False) if root.mounted else f"{root.path}{name}"
    try:
        return bool(os.getxattr(path, _CAPABILITIES, follow_symlinks=False))
    except OSError as error:
        # No such attribute, or a file system that has none.
        if error.errno in (errno.ENODATA, errno.ENOTSUP):
            return False
        raise


@check("writable-by-all", "Nothing can be written by everybody")
def writable_by_all(view: ImageView, expectation: Expectation) -> Outcome:
    """No file can be written by every user, and no directory without the sticky bit (as /tmp has it).

    Any service that is broken into could change such a file: a configuration, a script that
    root runs, or the lock that another one waits for. Mend it where the file is made
    (``chmod o-w``), or remove it.
    """
    found = []
    for entry in view.root.entries:
        mode = entry.mode
        if not mode & stat.S_IWOTH or not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            continue
        if not (stat.S_ISDIR(mode) and mode & stat.S_ISVTX) and not entry.name.startswith(_MOUNT_POINTS):
            found.append(f"{entry.name} ({stat.S_IMODE(mode):04o})")
    return verdict([listed(sorted(found))] if found else [], "none")


@check("unowned-files", "Every file belongs to a user and a group that exist")
def unowned_files(view: ImageView, expectation: Expectation) -> Outcome:
    """The owner and the group of every file are in /etc/passwd and /etc/group.

    A number without a name is given to the next user who is added, together with the files.
    They come from archives that were unpacked with the numbers of another machine, or stay
    behind a user who was removed.
    """
    root = view.root
    if not root.is_file("/etc/passwd"):
        return skipped("there is no /etc/passwd to compare with")
    users, groups = _numbers(root, "passwd"), _numbers(root, "group")
    found = [
        f"{entry.name} ({entry.uid}:{entry.gid})"
        for entry in root.entries
        if (entry.uid not in users or entry.gid not in groups) and not entry.name.startswith(_MOUNT_POINTS)
    ]
    return verdict([f"{len(found)} files: {listed(sorted(found))}"] if found else [], _owners(root.entries))


def _numbers(root: ImageRoot, table: str) -> set[int]:
    """The numbers in a table of users or groups, and root's."""
    # /usr/lib: where the redhat family's image-based systems have theirs (nss-altfiles).
    texts = [root.read_text(f"{directory}/{table}") for directory in ("/etc", "/usr/lib")]
    rows = [line.split(":") for text in texts if text for line in text.splitlines()]
    return {0, *(int(row[2]) for row in rows if len(row) > 2 and row[2].isdigit())}


def _owners(entries: Iterable[Entry]) -> str:
    return f"{len({entry.uid for entry in entries})} users own files"
