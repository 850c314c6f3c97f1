"""From options, environment and profile to an :class:`ImageSpec`, or to every problem there is at once.

Precedence: an option of the command line, its ``DISKIMAGE_CREATE_*`` variable, a variable
of diskimage-builder's or Octavia's, the profile.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diskimage_create import certificates, profiles, reproducible, settings, snapshot
from diskimage_create.errors import InputError
from diskimage_create.model import ARCHIVE_TYPES, EXTENSIONS, RAMDISK, Authority, ImageSpec, Setting, Source
from diskimage_create.profiles import OrNothing, Profile, chosen, matches
from diskimage_create.request import Reader, Request
from diskimage_create.settings import setting

#: Of an output's name: file systems allow 255, and we add extensions
_LONGEST_NAME = 200
_DEFAULT_PROFILE = "amphora"
ARCHITECTURES = ("i386", "amd64", "armhf", "arm64", "aarch64", "ppc64le")

#: diskimage-builder installs none there; a disk is refused by unsupported.yaml
_NO_BOOT_LOADER = ("armhf",)

#: Debian's names differ for two of them
_DEBIAN_ARCH = {"aarch64": "arm64", "ppc64le": "ppc64el"}


def read(request: Request) -> ImageSpec:
    """Check a request and fill in every default.

    :raises InputError: with every problem found
    """
    reader = Reader(request)
    for argument in request.options.get("unexpected") or ():
        reader.problem(f"unexpected argument {argument!r}", "command line", "elements are added with --element")
    profile = request.kind or _profile(reader)
    os_entry = _operating_system(reader, profile)
    arch = _arch(reader, os_entry)
    size = _size(reader, profile, os_entry)
    types = _types(reader, profile)
    output = _output(reader, profile, types, request.suffix)
    _check_names_are_free(reader, output, types)
    facts = _facts(reader, profile, os_entry, arch)
    environment = _environment(reader, profile, os_entry, facts)
    environment |= _snapshot(reader, os_entry, environment)
    elements = _elements(reader, profile, facts, environment)
    known = _known(facts, environment)
    authorities, notes = _ca_certificates(reader)
    if "vm" in elements and _goes_without_boot_loader(arch, types):
        elements = tuple(name for name in elements if name != "vm")
        notes.append(f"vm is left out: archives need no boot loader, and there is none for {arch}")
    password = _root_password(reader)
    work_dir, logfile = _directories(reader)
    _check_required_variables(reader, os_entry, environment)
    if reader.problems:
        raise InputError(reader.problems)
    return ImageSpec(
        profile=profile.name,
        arch=arch,
        os=os_entry["element"],
        distribution=os_entry["distribution"],
        family=os_entry["family"],
        release=str(facts["release"]),
        backend=str(facts["backend"]),
        size_gib=size,
        types=types,
        output=output,
        cache_dir=reader.path(str(reader.value("cache_dir", default="~/.cache/image-create"))),
        elements=(*elements, *(["custom-ca"] if authorities and "custom-ca" not in elements else [])),
        environment=environment,
        sources=reader.sources,
        kernel=facts.get("kernel"),
        work_dir=work_dir,
        logfile=logfile,
        packages=tuple(dict.fromkeys((*chosen(profile.packages, known), *_split(reader.options.get("package"))))),
        arguments=tuple(chosen(profile.arguments, known)),
        ca_certificates=authorities,
        notes=tuple(notes),
        requires_elements=profile.requires_elements,
        expected=tuple(entry for entry in profile.expected if matches(entry.get("when"), known)),
        docker_target=_docker_target(reader, types, output),
        root_password=password,
        enforce_mac=bool(facts["enforce_mac"]),
        sshd=bool(facts["sshd"]),
        fips=bool(facts["fips"]),
        cpu_pinning=bool(facts["cpu_pinning"]),
        tmpfs=not reader.options.get("no_tmpfs"),
        compressed=not reader.options.get("uncompressed"),
        compat_compression=bool(reader.options.get("compat_compression")),
        trace=int(reader.options.get("trace") or 0),
        skip_base=bool(reader.options.get("skip_base")),
        qemu_img_options=reader.options.get("qemu_img_options"),
    )


def profile_of(request: Request) -> Profile:
    """The profile of an image.

    :raises InputError: there is no such profile, or something is wrong with it
    """
    reader = Reader(request)
    found = request.kind or _profile(reader)
    if reader.problems:
        raise InputError(reader.problems)
    return found


def distribution(request: Request) -> str | None:
    """The distribution of an image; None where something is wrong with what says it."""
    reader = Reader(request)
    os_entry = _operating_system(reader, request.kind or _profile(reader))
    return None if reader.problems else str(os_entry["distribution"])


def _profile(reader: Reader) -> Profile:
    """The profile of that name, or in that file."""
    name, default = str(reader.value("profile", default=_DEFAULT_PROFILE)), profiles.load(_DEFAULT_PROFILE)
    places = profiles.directories(reader.environ)
    for place in places:
        if not place.is_dir():
            reader.problem(f"directory {place} does not exist", profiles.VARIABLE, "correct the variable, or unset it")
    is_file = name.endswith((".yaml", ".yml")) or os.sep in name
    path = reader.path(name) if is_file else profiles.find(name, places)
    if path is None:
        reader.choice("profile", name, profiles.names(places))
        return default  # so that the other options can be checked too
    try:
        return profiles.read(path)
    except InputError as error:
        reader.problems += error.problems
        return default


def _operating_system(reader: Reader, profile: Profile) -> Mapping[str, Any]:
    name = str(reader.value("os", default=profile.default_os))
    known = reader.choice("os", name, profile.operating_systems)
    return profile.operating_systems[known or profile.default_os]


def _arch(reader: Reader, os_entry: Mapping[str, Any]) -> str:
    arch = str(reader.value("arch", default=reader.host.arch))
    if reader.sources["arch"] is Source.PROFILE:
        reader.sources["arch"] = Source.HOST
    reader.choice("arch", arch, ARCHITECTURES)
    return _DEBIAN_ARCH.get(arch, arch) if os_entry["family"] == "debian" else arch


def _size(reader: Reader, profile: Profile, os_entry: Mapping[str, Any]) -> int | None:
    size_gib = reader.value("size", default=os_entry.get("size_gib", profile.size_gib))
    if size_gib is None:
        return None
    text = str(size_gib)
    if not re.fullmatch(r"0*[1-9][0-9]{0,5}", text):
        reader.problem(
            f"size {text!r} is not a positive whole number", reader.where("size"), "gigabytes, e.g. --size 5"
        )
        return None
    size, minimum = int(text), int(os_entry.get("minimum_size_gib", 1))
    if size < minimum:
        what = f"an image of {os_entry['distribution']} needs at least {minimum} GB, not {size}"
        reader.problem(what, reader.where("size"), f"--size {minimum}")
    return size


def _types(reader: Reader, profile: Profile) -> tuple[str, ...]:
    given = str(reader.value("type", default=profile.types[0]))
    types = [name.strip() for name in given.split(",") if name.strip()]
    for name in types:
        reader.choice("type", name, profile.types)
    if not types:
        reader.problem("no image type given", reader.where("type"), f"one of {', '.join(profile.types)}")
    return tuple(dict.fromkeys(part for name in types for part in (RAMDISK if name == "ramdisk" else (name,))))


def _output(reader: Reader, profile: Profile, types: Sequence[str], suffix: str) -> Path:
    text = str(reader.value("output", default=profile.output))
    where = reader.where("output")
    if directory := reader.options.get("output_directory"):
        text, where = os.path.join(directory, text), reader.where("output_directory")
    path = _without_extension(reader.path(text), types)
    is_directory = not path.name or text.endswith("/") or os.path.isdir(path)
    if suffix and not is_directory:
        path = path.with_name(f"{path.name}{suffix}")
    if is_directory or os.path.isdir(path):
        reader.problem(f"{text} is a directory", where, "name a file in it")
    elif os.path.exists(path) and not os.path.isfile(path):
        reader.problem(f"{text} is a device or a pipe", where, "name a file")
    elif not os.path.isdir(path.parent):
        reader.problem(f"directory {path.parent} does not exist", where, f"mkdir -p {path.parent}")
    elif not os.access(path.parent, os.W_OK):
        reader.problem(f"directory {path.parent} is not writable", where)
    elif len(path.name) > _LONGEST_NAME:
        reader.problem("the file's name is too long", where, f"at most {_LONGEST_NAME} characters")
    elif not re.fullmatch(r"[\w.+:@-]+", path.name, re.ASCII):
        # The name becomes a word of diskimage-builder's shell scripts.
        reader.problem(
            f"{path.name!r} has characters that an image name cannot have", where, "letters, digits and ._+:@-"
        )
    return path


def _without_extension(path: Path, types: Sequence[str]) -> Path:
    """``-o x.qcow2 -t qcow2`` and ``-o x -t qcow2`` mean the same."""
    for name in types:
        extension = EXTENSIONS.get(name)
        if extension and path.name.endswith(extension) and path.name != extension:
            return path.with_name(path.name.removesuffix(extension))
    return path


def _check_names_are_free(reader: Reader, output: Path, types: Sequence[str]) -> None:
    """A directory under the name of a file of ours would be in the way at the very end."""
    images = [f"{output}{EXTENSIONS[name]}" for name in types if name in EXTENSIONS]
    for name in (f"{output}.log", *(f"{image}{more}" for image in images for more in ("", ".json", ".sha256"))):
        if os.path.isdir(name):
            reader.problem(f"{name} is a directory", reader.where("output"), "it would be a file of the image")


def _docker_target(reader: Reader, types: Sequence[str], output: Path) -> str | None:
    target = reader.options.get("docker_target")
    if target is None and "docker" in types:
        target = f"image:{output.name}"
    return target


def _facts(reader: Reader, profile: Profile, os_entry: Mapping[str, Any], arch: str) -> dict[str, Any]:
    """What the profile's conditions and values may name."""
    _refuse_unknown_options(reader, profile)
    backend = str(reader.value("backend", default=next(iter(profile.backends), "")))
    backend_element = profile.backends.get(backend, "")
    if profile.backends:
        reader.choice("backend", backend, profile.backends)
    release = str(reader.value("release", "DIB_RELEASE", os_entry["release"]))
    # Of a distribution that nobody knows there is none.
    if release != os_entry["release"] and not re.fullmatch(r"[\w.+-]+", release, re.ASCII):
        reader.problem(f"{release!r} is no name of a release", reader.where("release"), f"e.g. {os_entry['release']}")
    facts: dict[str, Any] = {
        "arch": arch,
        "backend": backend_element,
        "distribution": os_entry["distribution"],
        "family": os_entry["family"],
        "os_element": os_entry["element"],
        "release": release,
        "git_branch": reader.value("git_branch"),
        "package_agent": bool(reader.value("package_agent", default=False)),
        "root_password": reader.options.get("root_password") is not None,
        "sshd": not reader.value("no_sshd", default=False),
    }
    reader.sources["sshd"] = reader.sources["no_sshd"]
    for name in ("enforce_mac", "cpu_pinning", "fips"):
        facts[name] = bool(reader.value(name, default=False))
    if kernel := os_entry.get("kernel"):
        default = os_entry.get("kernel_by_arch", {}).get(arch, str(kernel["default"]).format(arch=arch))
        facts["kernel"] = str(reader.value("kernel", kernel["variable"], default))
    elif reader.value("kernel") is not None:
        where = f"{os_entry['distribution']} images take the distribution's kernel"
        reader.problem(f"--kernel cannot be chosen: {where}", reader.where("kernel"), "leave the option out")
    return facts


def _refuse_unknown_options(reader: Reader, profile: Profile) -> None:
    known = [f"--{option.replace('_', '-')}" for option in profiles.OPTIONS if profile.knows(option)]
    for option in profiles.OPTIONS:
        if reader.options.get(option) not in (None, False) and not profile.knows(option):
            hint = f"leave it out; of such options it knows {', '.join(known) or 'none'}"
            reader.problem(f"the profile {profile.name} has no use for this option", reader.where(option), hint)


def _environment(
    reader: Reader, profile: Profile, os_entry: Mapping[str, Any], facts: Mapping[str, Any]
) -> dict[str, Setting]:
    found = settings.inherited(reader.environ, (entry["name"] for entry in profile.environment))
    found |= settings.configured(reader.variables)
    for name, value in os_entry.get("environment", {}).items():
        found.setdefault(name, Setting(value, Source.PROFILE))
    if kernel := os_entry.get("kernel"):
        found[kernel["variable"]] = Setting(facts["kernel"], reader.sources["kernel"])
    for entry in profile.environment:
        known = {**reader.environ, **facts, **{name: s.value for name, s in found.items()}}
        name, option = entry["name"], entry.get("option")
        if not matches(entry.get("when"), known):
            continue
        if name in found and (option is None or entry.get("environment_wins")):
            continue
        source = reader.sources.get(option, Source.PROFILE) if option else Source.PROFILE
        found[name] = setting(name, str(entry["value"]).format_map(OrNothing(known)), source)
    extra, problems = settings.given(reader.options.get("env") or ())
    reader.problems += problems
    found |= extra
    epoch = found.get(reproducible.VARIABLE)
    if epoch is not None and not reproducible.is_epoch(epoch.value):
        hint = f"whole seconds since 1970, at most {reproducible.LAST_EPOCH}; or leave it unset"
        reader.problem(f"{epoch.value!r} is no time", reproducible.VARIABLE, hint)
    return dict(sorted(found.items()))


def _snapshot(reader: Reader, os_entry: Mapping[str, Any], environment: Mapping[str, Setting]) -> dict[str, Setting]:
    known = {**reader.environ, **{name: setting.value for name, setting in environment.items()}}
    variables, problems = snapshot.read(reader.value("snapshot"), reader.where("snapshot"), known, os_entry["element"])
    reader.problems += problems
    source = {snapshot.TIMESTAMP: reader.sources["snapshot"]}
    return {name: setting(name, value, source.get(name, Source.ENVIRONMENT)) for name, value in variables.items()}


def _elements(
    reader: Reader, profile: Profile, facts: Mapping[str, Any], environment: Mapping[str, Setting]
) -> tuple[str, ...]:
    environ = reader.environ
    known = _known(facts, environment)
    names: list[str] = []
    for entry in profile.elements:
        replacement = environ.get(entry.get("replaced_by", ""), "")
        names += replacement.split() if replacement else chosen([entry], known)
    if environ.get("DIB_ELEMENTS"):
        names = environ["DIB_ELEMENTS"].split()
    if environ.get("DIB_LOCAL_ELEMENTS"):
        if not environ.get("DIB_LOCAL_ELEMENTS_PATH"):
            hint = "set DIB_LOCAL_ELEMENTS_PATH to the directory that holds them"
            reader.problem("DIB_LOCAL_ELEMENTS is set without a path", "DIB_LOCAL_ELEMENTS", hint)
        names += environ["DIB_LOCAL_ELEMENTS"].split()
    # Twice the same is an error to diskimage-builder when the element provides another one.
    return tuple(dict.fromkeys((*names, *_split(reader.options.get("element")))))


def _goes_without_boot_loader(arch: str, types: Sequence[str]) -> bool:
    return arch in _NO_BOOT_LOADER and ARCHIVE_TYPES.issuperset(types)


def _known(facts: Mapping[str, Any], environment: Mapping[str, Setting]) -> dict[str, Any]:
    """What conditions are compared with: facts of the image, and its variables."""
    return {**{name: setting.value for name, setting in environment.items()}, **facts}


def _ca_certificates(reader: Reader) -> tuple[tuple[Authority, ...], list[str]]:
    files = [reader.path(str(name)) for name in reader.options.get("ca_certificate") or ()]
    try:
        return certificates.authorities(files, reader.where("ca_certificate"))
    except InputError as error:
        reader.problems += error.problems
        return (), []


def _root_password(reader: Reader) -> str | None:
    password = reader.options.get("root_password")
    if password is not None and (not password or re.search(r"[\0\r\n]", password)):
        hint = "one line of text; - asks for it"
        reader.problem("the root password is empty, or has a line break", reader.where("root_password"), hint)
    return password


def _directories(reader: Reader) -> tuple[Path | None, Path | None]:
    work_dir, logfile = reader.value("work_dir"), reader.value("logfile")
    work = reader.path(work_dir) if work_dir else None
    log = reader.path(logfile) if logfile else None
    if work is not None and os.path.lexists(work) and not os.path.isdir(work):
        reader.problem(f"{work} is not a directory", reader.where("work_dir"))
    place, where = (str(work), reader.where("work_dir")) if work else (reader.environ.get("TMPDIR", ""), "TMPDIR")
    if re.search(r"\s", place):
        reader.problem(f"{place!r} has white space, which diskimage-builder cannot cope with", where)
    if log is not None and os.path.isdir(log):
        reader.problem(f"{log} is a directory", reader.where("logfile"), "name a file in it")
    elif log is not None and not os.path.isdir(log.parent):
        reader.problem(f"directory {log.parent} does not exist", reader.where("logfile"), f"mkdir -p {log.parent}")
    return work, log


def _check_required_variables(reader: Reader, os_entry: Mapping[str, Any], environment: Mapping[str, Setting]) -> None:
    for variable, hint in os_entry.get("requires", {}).items():
        if variable not in environment or not environment[variable].value:
            reader.problem(f"{os_entry['distribution']} images need {variable}", variable, hint)


def _split(values: Sequence[str] | None) -> tuple[str, ...]:
    return tuple(word for value in values or () for word in value.replace(",", " ").split())
