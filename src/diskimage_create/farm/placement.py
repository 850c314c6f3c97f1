"""Which worker can build what: what workers offer, and what images need, as Dask's resources.

A resource is a name and an amount; a task is given to a worker that has as much of each as it needs.
Source: https://distributed.dask.org/en/stable/resources.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from diskimage_create.architectures import Runs, usual_name

#: Builds at the same time
SLOT = "build"
LOOP = "loop"
MEMORY = "memory"
Resources = Mapping[str, float]


def offered(slots: int, architectures: Mapping[str, Runs], memory: int, loop_devices: bool) -> dict[str, float]:
    """What a worker says of itself.

    :param slots: builds that it takes at once
    :param architectures: whose programs run there, and how
    :param memory: bytes
    """
    runs = {_architecture(arch, how): float(slots) for arch, how in architectures.items()}
    return {SLOT: float(slots), MEMORY: float(memory), **({LOOP: float(slots)} if loop_devices else {}), **runs}


def needed(arch: str, memory: int, workers: Sequence[Resources]) -> dict[str, float]:
    """What the build of an image asks for.

    Where one of the workers runs the programs of its architecture itself, no other one gets it.

    :param memory: bytes
    :param workers: what each of them offers
    :raises LookupError: none of them can build it; says why
    """
    common = {SLOT: 1.0, LOOP: 1.0, MEMORY: float(memory)}
    for how in Runs:
        wanted = {**common, _architecture(arch, how): 1.0}
        if any(can(worker, wanted) for worker in workers):
            return wanted
    raise LookupError(_why(arch, common, workers))


def _architecture(arch: str, how: Runs) -> str:
    return f"{how.name.lower()}-{usual_name(arch)}"


def can(worker: Resources, wanted: Resources) -> bool:
    """Whether a worker that has nothing else to do could take a task."""
    return all(worker.get(name, 0.0) >= amount for name, amount in wanted.items())


def has_room(wanted: Resources, running: Sequence[Resources], workers: Sequence[Resources]) -> bool:
    """Whether one of the workers that can take a task is likely to have a slot, and the memory, for it.

    :param running: what the tasks that were submitted before have asked for
    """
    alike = sum(_alike(wanted, other) and other[MEMORY] >= wanted[MEMORY] for other in running)
    slots = sum(worker.get(SLOT, 0.0) for worker in workers)
    return len(running) < slots and alike < sum(_how_many(worker, wanted) for worker in workers)


def _how_many(worker: Resources, wanted: Resources) -> int:
    """How many such tasks a worker could do at the same time."""
    return min(int(worker.get(name, 0.0) // amount) for name, amount in wanted.items())


def _alike(one: Resources, other: Resources) -> bool:
    """Whether two tasks ask for the same kind of worker."""
    return one.keys() == other.keys()


def _why(arch: str, common: Resources, workers: Sequence[Resources]) -> str:
    """What no worker has; of several things, what comes first."""
    if not workers:
        return "there are no workers"
    if not any(worker.get(SLOT) for worker in workers):
        return "none of the workers was started by 'diskimage-create worker'"
    if not any(worker.get(_architecture(arch, how)) for worker in workers for how in Runs):
        return f"programs of {arch} run on no worker"
    if not any(worker.get(LOOP) for worker in workers):
        return "no worker has loop devices"
    if not any(worker.get(MEMORY, 0.0) >= common[MEMORY] for worker in workers):
        return f"no worker has {common[MEMORY] / 2**30:.0f} GiB of memory"
    return f"no worker has all of it: {arch}, loop devices and {common[MEMORY] / 2**30:.0f} GiB of memory"
