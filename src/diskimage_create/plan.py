"""The plan of a build: what will be run, with what, and why. Nothing here touches the host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from diskimage_create import foreign, inputs, reproducible
from diskimage_create.elements import OURS, key_user
from diskimage_create.host import HostFacts
from diskimage_create.model import (
    PLAN_SCHEMA,
    BuildPlan,
    Expectation,
    ImageSpec,
    Inputs,
    ResolvedElement,
    Setting,
    Source,
)
from diskimage_create.settings import setting

_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
#: disk-image-create asks for twice this much memory before it builds in a tmpfs (its DIB_MIN_TMPFS)
MIN_TMPFS_BYTES = 2 * 2**30


def make_plan(
    spec: ImageSpec,
    host: HostFacts,
    resolved: Sequence[ResolvedElement],
    search_path: Sequence[Path],
    files: Inputs,
    block_devices: Sequence[Mapping[str, Any]],
    key: bytes,
) -> BuildPlan:
    """Work out a build.

    :param resolved: the closure of the image's elements
    :param search_path: where the elements were found
    :param files: digests of tools, and of files that the user named, that the image's content depends on
    :param block_devices: the partition layout that was asked for, or that the elements bring
    :param key: secrets are told apart by their HMAC with this
    """
    notes = list(spec.notes)
    elements = list(spec.elements)
    environment = dict(spec.environment)
    environment["ELEMENTS_PATH"] = Setting(":".join(str(path) for path in search_path), Source.HOST)
    _use_host_mirrors(spec, host, environment, notes)
    _lend(host, environment, notes)
    _choose_block_devices(host, environment, reproducible.with_fixed_uuids(block_devices, spec), notes)
    if spec.ca_certificates:
        notes.append(f"the image trusts {len(spec.ca_certificates)} more CA certificates, for good")
    notes += foreign.notes(spec, host)
    _note_passwords(spec, resolved, notes)
    if spec.tmpfs and host.memory_bytes < 2 * MIN_TMPFS_BYTES:
        notes.append(f"{host.memory_bytes >> 20} MiB of memory are too few to build in a tmpfs")
    command = _command(spec, elements)
    needed = inputs.local_inputs(spec, resolved, environment, files, key)
    return BuildPlan(
        spec=spec,
        elements=tuple(elements),
        resolved=tuple(resolved),
        environment=dict(sorted(environment.items())),
        command=tuple(command),
        inputs=needed,
        fingerprint=inputs.fingerprint(needed),
        notes=tuple(notes),
    )


def _use_host_mirrors(spec: ImageSpec, host: HostFacts, environment: dict[str, Setting], notes: list[str]) -> None:
    """An image of the host's own distribution comes from where the host's own packages come from."""
    if "DIB_DISTRIBUTION_MIRROR" in environment:
        return
    if mirror := host.mirror(spec.distribution):
        environment["DIB_DISTRIBUTION_MIRROR"] = setting("DIB_DISTRIBUTION_MIRROR", mirror, Source.HOST)
        notes.append("packages come from the mirrors that this host's own apt configuration names")
        security = host.security_mirror(spec.distribution)
        if security and spec.distribution == "debian":
            name = "DIB_DEBIAN_SECURITY_MIRROR"
            environment.setdefault(name, setting(name, security, Source.HOST))


def _lend(host: HostFacts, environment: dict[str, Setting], notes: list[str]) -> None:
    """What the build may use and the image must not keep: see the element build-host."""
    if host.ca_certificates and host.ca_bundle:
        environment["DISKIMAGE_CREATE_CA_BUNDLE"] = Setting(str(host.ca_bundle), Source.HOST)
        notes.append(f"{len(host.ca_certificates)} additional CA certificates of this host are lent to the build")
    for name, value in {**host.package_index, **host.proxies}.items():
        environment.setdefault(name, setting(name, value, Source.HOST))
    if host.unreachable_indexes:
        notes.append(f"package indexes on this host's disk cannot be lent: {', '.join(host.unreachable_indexes)}")


def _choose_block_devices(
    host: HostFacts, environment: dict[str, Setting], layout: Sequence[Mapping[str, Any]], notes: list[str]
) -> None:
    """The layout that was asked for; without device-mapper, our own plugin makes its partitions."""
    nodes = list(layout)
    if not host.device_mapper and any("partitioning" in node for node in nodes):
        nodes = [{"loop_partitioning" if key == "partitioning" else key: v for key, v in n.items()} for n in nodes]
        notes.append("this host has no device-mapper: partitions are made with the plugin loop_partitioning")
    given = environment.get("DIB_BLOCK_DEVICE_CONFIG")
    source = given.source if given else Source.PROFILE
    environment["DIB_BLOCK_DEVICE_CONFIG"] = Setting(yaml.dump(nodes, Dumper=_Dumper, sort_keys=False), source)


def _note_passwords(spec: ImageSpec, resolved: Sequence[ResolvedElement], notes: list[str]) -> None:
    if spec.root_password is None:
        return
    notes.append("root can log in with a password: not for production")
    if uses_foreign_root_password(resolved):
        notes.append("root-passwd is not this project's: it gets the password in DIB_PASSWORD, which hooks can read")


def uses_foreign_root_password(resolved: Sequence[ResolvedElement]) -> bool:
    """Whether the closure's ``root-passwd`` is Octavia's own, which knows only ``DIB_PASSWORD``."""
    ours = (OURS / "root-passwd").resolve()
    return any(element.name == "root-passwd" and element.path != ours for element in resolved)


def _command(spec: ImageSpec, elements: Sequence[str]) -> list[str]:
    """The call of disk-image-create. It makes the raw image; all types are made from that one.

    Its name there is the profile's: it names the manifests in the image, whose content is the same for any output.
    """
    command = ["disk-image-create", "-a", spec.arch, "-o", spec.profile, "-t", "raw"]
    if spec.size_gib is not None:
        command += ["--image-size", str(spec.size_gib)]
    if spec.skip_base:
        command.append("-n")
    command += ["--image-cache", str(spec.cache_dir)]
    if not spec.tmpfs:
        command.append("--no-tmpfs")
    command += ["-x"] * spec.trace
    command += spec.arguments
    for package in spec.packages:
        command += ["-p", package]
    return [*command, *elements]


def expectation(plan: BuildPlan) -> Expectation:
    """What the finished image must be."""
    spec = plan.spec
    names = frozenset(element.name for element in plan.resolved)
    environment = {name: setting.value for name, setting in plan.environment.items()}
    expected = [entry for entry in spec.expected if entry["element"] in names]
    packages = [package for entry in expected for package in entry.get("packages", ())]
    # Where an element gives the variable its value, nothing is known.
    datasources = environment.get("DIB_CLOUD_INIT_DATASOURCES") if "cloud-init-datasources" in names else None
    return Expectation(
        arch=spec.arch,
        distribution=spec.distribution or None,
        family=spec.family or None,
        release=spec.release or None,
        size_gib=spec.size_gib,
        elements=names,
        packages=tuple(dict.fromkeys((*packages, *spec.packages))),
        datasources=tuple(name.strip() for name in datasources.split(",")) if datasources else None,
        sshd=next((entry["sshd"] for entry in reversed(expected) if "sshd" in entry), None),
        root_password=spec.root_password is not None,
        ca_certificates=tuple(authority.sha256 for authority in spec.ca_certificates),
        key_user=key_user(names, environment),
        password_users=("stack",) if "stackuser" in names and environment.get("DIB_STACKUSER_PASSWORD_FILE") else (),
    )


def _listed(names: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in names.split(","))


def as_json(plan: BuildPlan) -> dict[str, Any]:
    """The plan as ``plan --format json`` prints it; secrets are not in it."""
    spec = plan.spec
    return {
        "schema": PLAN_SCHEMA,
        "image": {
            "profile": spec.profile,
            "arch": spec.arch,
            "os": spec.os,
            "release": spec.release,
            "backend": spec.backend,
            "size_gib": spec.size_gib,
            "types": list(spec.types),
            "output": str(spec.path_of(spec.types[0])),
        },
        "elements": list(plan.elements),
        "resolved_elements": [
            {"name": element.name, "path": str(element.path), "digest": element.digest} for element in plan.resolved
        ],
        "environment": {name: setting.shown for name, setting in plan.environment.items()},
        "sources": {
            **{f"option:{name}": source.value for name, source in sorted(spec.sources.items())},
            **{f"environment:{name}": setting.source.value for name, setting in plan.environment.items()},
        },
        "command": list(plan.command),
        "inputs": inputs.summary(plan.inputs, plan.resolved),
        "local_fingerprint": plan.fingerprint,
        "notes": list(plan.notes),
    }
