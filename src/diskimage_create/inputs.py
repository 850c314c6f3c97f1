"""What the content of an image depends on, sorted by the step of a build that can feel it first.

A build makes the root file system after ``root.d``, then that after ``pre-install.d``, then that
after ``install.d``, then the image. Each step's identity is a digest over its own inputs and the
identity of the step before: two builds with the same identity of a step may share what it made.
What cannot be told to be without influence on an early step belongs to the first one.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from diskimage_create.host import PROXY_VARIABLES
from diskimage_create.model import (
    DISK_VARIABLES,
    ELEMENT_WORDS,
    IMAGE,
    SIZE_WORDS,
    STEPS,
    ElementFile,
    ImageSpec,
    Inputs,
    ResolvedElement,
    Setting,
)

#: Part of every identity: a change of what a stage holds, or of how it is resumed, makes all older ones useless
STORE_FORMAT = 1

#: First part of a path in an element -> the step that reads it first (diskimage_builder/lib/disk-image-create;
#: for data, the hooks of diskimage-builder's elements that read it). All else belongs to the first step.
_STEP_OF_PART: Mapping[str, str] = {
    "extra-data.d": "pre-install",
    "pre-install.d": "pre-install",
    "package-installs.json": "pre-install",  # squashed in extra-data.d, as the next four are merged and fetched
    "package-installs.yaml": "pre-install",
    "pkg-map": "pre-install",
    "svc-map": "pre-install",
    "modprobe.d": "pre-install",
    "install.d": "install",
    "static": "install",  # install-static: install.d/10
    "init-scripts": "install",  # dib-init-system: install.d/20
    **dict.fromkeys(("post-install.d", "post-root.d", "block-device.d"), IMAGE),
    **dict.fromkeys(("pre-finalise.d", "finalise.d", "cleanup.d"), IMAGE),
    # What they say of other elements is an input of its own.
    **dict.fromkeys(("element-deps", "element-provides"), IMAGE),
    # Read by no hook.
    **dict.fromkeys(("README.rst", "README.md", "README", ".nostage", "tests", "test-elements"), IMAGE),
}

#: Elements whose environment.d only gives the variables of the disk their defaults
_MAKE_THE_DISK = ("block-device-", "bootloader")
#: Variables that name a place on this host or a way to the network, or say how to go about a build
_NOT_CONTENT = frozenset(
    {
        *("ELEMENTS_PATH", "DISKIMAGE_CREATE_CA_BUNDLE", "DIB_LOCKFILES", "DIB_IMAGE_CACHE", "DIB_MANIFEST_SAVE_DIR"),
        *("DIB_DEBUG_TRACE", "DIB_QUIET", "DIB_NO_TMPFS", "DIB_MIN_TMPFS"),
        *PROXY_VARIABLES,
    }
)
#: Kinds of local inputs: ``KIND:NAME``, and ``element:NAME:PATH``. The names of remote ones have no such form.
_KINDS = ("element", "environment", "file", "option", "tool")


@dataclass(frozen=True)
class Change:
    """An input that two builds do not share; None where one of them does not have it."""

    step: str
    name: str
    old: str | None
    new: str | None

    def __str__(self) -> str:
        if self.name.startswith("apt ") and self.old and self.new:
            return f"{self.name}: new release file"
        kind, _, rest = self.name.partition(":")
        what = f"{kind} {rest.replace(':', ': ', 1)}" if kind in _KINDS else self.name
        if self.old is None:
            return f"{what} added"
        if self.new is None:
            return f"{what} removed"
        if _is_plain(self.old) and _is_plain(self.new):
            return f"{what}: {self.old} -> {self.new}"
        return f"{what} changed"


def _is_plain(value: str) -> bool:
    """Whether a value says something to a reader; digests and long texts do not."""
    return len(value) <= 80 and "sha256:" not in value and "\n" not in value


def step_of(path: str) -> str:
    """The first step that a file of an element can have an influence on."""
    first = path.partition("/")[0]
    if first.startswith("source-repository-"):
        return "pre-install"
    if first.startswith("block-device-"):
        return IMAGE
    return _STEP_OF_PART.get(first, STEPS[0])


def local_inputs(
    spec: ImageSpec,
    resolved: Sequence[ResolvedElement],
    environment: Mapping[str, Setting],
    files: Inputs,
    key: bytes,
) -> Inputs:
    """Everything that can be known without asking the network.

    :param files: tools, and files that the user named
    :param key: secrets are told apart by their HMAC with this; so are files that secrets name, as those may be short
    """
    inputs: dict[str, dict[str, str]] = {step: dict(files.get(step, {})) for step in STEPS}
    for element in resolved:
        for name, file in _files(element):
            inputs[step_of(file.path)][f"element:{element.name}:{name}"] = file.value
    for name, setting in environment.items():
        if name not in _NOT_CONTENT:
            value = keyed(key, name, setting.value) if setting.secret else setting.value
            step = _first_reader(DISK_VARIABLES[name], resolved) if name in DISK_VARIABLES else STEPS[0]
            inputs[step][f"environment:{name}"] = value
            for named in inputs.values():
                if setting.secret and (digest := named.get(f"file:{name}")):
                    named[f"file:{name}"] = keyed(key, name, digest)
    _add_options(inputs, spec, resolved, key)
    return {step: dict(sorted(inputs[step].items())) for step in STEPS}


def _files(element: ResolvedElement) -> Iterator[tuple[str, ElementFile]]:
    yield from ((file.path, file) for file in element.files)
    for number, file in enumerate(element.shadowed, 2):
        yield f"{file.path} of the element's version {number}", file


def _add_options(
    inputs: dict[str, dict[str, str]], spec: ImageSpec, resolved: Sequence[ResolvedElement], key: bytes
) -> None:
    """Most options work through elements and variables; those are inputs of the steps that they belong to."""
    names = ("backend", "compat_compression", "compressed", "cpu_pinning", "distribution", "enforce_mac", "family")
    for name in (*names, "fips", "kernel", "os", "profile", "release", "sshd"):
        inputs[IMAGE][f"option:{name}"] = str(getattr(spec, name))
    inputs[_first_reader(SIZE_WORDS, resolved)]["option:size_gib"] = str(spec.size_gib)
    inputs[STEPS[0]]["option:arch"] = spec.arch
    inputs[STEPS[0]]["option:arguments"] = shlex.join(spec.arguments)
    inputs[STEPS[0]]["option:skip_base"] = str(spec.skip_base)
    inputs[IMAGE]["option:qemu_img_options"] = str(spec.qemu_img_options)
    inputs[IMAGE]["option:packages"] = " ".join(spec.packages)  # installed after install.d
    # Element custom-ca installs them after install.d.
    inputs[IMAGE]["option:ca_certificates"] = " ".join(f"{each.name}:{each.sha256}" for each in spec.ca_certificates)
    inputs[IMAGE]["option:types"] = ",".join(sorted(spec.types))
    password = spec.root_password
    inputs[IMAGE]["option:root_password"] = "not set" if password is None else keyed(key, "root_password", password)
    closure = " ".join(element.name for element in resolved)
    inputs[_first_reader(ELEMENT_WORDS, resolved)]["option:elements"] = closure
    inputs[IMAGE]["option:element-list"] = " ".join(spec.elements)  # an argument, which the image's manifests show


def _first_reader(words: frozenset[str], resolved: Iterable[ResolvedElement]) -> str:
    """The first step whose files mention one of the words; diskimage-builder itself looks at them for the image."""
    reading = {
        step_of(file.path)
        for element in resolved
        for file in element.files
        if file.mentions & words
        and not (file.path.startswith("environment.d/") and element.name.startswith(_MAKE_THE_DISK))
    }
    return next((step for step in STEPS if step in reading), IMAGE)


def keyed(key: bytes, name: str, secret: str) -> str:
    """A secret's digest that says nothing to who does not know the key."""
    return "hmac-sha256:" + hmac.digest(key, os.fsencode(f"{name}\0{secret}"), "sha256").hex()


def merged(local: Inputs, remote: Inputs) -> Inputs:
    """The inputs of both kinds together."""
    return {step: {**local.get(step, {}), **remote.get(step, {})} for step in STEPS}


def identities(inputs: Inputs) -> dict[str, str]:
    """Step -> its identity."""
    found: dict[str, str] = {}
    identity = f"format {STORE_FORMAT}"
    for step in STEPS:
        text = json.dumps([identity, step, inputs.get(step, {})], sort_keys=True)
        found[step] = identity = f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
    return found


def fingerprint(inputs: Inputs) -> str:
    """One digest over all inputs: the identity of the image."""
    return identities(inputs)[IMAGE]


def changes(old: Inputs, new: Inputs) -> list[Change]:
    """What differs, in the order of the steps; what moved from one step to another is in both of them."""
    found = []
    for step in STEPS:
        before, now = old.get(step, {}), new.get(step, {})
        names: Iterable[str] = sorted(before.keys() | now.keys())
        found += [
            Change(step, name, before.get(name), now.get(name)) for name in names if before.get(name) != now.get(name)
        ]
    return found


def summary(inputs: Inputs, resolved: Iterable[ResolvedElement]) -> dict[str, str]:
    """Name -> value of all inputs, an element's files as its one digest."""
    flat = {name: value for step in STEPS for name, value in inputs[step].items() if not name.startswith("element:")}
    flat |= {f"element:{element.name}": element.digest for element in resolved}
    return dict(sorted(flat.items()))
