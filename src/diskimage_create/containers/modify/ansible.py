"""Changing an image by an Ansible role of somebody else's."""

from __future__ import annotations

import json
from pathlib import Path

from diskimage_create import process
from diskimage_create.containers.buildah import Buildah
from diskimage_create.containers.model import Modification
from diskimage_create.errors import CommandFailed, HostError
from diskimage_create.references import Reference

_PROGRAM = "ansible-playbook"


def require(role: str) -> None:
    """:raises HostError: there is nothing to run a role with"""
    if process.which(_PROGRAM) is None:
        raise HostError(
            f"modify_role {role} is an Ansible role, and {_PROGRAM} is not installed",
            "install the package ansible-core (ansible), or pip install 'diskimage-create[ansible]'",
        )


def apply(modification: Modification, buildah: Buildah, target: Reference, directory: Path) -> None:
    """Run a role. It finds the image as ``source_image`` in the storage of buildah, and leaves ``target_image`` with
    ``modified_append_tag`` after it there, the destination.

    :param target: the name of the image that is to be changed
    :param directory: an empty one
    :raises CommandFailed: it failed, with what Ansible said of it
    """
    variables = {
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
        **modification.variables,
        "source_image": str(target),
        "target_image": str(target),
        "modified_append_tag": modification.append_tag,
        "container_build_tool": "buildah",
    }
    task = {"name": f"role {modification.role}", "import_role": {"name": modification.role}, "vars": variables}
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [task]}
    book = directory / "playbook.json"
    book.write_text(json.dumps([play]), encoding="utf-8")  # JSON is YAML, too
    environment = {**buildah.environment, **_storage(buildah, directory), **_quiet(directory)}
    fence = process.FENCE if process.is_root() else ()
    argv = [*fence, _PROGRAM, "--inventory", "localhost,", str(book)]
    done = buildah.children.run(argv, environment, range(-64, 256))
    if done.returncode:
        raise CommandFailed([_PROGRAM, modification.role], done.returncode, done.stdout + done.stderr)


def _quiet(directory: Path) -> dict[str, str]:
    """Nothing of Ansible's is left on the host."""
    return {
        "ANSIBLE_LOCAL_TEMP": str(directory / "local"),
        "ANSIBLE_REMOTE_TMP": str(directory / "remote"),
        "ANSIBLE_RETRY_FILES_ENABLED": "false",
        "ANSIBLE_NOCOLOR": "true",
    }


def _storage(buildah: Buildah, directory: Path) -> dict[str, str]:
    """Every container tool that the role runs works in our storage (containers-storage.conf(5))."""
    environment = {"BUILDAH_ISOLATION": "chroot", "REGISTRY_AUTH_FILE": str(buildah.auth)}
    options = dict(zip(buildah.storage[::2], buildah.storage[1::2], strict=True))
    if options:
        names = {"driver": "--storage-driver", "graphroot": "--root", "runroot": "--runroot"}
        lines = [f"{name} = {json.dumps(options[option])}" for name, option in names.items()]
        file = directory / "storage.conf"
        file.write_text("\n".join(["[storage]", *lines, ""]), encoding="utf-8")
        environment["CONTAINERS_STORAGE_CONF"] = str(file)
    return environment
