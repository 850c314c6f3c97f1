"""Builds that begin alike: one of them makes the stages that they share, and the others wait for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial

from diskimage_create.model import IMAGE, STEPS
from diskimage_create.store import Store


class Turns:
    """The stages that a build is going to make, and that nobody else makes meanwhile.

    A stage's identity covers that of the stage before. So builds that share one take their turns in the same order, and
    no two wait for each other.
    """

    def __init__(self, store: Store, stack: ExitStack, say: Callable[[str], None]) -> None:
        """
        :param stack: ends the turns that are not over by then
        """
        self._store = store
        self._say = say
        self._lock = threading.Lock()
        self._mine: dict[str, ExitStack] = {}
        stack.callback(self._end_all)

    def take(self, identities: Mapping[str, str], usable: Sequence[str]) -> None:
        """Take the turn for each stage that is not stored, as soon as nobody else makes it.

        :param identities: of the build's steps
        :param usable: the steps that it may take from the store
        """
        steps = [step for step in STEPS if step in usable]
        furthest = max((n for n, step in enumerate(steps) if self._is_stored(step, identities)), default=-1)
        for step in steps[furthest + 1 :]:
            if step != IMAGE:  # whose turn the build has already
                self._take_one(step, identities)

    def over(self, step: str) -> None:
        """A stage is stored, or will not be: whoever waits for it looks again."""
        with self._lock:
            mine = self._mine.pop(step, None)
        if mine:
            mine.close()

    def _take_one(self, step: str, identities: Mapping[str, str]) -> None:
        turn = ExitStack()
        wait = partial(self._say, f"another build makes the stage after {step}.d: waiting for it")
        turn.enter_context(self._store.building(identities[step], wait))
        if self._is_stored(step, identities):  # it has just been made
            turn.close()
        else:
            self._mine[step] = turn

    def _is_stored(self, step: str, identities: Mapping[str, str]) -> bool:
        return self._store.find(step, identities[step]) is not None

    def _end_all(self) -> None:
        for step in list(self._mine):
            self.over(step)
