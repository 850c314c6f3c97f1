"""The same for many things, several at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from diskimage_create import process

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
#: Seconds that threads get to clean up after their programs were stopped, before what they started for it is stopped
_PATIENCE = 10.0


def each(work: Callable[[_Item], _Result], items: Iterable[_Item], jobs: int) -> list[_Result]:
    """What a function returns for each item, in the order of the items.

    What interrupts us stops the programs that the threads run, and lets them clean up.

    :param jobs: how many at once
    """
    from concurrent.futures import ThreadPoolExecutor, wait

    with ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            return [future.result() for future in futures]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            while wait(futures, timeout=0).not_done:
                process.stop_running()
                wait(futures, timeout=_PATIENCE)
            raise
