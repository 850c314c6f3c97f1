"""The signals by which a user, or the system, ends a program."""

from __future__ import annotations

import signal
from types import FrameType
from typing import NoReturn

from diskimage_create.errors import Interrupted


def stop_on_signals(outcome: str = "everything is unmounted and removed") -> None:
    """The first signal ends the work through its clean-up; further ones do not disturb that.

    :param outcome: what is so then, for the user
    """
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def interrupt(signum: int, _frame: FrameType | None) -> NoReturn:
        for each in signals:
            signal.signal(each, signal.SIG_IGN)
        raise Interrupted(f"interrupted by {signal.Signals(signum).name}: {outcome}")

    for each in signals:
        signal.signal(each, interrupt)
