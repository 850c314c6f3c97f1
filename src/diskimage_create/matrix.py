"""A matrix of images: one for every combination of values of some options. Text to axes, axes to requests; no I/O."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product

from diskimage_create.errors import Problem
from diskimage_create.model import Source
from diskimage_create.releases import RELEASES
from diskimage_create.request import Reader, Request

#: Options that take one value each, and make another image
AXES = ("os", "release", "arch", "profile", "backend", "kernel", "size", "git_branch", "snapshot")
#: Options that would give all images one name
NOT_WITH_MATRIX = ("logfile", "docker_target")
#: What neither a file of diskimage-builder's nor the tag of a container image can have in its name
_NOT_IN_NAMES = re.compile(r"[^\w.-]", re.ASCII)
_FORM = "AXIS=VALUE,..., e.g. os=debian,ubuntu"

_Combination = Mapping[str, str]


def expand(
    command_line: Request,
    words: Iterable[str],
    where: str,
    distribution: Callable[[Request], str | None],
    problems: list[Problem],
) -> tuple[list[Request], str | None]:
    """The images of a matrix, and what is to be said of those that cannot be.

    :param words: ``AXIS=VALUE,...``
    :param where: how the user spelled the option
    :param distribution: that of an image, if it is known
    :param problems: gets what is wrong; the images are those of what is right
    """
    wrong: list[Problem] = []
    axes = read(words, where, wrong)
    wrong += _conflicts(command_line, axes)
    asked = requests(command_line, axes)
    problems += wrong
    if wrong:  # without what is wrong it is another matrix
        return asked, None
    kept, left_out = _possible(asked, distribution)
    if not kept:
        hint = "name releases of the distributions that are to be built"
        problems.append(Problem(f"no image is left of the matrix: {left_out}", where, hint))
    return kept, f"left out: {left_out}" if left_out else None


def read(words: Iterable[str], where: str, problems: list[Problem]) -> dict[str, tuple[str, ...]]:
    """Axis -> its values, both in the order of the words.

    :param problems: gets what is wrong, which is left out then
    """
    axes: dict[str, tuple[str, ...]] = {}
    for word in words:
        name, equals, text = word.partition("=")
        axis = name.replace("-", "_")
        if not equals:
            problems.append(Problem(f"{word!r} is no axis", where, _FORM))
        elif axis not in AXES:
            problems.append(Problem(f"unknown axis {name!r}", where, _instead_of(axis)))
        elif axis in axes:
            problems.append(Problem(f"the axis {name} is there twice", where, f"all its values at once: {name}=A,B"))
        else:
            axes[axis] = tuple(_values(name, text.split(","), where, problems))
    return {axis: values for axis, values in axes.items() if values}


def _instead_of(axis: str) -> str:
    if axis == "type":
        return "-t gives every image several types, all from one build"
    close = difflib.get_close_matches(axis, AXES, n=1)
    return (f"did you mean {_long(close[0])}? " if close else "") + f"one of {', '.join(map(_long, AXES))}"


def _values(name: str, values: Sequence[str], where: str, problems: list[Problem]) -> Iterator[str]:
    if "" in values:
        problems.append(Problem(f"the axis {name} has an empty value", where, _FORM))
    for value in dict.fromkeys(filter(None, values)):
        if values.count(value) > 1:
            problems.append(Problem(f"the axis {name} has {value!r} more than once", where, "once is enough"))
        yield value


def _conflicts(command_line: Request, axes: Iterable[str]) -> list[Problem]:
    """What the command line says that cannot be said along with these axes."""
    reader, options = Reader(command_line), command_line.options
    for name in NOT_WITH_MATRIX:
        if options.get(name) is not None:
            reader.problem("it cannot hold for several images", reader.where(name), "leave it out")
    for axis in axes:
        if options.get(axis) is not None and command_line.sources.get(axis) is Source.FLAG:
            reader.problem("it is an axis of the matrix as well", reader.where(axis), "leave out one of the two")
    if options.get("output_directory") is not None and os.path.dirname(options.get("output") or ""):
        hint = "name the directory in one of the two"
        reader.problem("--output has a directory too", reader.where("output_directory"), hint)
    return reader.problems


def requests(command_line: Request, axes: Mapping[str, Sequence[str]]) -> list[Request]:
    """One for every combination, the last axis changing first.

    Names of images end in the values that tell them apart; default names tell profiles apart already.
    """
    named = [
        axis
        for axis, values in axes.items()
        if len(values) > 1 and (axis != "profile" or command_line.options.get("output") is not None)
    ]
    combinations = [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]
    return [_request(command_line, combination, named) for combination in combinations]


def _request(command_line: Request, combination: _Combination, named: Iterable[str]) -> Request:
    return replace(
        command_line,
        options={**command_line.options, **combination},
        sources={**command_line.sources, **dict.fromkeys(combination, Source.FLAG)},
        places={"": _place(f"{_long(axis)}={value}" for axis, value in combination.items())},
        combination=combination,
        suffix="".join(f"-{_NOT_IN_NAMES.sub('-', combination[axis])}" for axis in named),
    )


def _possible(asked: Iterable[Request], distribution: Callable[[Request], str | None]) -> tuple[list[Request], str]:
    """Those whose distributions have their releases; what the others are, for the user."""
    kept, left_out = [], []
    for request in asked:
        release = str(request.options.get("release") or request.environ.get("DIB_RELEASE", ""))
        actual = distribution(request)
        if actual is not None and RELEASES.get(release, (actual,))[0] != actual:
            left_out.append(f"{request.options.get('os') or actual} {release}")
        else:
            kept.append(request)
    pairs = list(dict.fromkeys(left_out))
    return kept, f"{', '.join(pairs)}: no such release{'s' * (len(pairs) > 1)}" if pairs else ""


def placed(found: Iterable[tuple[_Combination, Problem]], everything: Sequence[_Combination]) -> list[Problem]:
    """What is wrong with images, each problem once, with the values that bring it about; of all images: without."""
    having: dict[Problem, list[_Combination]] = {}
    for combination, problem in found:
        having.setdefault(problem, []).append(combination)
    varying = {axis for axis, value in everything[0].items() if any(each[axis] != value for each in everything)}
    return [
        _at(problem, values, everything[0], varying)
        for problem, those in having.items()
        for values in _reasons(those, everything)
    ]


def _reasons(those: Sequence[_Combination], everything: Iterable[_Combination]) -> Sequence[_Combination]:
    """The values that all of them have in common, if no other has these; otherwise each of them."""
    common = {axis: value for axis, value in those[0].items() if all(each[axis] == value for each in those)}
    others = [each for each in everything if each not in those]
    return those if any(common.items() <= each.items() for each in others) else [common]


def _at(problem: Problem, values: _Combination, axes: Iterable[str], varying: Iterable[str]) -> Problem:
    """The problem in terms of the matrix: an axis is in the place of its option."""
    option = next((axis for axis in axes if problem.where == f"--{_long(axis)}"), None)
    words = []
    for axis in axes:
        if axis in values and (axis in varying or axis == option):
            words.append(f"{_long(axis)}={values[axis]}")
        elif axis == option:
            words.append(_long(axis))
    if not words:
        return problem
    rest = f": {problem.where}" if problem.where and not option else ""
    return replace(problem, where=_place(words) + rest)


def _place(words: Iterable[str]) -> str:
    return " ".join(["--matrix", *words])


def _long(axis: str) -> str:
    return axis.replace("_", "-")
