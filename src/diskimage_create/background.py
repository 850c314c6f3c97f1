"""Work that goes on while something else is done."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

Answer = TypeVar("Answer")


def begun(work: Callable[[], Answer]) -> Callable[[], Answer]:
    """Begin work in a thread of its own.

    Unlike those of an executor, the thread is not waited for when the program ends.

    :returns: waits for the work, and returns or raises what it does; can be called again
    """
    answers: list[Answer] = []
    failed: list[Exception] = []

    def run() -> None:
        try:
            answers.append(work())
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def answer() -> Answer:
        thread.join()
        if failed:
            raise failed[0]
        return answers[0]

    return answer
