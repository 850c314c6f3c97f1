"""What many images ask of the disk is answered once, as long as they are worked out together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, ParamSpec, TypeVar

Parameters = ParamSpec("Parameters")
Answer = TypeVar("Answer")

_answers: ContextVar[dict[Any, Any] | None] = ContextVar("answers", default=None)


@contextmanager
def same_answers() -> Iterator[None]:
    """From here to the end of the block, a function that is marked ``once`` reads the same thing once only."""
    token = _answers.set({})
    try:
        yield
    finally:
        _answers.reset(token)


def once(function: Callable[Parameters, Answer]) -> Callable[Parameters, Answer]:
    """Mark a function whose answer depends on its arguments (hashable ones) and on the disk."""

    @wraps(function)
    def ask(*args: Parameters.args, **more: Parameters.kwargs) -> Answer:
        answers = _answers.get()
        if answers is None:
            return function(*args, **more)
        question = (function, args, tuple(more.items()))
        if question not in answers:
            answers[question] = function(*args, **more)
        answer: Answer = answers[question]
        return answer

    return ask
