"""``elements lint``: what is wrong with elements, and with images that are made of them."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from diskimage_create import process
from diskimage_create.catalogue import Catalogue, Entry

# These fill RULES.
from diskimage_create.catalogue.lint import data, hooks, images, secrets, shell, structure
from diskimage_create.catalogue.lint.model import RULES, Context, Image, Rule, Severity, Violation
from diskimage_create.errors import HostError, InputError, Problem

__all__ = ["RULES", "Image", "Rule", "Severity", "Violation", "check", "choose"]
_MODULES = (structure, hooks, data, images, secrets, shell)


def choose(only: Iterable[str], skip: Iterable[str], shellcheck: bool | None) -> list[Rule]:
    """The rules that were asked for, in the order of their ids.

    :param shellcheck: None: where it is installed
    :raises InputError: there is no such rule
    :raises HostError: shellcheck was asked for, and is not installed
    """
    wanted, unwanted = _ids(only), _ids(skip)
    if problems := [*_unknown(wanted, "--only"), *_unknown(unwanted, "--skip")]:
        raise InputError(problems)
    if shellcheck is None:
        shellcheck = process.which(shell.PROGRAM) is not None
    elif shellcheck and process.which(shell.PROGRAM) is None:
        raise HostError("shellcheck is not installed", "install the package shellcheck, or leave --shellcheck out")
    if not shellcheck:
        unwanted.add(shell.RULE)
    return [RULES[id] for id in sorted(RULES) if (not wanted or id in wanted) and id not in unwanted]


def _ids(given: Iterable[str]) -> set[str]:
    return {word.upper() for text in given for word in text.replace(",", " ").split()}


def _unknown(ids: set[str], where: str) -> list[Problem]:
    problems = []
    for id in sorted(ids - RULES.keys()):
        close = difflib.get_close_matches(id, RULES, n=1)
        hint = f"did you mean {close[0]}?" if close else "'diskimage-create elements lint --list-rules' shows all"
        problems.append(Problem(f"there is no rule {id}", where, hint))
    return problems


def check(
    catalogue: Catalogue,
    entries: Sequence[Entry],
    rules: Sequence[Rule],
    found_in: Sequence[Image] = (),
    answers: Path | None = None,
) -> list[Violation]:
    """What elements break of the rules, and images of the rules for images; sorted by element, file and line.

    :param answers: a file to keep in what shellcheck says, so that it is asked about the same script once
    """
    context = Context(catalogue)
    if any(rule.id == shell.RULE for rule in rules):
        context.shell_remarks = shell.Remarks([context.content(entry.name) for entry in entries], answers)
    found = [
        Violation(rule, entry, each)
        for rule in rules
        if rule.of_element
        for entry in entries
        for each in rule.of_element(entry, context.content(entry.name), context)
    ]
    found += [
        Violation(rule, catalogue.used[each.element], each)
        for rule in rules
        if rule.of_image
        for image in found_in
        for each in rule.of_image(image, context)
    ]
    return sorted(filter(_is_no_exception(context), dict.fromkeys(found)), key=lambda each: each.sort_key)


def _is_no_exception(context: Context) -> Callable[[Violation], bool]:
    def counts(violation: Violation) -> bool:
        file = context.content(violation.entry.name).files.get(violation.found.path)
        return file is None or not file.excepts(violation.rule.id, violation.found.line)

    return counts
