"""What the security checks read: rules of sudo, settings of sshd and the kernel, credentials, known programs."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diskimage_create.model import Expectation
from diskimage_create.validate import CHECKS
from diskimage_create.validate.checks.credentials import is_private_key
from diskimage_create.validate.registry import run_check
from diskimage_create.validate.root import ImageRoot
from diskimage_create.validate.system.leaks import LEAKS, leak_in
from diskimage_create.validate.system.listening import is_of_the_network, listening_addresses
from diskimage_create.validate.system.privileged import unknown_rights, usual_name
from diskimage_create.validate.system.sshd import parse_lines, read_sshd_settings
from diskimage_create.validate.system.sudoers import Rule, parse_sudoers
from diskimage_create.validate.system.sysctl import parse_sysctl, read_sysctl
from diskimage_create.validate.view import ImageView


def tree(directory: Path, files: dict[str, str]) -> ImageRoot:
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return ImageRoot(directory)


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("root ALL=(ALL:ALL) ALL\n%sudo ALL=(ALL) ALL\n", []),
        ("# stack ALL=(ALL) NOPASSWD: ALL\n#includedir /etc/sudoers.d\n", []),
        ("stack ALL=(ALL:ALL) NOPASSWD: ALL", [("stack", ("ALL",))]),
        ("#1000 ALL=(root) NOPASSWD:ALL # a number", [("#1000", ("ALL",))]),
        ("%a ALL = (b) NOPASSWD: /bin/c d, PASSWD: /bin/e, NOPASSWD:SETENV: /bin/f",
         [("%a", ("/bin/c d", "/bin/f"))]),
        ("a ALL=/bin/b, \\\n  NOPASSWD: /bin/c", [("a", ("/bin/c",))]),
        ("Defaults:x !authenticate\n", [("everybody", ("ALL",))]),
        ("Defaults !requiretty, secure_path=/bin\n", []),
    ],
)  # fmt: skip
def test_rules_without_a_password(text: str, rules: list[tuple[str, tuple[str, ...]]]) -> None:
    assert list(parse_sudoers(text)) == rules


@given(st.text())
def test_any_text_is_some_rules(text: str) -> None:
    list(parse_sudoers(text))
    list(parse_sudoers(f"a ALL=NOPASSWD:{text}"))


@pytest.mark.parametrize(
    ("command", "everything"),
    [
        ("ALL", True),
        ("/bin/bash", True),
        ("/usr/bin/python3 -c *", True),
        ("/usr/bin/su - nova", True),
        ("/usr/bin/nova-rootwrap /etc/nova/rootwrap.conf *", False),
        ("/usr/sbin/service x restart", False),
        ("/usr/bin/sushi", False),
    ],
)
def test_a_command_that_runs_any_other_is_all_of_them(command: str, everything: bool) -> None:
    assert Rule("f", "a", (command,)).everything is everything


def test_the_first_value_of_sshd_counts_and_all_of_match_blocks_may(tmp_path: Path) -> None:
    root = tree(tmp_path, {
        "etc/ssh/sshd_config": "Include /etc/ssh/sshd_config.d/*.conf\nInclude more\nPermitRootLogin yes\n"
                               "Match User a\n  PermitEmptyPasswords = yes\nMatch all\nX11Forwarding no\n",
        "etc/ssh/sshd_config.d/50-a.conf": 'PermitRootLogin "no"\n#PasswordAuthentication yes\n',
        "etc/ssh/more": "PasswordAuthentication no\nInclude more\n",
    })  # fmt: skip
    settings = read_sshd_settings(root)
    assert settings.everywhere == {"permitrootlogin": "no", "passwordauthentication": "no", "x11forwarding": "no"}
    assert settings.values("permitemptypasswords") == {"yes"}
    assert settings.values("ciphers") == set()


@given(st.text())
def test_any_text_is_some_settings(text: str) -> None:
    list(parse_lines(text))
    list(parse_sysctl(text))
    for leak in LEAKS:
        leak_in(leak, text)


@pytest.mark.parametrize("text", ["\n", " ", "(", "a.", "TOKEN", "deb [", "a://", "=", "\\\n", "::", "MinProtocol "])
def test_no_text_takes_for_ever(text: str, tmp_path: Path) -> None:
    """Patterns that try every beginning with every end need hours for what a hostile image has in store."""
    hostile = text * (2**18 // len(text))
    names = (
        *("etc/sudoers", "etc/ssh/sshd_config", "etc/sysctl.conf", "etc/pip.conf", "etc/environment", "etc/passwd"),
        *("etc/apt/sources.list", "etc/apt/apt.conf", "etc/dnf/dnf.conf", "etc/ssl/openssl.cnf", "etc/login.defs"),
        *("etc/security/limits.conf", "etc/systemd/system.conf", "boot/grub/grub.cfg", "etc/pam.d/su", "etc/shadow"),
        *("usr/lib/systemd/system/a.socket", "etc/systemd/system/sockets.target.wants/a.socket", "usr/sbin/sshd"),
    )
    tree(tmp_path / "root", dict.fromkeys(names, hostile))
    view = ImageView(path=tmp_path / "image.raw", kind="raw", workspace=tmp_path)
    view._root = ImageRoot(tmp_path / "root")
    for check in CHECKS:
        if check.run.__module__.rpartition(".")[2] in ("logins", "credentials", "trust"):
            run_check(check, view, Expectation(), deep=False)[0]


def test_the_last_value_of_sysctl_counts_by_the_names_of_files(tmp_path: Path) -> None:
    root = tree(tmp_path, {
        "usr/lib/sysctl.d/50-a.conf": "kernel.sysrq = 16\nkernel.core_pattern=core\n",
        "usr/lib/sysctl.d/60-b.conf": "kernel.sysrq = 1\n",
        "etc/sysctl.d/60-b.conf": "# hides the other\n; of this name\nnet/ipv4/conf/all/rp_filter=2\n",
        "etc/sysctl.d/10-c.conf": "-kernel.sysrq=0\n",
    })  # fmt: skip
    assert read_sysctl(root) == {
        "kernel.sysrq": ("16", "/usr/lib/sysctl.d/50-a.conf"),
        "kernel.core_pattern": ("core", "/usr/lib/sysctl.d/50-a.conf"),
        "net.ipv4.conf.all.rp_filter": ("2", "/etc/sysctl.d/60-b.conf"),
    }


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("22", True),
        ("0.0.0.0:80", True),
        ("[::]:80", True),
        ("192.0.2.1:80", True),
        ("127.0.0.1:80", False),
        ("[::1]:80", False),
        ("/run/x.sock", False),
        ("@abstract", False),
        ("vsock::22", False),
        ("%t/x.sock", False),
        ("", False),
    ],
)
def test_what_others_can_reach(address: str, network: bool) -> None:
    assert is_of_the_network(address) is network


def test_a_socket_without_addresses_after_an_empty_one(tmp_path: Path) -> None:
    root = tree(tmp_path, {
        "usr/lib/systemd/system/a.socket": "[Socket]\nListenStream=99\nListenDatagram = 98\n",
        "usr/lib/systemd/system/b.socket": "[Socket]\nListenStream=99\n",
        "etc/systemd/system/b.socket.d/local.conf": "[Socket]\nListenStream=\nListenStream=/run/b\n",
    })  # fmt: skip
    assert listening_addresses(root, "a.socket") == ["99", "98"]
    assert listening_addresses(root, "b.socket") == []


@pytest.mark.parametrize(
    ("name", "mode", "unknown"),
    [
        ("/usr/bin/su", 0o4755, None),
        ("/bin/su", 0o4755, None),
        ("/usr/sbin/unix_chkpwd", 0o2755, None),
        ("/usr/bin/unix_chkpwd", 0o4755, None),
        ("/usr/lib/x86_64-linux-gnu/utempter/utempter", 0o2755, None),
        ("/usr/bin/at", 0o6755, None),
        ("/usr/bin/expiry", 0o6755, "setuid"),
        ("/usr/local/bin/su", 0o4755, "setuid"),
        ("/home/x/bin/su", 0o6755, "setuid and setgid"),
        ("/usr/bin/bash", 0o755, None),
    ],
)
def test_rights_that_distributions_give(name: str, mode: int, unknown: str | None) -> None:
    assert unknown_rights(name, stat.S_IFREG | mode) == unknown


@given(st.text())
def test_a_name_is_usual_once(name: str) -> None:
    assert usual_name(usual_name(name)) == usual_name(name)


def leaks(name: str, text: str) -> bool:
    (leak,) = (leak for leak in LEAKS if name in leak.names)
    return leak_in(leak, text)


@pytest.mark.parametrize(
    ("name", "text", "leak"),
    [
        ("/etc/pip.conf", "index-url = https://user:word@pypi.example/simple", True),
        ("/etc/pip.conf", "index-url = https://pypi.example:8080/simple", False),
        ("/etc/pip.conf", "# index-url = https://user:word@pypi.example/simple", False),
        ("/etc/apt/sources.list", "deb http://a:b@mirror.example/debian x main", True),
        ("/etc/apt/sources.list", "deb http://mirror.example/debian x main", False),
        ("/etc/yum.repos.d/*", "[a]\nusername=b\npassword=c", True),
        (".netrc", "machine a\n  login b\n  password c", True),
        (".docker/config.json", '{"auths": {"a": {}}, "credsStore": "pass"}', False),
        (".docker/config.json", '{"auths": {"a": {"auth": "YTpi"}}}', True),
        (".npmrc", "//registry.example/:_authToken=abc", True),
        (".aws/credentials", "[default]\naws_secret_access_key = abc", True),
        (".kube/config", "users:\n- user:\n    client-key-data: abc", True),
        ("/etc/dib-manifests/dib_environment", 'declare -x DIB_GIT_TOKEN="abc"', True),
        ("/etc/dib-manifests/dib_environment", 'declare -x DIB_GIT_TOKEN=""', False),
        ("/etc/dib-manifests/dib_environment", 'declare -x DIB_PASSWORD_FILE="/x"', False),
        ("/etc/dib-manifests/dib_environment", 'declare -x DIB_OCTAVIA_SECRETS="True"', False),
        ("/etc/dib-manifests/dib_environment", 'declare -x DIB_DISTRIBUTION_MIRROR="https://a:b@c/d"', True),
        ("/etc/environment", "export API_KEY=abc", True),
        ("/etc/environment", "API_KEY=$OTHER", False),
        (".bash_history", "\n", False),
        (".bash_history", "ls\n", True),
    ],
)
def test_credentials(name: str, text: str, leak: bool) -> None:
    assert leaks(name, text) is leak


def test_private_keys() -> None:
    key = b"-----BEGIN RSA PRIVATE KEY-----\n"
    assert is_private_key("/x", b"text before\n" + key)
    assert is_private_key("/x", b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    assert is_private_key("/x", b"PuTTY-User-Key-File-3: ssh-ed25519")
    assert is_private_key("/x.jks", b"\xfe\xed\xfe\xed\x00")
    assert is_private_key("/root/.gnupg/private-keys-v1.d/A.key", b"(11:private-key")
    assert not is_private_key("/x.pem", b"-----BEGIN CERTIFICATE-----")
    assert not is_private_key("/x.key", b"-----BEGIN PUBLIC KEY-----")
    assert not is_private_key("/usr/share/keyrings/a.p12", b"")
