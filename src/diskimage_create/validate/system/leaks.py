"""Where tools keep credentials, and how they look there."""

from __future__ import annotations

import re
from typing import NamedTuple

ANYTHING = re.compile(r"\S")
_IN_URL = re.compile(r"\b[a-z][a-z0-9+.-]{0,20}://[^\s/@:\"']*:[^\s/@\"'$]+@", re.IGNORECASE)
_PASSWORD = re.compile(
    r"^[ \t]*[\"']?(?:\w{1,100}[_.-])?(?:password|passwd|pass|secret|token)[\"']?\s*[:=]\s*[\"']?[^\s\"'$]", re.M | re.I
)
_VARIABLE = re.compile(
    r"""^(?:declare[ ]-x[ ]|export[ ])?\w{0,100}(?:PASSWORD|PASSWD|TOKEN|SECRET|ACCESS_KEY|API_KEY|CREDENTIALS)\w{0,100}
    (?<!_FILE)(?<!_PATH)=["']?(?!["'\s$]|(?:true|false|yes|no|0|1|\*+)["']?$)""",
    re.MULTILINE | re.IGNORECASE | re.VERBOSE,
)


class Leak(NamedTuple):
    """Files of a tool, and what in them is a credential."""

    names: tuple[str, ...]
    """Patterns; relative ones are of every home directory."""
    what: str
    signs: tuple[re.Pattern[str], ...]
    """Any of these in a file is one."""


LEAKS = (
    Leak(
        (
            ".bash_history", ".zsh_history", ".ash_history", ".sh_history", ".python_history", ".mysql_history",
            ".psql_history", ".sqlite_history", ".node_repl_history", ".viminfo", ".lesshst",
        ),
        "a history of commands",
        (ANYTHING,),
    ),
    Leak(
        (".git-credentials", ".config/git/credentials", ".vault-token", ".pgpass", ".cargo/credentials*"),
        "credentials",
        (ANYTHING,),
    ),
    Leak(
        (".netrc", "/etc/netrc", "/etc/apt/auth.conf", "/etc/apt/auth.conf.d/*"),
        "a password",
        (re.compile(r"\bpassword\s+\S"),),
    ),
    Leak(
        (
            ".config/pip/pip.conf", ".pip/pip.conf", "/etc/pip.conf", "/etc/xdg/pip/pip.conf", "/opt/*/pip.conf",
            ".config/uv/uv.toml", "/etc/uv/uv.toml", ".pypirc", ".wgetrc", "/etc/wgetrc", ".curlrc", ".my.cnf",
            ".s3cfg",
            "/etc/apt/sources.list", "/etc/apt/sources.list.d/*", "/etc/apt/apt.conf", "/etc/apt/apt.conf.d/*",
            "/etc/yum.conf", "/etc/dnf/dnf.conf", "/etc/yum.repos.d/*", "/etc/zypp/credentials.d/*",
        ),
        "a password or token",
        (_IN_URL, _PASSWORD),
    ),
    Leak(
        (".gitconfig", ".config/git/config", "/etc/gitconfig", ".ssh/config"),
        "a password or token",
        (_IN_URL, re.compile(r"extraheader\s*=.*authorization", re.IGNORECASE)),
    ),
    Leak(
        (".docker/config.json", ".config/containers/auth.json", "/etc/containers/auth.json", ".dockercfg"),
        "a login to a registry",
        (re.compile(r'"(?:auth|identitytoken|registrytoken|password)"\s*:\s*"[^"]'),),
    ),
    Leak(
        (".npmrc", "/etc/npmrc", ".config/gh/hosts.yml", ".terraformrc", ".gem/credentials"),
        "a token",
        (re.compile(r"(?:_authToken|_password|oauth_token|token|api_key)[\"']?\s*[:=]\s*\S"),),
    ),
    Leak(
        (
            ".aws/credentials", ".aws/config", ".boto", ".config/openstack/*.yaml",
            "/etc/openstack/clouds.yaml", "/etc/openstack/secure.yaml", ".azure/*.json", ".config/gcloud/*",
            ".config/gcloud/legacy_credentials/*/*", ".kube/config", ".m2/settings.xml",
        ),
        "a login to a cloud",
        (
            _PASSWORD,
            re.compile(r"secret_access_key|session_token|client-key-data|refresh_?token|private_key|<password>", re.I),
        ),
    ),
    Leak(
        (
            "/etc/environment", "/etc/profile.d/*", "/etc/environment.d/*", ".profile", ".bashrc", ".bash_profile",
            "openrc*", "*-openrc.sh", "/etc/dib-manifests/dib_environment",
        ),
        "a variable that holds a secret",
        (_VARIABLE, _IN_URL),
    ),
    Leak(
        ("/etc/dib-manifests/dib_arguments",),
        "a password in a URL",
        (_IN_URL,),
    ),
)  # fmt: skip


def leak_in(leak: Leak, text: str) -> bool:
    """Whether the text of one of these files holds a credential; comments do not."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith(("#", ";"))]
    return any(sign.search("\n".join(lines)) for sign in leak.signs)
