"""Variables of a build: which of the user's are passed on, what ``--env`` may set, and which are secret."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from diskimage_create import reproducible
from diskimage_create.errors import Problem
from diskimage_create.model import Setting, Source

#: Variables that say something to us, and nothing to the build
_CONSUMED = frozenset(
    {"DIB_ELEMENTS", "DIB_LOCAL_ELEMENTS", "DIB_LOCAL_ELEMENTS_PATH", "DIB_REPO_PATH", "DIB_PASSWORD", "DIB_RELEASE"}
)
#: What else of the environment says something to the build
_RECOGNISED = frozenset({"CLOUD_INIT_DATASOURCES", reproducible.VARIABLE})
#: Variables that are read before ``--env`` could set them
_NOT_BY_ENV = (_CONSUMED - {"DIB_PASSWORD"}) | {"ELEMENTS_PATH", "ELEMENTS_REPO_PATH", "OCTAVIA_REPO_PATH"}
#: Variables of how we run the tool, not of an image: one build cannot have its own
OF_THE_HOST = frozenset({"DIB_LOCKFILES", "DIB_PYTHON_EXEC", "DIB_REPO_PATH", "PATH", "TMPDIR", "TMP_DIR"})
_SECRET_NAME = re.compile(
    r"PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|CREDENTIAL|(API|ACCESS|PRIVATE)_?KEY|(^|_)(PASS|PWD|AUTH)(_|$)",
    re.IGNORECASE,
)
# A token alone is a credential of https://; git@ of ssh:// is none.
_URL_WITH_PASSWORD = re.compile(r"(?:://|^)[^/@\s:]*:[^/\s]+@|https?://[^/\s]+@", re.IGNORECASE)


def setting(name: str, value: str, source: Source) -> Setting:
    """A setting, secret when its name or a password in its address says so."""
    return Setting(value, source, secret=bool(_SECRET_NAME.search(name) or _URL_WITH_PASSWORD.search(value)))


def inherited(environ: Mapping[str, str], more: Iterable[str] = ()) -> dict[str, Setting]:
    """What of the user's environment the build gets.

    :param more: names that are passed on besides diskimage-builder's
    """
    names = _RECOGNISED | set(more)
    return {
        name: setting(name, value, Source.ENVIRONMENT)
        for name, value in sorted(environ.items())
        if name not in _CONSUMED and (name.startswith("DIB_") or name in names)
    }


def configured(variables: Mapping[str, str]) -> dict[str, Setting]:
    """The settings of a configuration file: all that it says, but what is for us to read."""
    return {
        name: setting(name, value, Source.CONFIG)
        for name, value in sorted(variables.items())
        if name not in _NOT_BY_ENV and name != "DIB_PASSWORD"
    }


def given(texts: Iterable[str]) -> tuple[dict[str, Setting], list[Problem]]:
    """The settings of ``--env``, and what is wrong with them."""
    found, problems = {}, []
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            # What follows an equals sign may be a secret.
            shown = f"{name}=..." if equals else name
            problems.append(Problem(f"{shown!r} is not NAME=VALUE", "--env", "e.g. --env DIB_GRUB_TIMEOUT=5"))
        elif name in _NOT_BY_ENV | OF_THE_HOST:
            hint = "use --release" if name == "DIB_RELEASE" else f"export {name} before calling diskimage-create"
            problems.append(Problem(f"{name} is read before --env could set it", "--env", hint))
        elif name == "DIB_PASSWORD":
            problems.append(Problem("DIB_PASSWORD would be written into the image", "--env", "use --root-password"))
        else:
            found[name] = setting(name, value, Source.FLAG)
    return found, problems
