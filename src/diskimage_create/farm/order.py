"""Which of many images comes first, and how many are built at once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from diskimage_create.farm.jobs import Job
from diskimage_create.files import existing
from diskimage_create.inputs import identities
from diskimage_create.model import STAGES, ImageSpec
from diskimage_create.plan import MIN_TMPFS_BYTES
from diskimage_create.progress import expected_seconds
from diskimage_create.workspace import parent_of

#: Memory of a build, without what its tmpfs holds
_BUILD_BYTES = 2**30
#: What disk-image-create expects to find free for a tmpfs
_TMPFS_BYTES = 2 * MIN_TMPFS_BYTES
#: What a build leaves in its working directory while it goes on: the disk, and what is made of it
_WORK_BYTES = 3 * 2**30


def in_order(jobs: Sequence[Job]) -> list[Job]:
    """The jobs as they should begin.

    Images that begin alike wait for the first of them to make what they share: so those come first that others do not
    wait for; among these, those that take longest, as the end of the last one is the end of all.
    """
    first: dict[str, Job] = {}
    longest = sorted(jobs, key=_seconds, reverse=True)
    others = [job for job in longest if first.setdefault(_beginning(job), job) is not job]
    return [*first.values(), *others]


def made_of(jobs: Sequence[Job]) -> Mapping[str, frozenset[str]]:
    """Name of a job -> names of jobs before it whose images its own variables name: it is made of these."""
    found: dict[str, frozenset[str]] = {}
    places = {str(job.plan.spec.output.parent) for job in jobs}
    for number, job in enumerate(jobs):
        values = [setting.value for setting in job.plan.environment.values()]
        values = [value for value in values if any(place in value for place in places)]  # few, where images are many
        found[job.name] = frozenset(
            other.name for other in jobs[:number] if any(path in value for path in _files(other) for value in values)
        )
    return found


def most_at_once(jobs: Sequence[Job], wanted: int | None) -> tuple[int, str | None]:
    """How many builds this machine can carry at once, and why no more where that are fewer than wanted.

    :param wanted: None: as many as there are cores
    """
    limits = {
        "the memory that is free": available_bytes() // max(map(_memory, jobs)),
        "the free space of the working directory": min(_free(job) for job in jobs) // _WORK_BYTES,
    }
    asked = wanted or os.cpu_count() or 1
    what, least = min(limits.items(), key=lambda limit: limit[1])
    if max(least, 1) >= min(asked, len(jobs)):
        return min(asked, len(jobs)), None
    return max(least, 1), f"{max(least, 1)} at once: {what} is enough for no more"


def _beginning(job: Job) -> str:
    """The identity of the first stage, as far as it is known without the network."""
    return identities(job.plan.inputs)[STAGES[0]]


def _seconds(job: Job) -> float:
    return expected_seconds(job.plan.spec)


def _files(job: Job) -> list[str]:
    spec = job.plan.spec
    return [str(spec.path_of(kind)) for kind in spec.types]


def memory_bytes(spec: ImageSpec, environment: Iterable[str]) -> int:
    """What a build may need.

    :param environment: names of its variables
    """
    in_memory = spec.tmpfs and "DIB_NO_TMPFS" not in environment
    return _BUILD_BYTES + (_TMPFS_BYTES if in_memory else 0)


def available_bytes() -> int:
    """MemAvailable of proc(5): what can be used without swapping."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")


def _memory(job: Job) -> int:
    return memory_bytes(job.plan.spec, job.plan.environment)


def _free(job: Job) -> int:
    return shutil.disk_usage(existing(parent_of(job.plan.spec.work_dir))).free
