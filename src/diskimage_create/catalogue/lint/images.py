"""Rules about the elements of one image: those that an element brings along, or those of a profile."""

from __future__ import annotations

from collections.abc import Iterator

from diskimage_create.catalogue import Entry
from diskimage_create.catalogue.lint.content import Content
from diskimage_create.catalogue.lint.model import Context, Found, Image, Severity, rule

#: What runs, or sets up, Heat's agents in an instance
_HEAT = ("os-collect-config", "os-apply-config", "os-refresh-config", "stackuser")
_HEAT_TOOLS = "heat-cfntools"
_DEPS = "element-deps"
#: Directly in the element, diskimage-builder copies all files into one directory, where these are read
_COPIED = "source-repository-"


@rule("EL401", "hook that another element has too", Severity.ERROR)
def same_hook(entry: Entry, content: Content, context: Context) -> Iterator[Found]:
    """Two elements of one image have a file of the same name in directories of the same name.

    diskimage-builder copies the hooks of all elements into one directory, and refuses the second one. Rename one of
    them. Elements are in one image when one depends on the other, or a third one on both, or a profile has both.
    """
    for path, other, both in _clashes(entry.name, context):
        if path.count("/") == 1:
            yield _found(entry, path, other, both, "diskimage-builder refuses the second one")


@rule("EL402", "file that another element overwrites", Severity.WARNING)
def overwritten(entry: Entry, content: Content, context: Context) -> Iterator[Found]:
    """Two elements of one image bring a file of the same name, with different content, into the same place.

    In directories below a phase's, below `static`, and for `source-repository-*`, diskimage-builder keeps the file of
    the element that it comes to last, and which one that is nobody can tell. Rename one of them.
    """
    for path, other, both in _clashes(entry.name, context):
        mine, theirs = context.content(other[0]).files[path], context.content(other[1]).files[path]
        if path.count("/") != 1 and mine.text != theirs.text:
            yield _found(entry, path, other, both, "which one is kept is not certain")


def _found(entry: Entry, path: str, pair: tuple[str, str], own: bool, what: str) -> Found:
    if own:
        other = pair[1] if pair[0] == entry.name else pair[0]
        return Found(f"{other} has such a file too: {what}", path)
    return Found(f"{pair[0]} and {pair[1]} both have {path}: {what}", _DEPS)


def _clashes(name: str, context: Context) -> Iterator[tuple[str, tuple[str, str], bool]]:
    """Files that two elements of an element's closure have, the two, and whether the element is one of them.

    Two that one of its dependencies has in its closure already are that one's.
    """
    closure = context.closure(name)
    inner = [set(context.closure(each)) for each in context.catalogue.elements[name].depends if each in closure]
    for path, pair in pairs(closure, context):
        own = name in pair
        if own or not any(pair[0] in below and pair[1] in below for below in inner if name not in below):
            yield path, pair, own


def pairs(closure: tuple[str, ...], context: Context) -> Iterator[tuple[str, tuple[str, str]]]:
    """Each file that two elements have, with the two."""
    first: dict[str, str] = {}
    for name in closure:
        for path in copied(context.content(name)):
            other = first.setdefault(path, name)
            if other != name:
                yield path, (other, name)


def copied(content: Content) -> list[str]:
    """The files that diskimage-builder copies into the directory that all elements share, and that are read there."""
    return [path for path in content.files if ("/" in path and "/." not in path) or path.startswith(_COPIED)]


@rule("EL403", "image for Heat without heat-cfntools", Severity.HINT, of_image=True)
def heat_without_tools(image: Image, _context: Context) -> Iterator[Found]:
    """An image has an element of Heat's (os-collect-config, os-apply-config, os-refresh-config, stackuser), but not
    heat-cfntools.

    tripleo-image-elements says to include it always in images that boot through Heat: without it the users' SSH keys
    are not reliably fetched from the metadata server. Add the element heat-cfntools.
    """
    present = [name for name in _HEAT if name in image.elements]
    if present and _HEAT_TOOLS not in image.elements:
        message = f"{image.title} has {', '.join(present)}, but not {_HEAT_TOOLS}: SSH keys may not be fetched"
        yield Found(message, element=present[0])


@rule("EL404", "hooks of one name in an image", Severity.ERROR, of_image=True)
def same_hook_in_image(image: Image, context: Context) -> Iterator[Found]:
    """Two elements of an image that was asked for (`--profile`, or names among which is an operating system) have a
    file of the same name in directories of the same name, though neither brings the other along.

    Like EL401: diskimage-builder refuses the second one. Leave one of the elements out, or rename the file.
    """
    for path, (one, other) in pairs(image.elements, context):
        together = any({one, other} <= set(context.closure(name)) for name in image.elements)
        if path.count("/") == 1 and not together:
            yield Found(f"{other} has such a file too, and both are in {image.title}", path, element=one)
