"""The security checks on trees as Ubuntu and the redhat family have them: what is stock there is no damage."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from diskimage_create.model import Expectation, Finding, Status
from diskimage_create.validate import CHECKS
from diskimage_create.validate.registry import run_check
from diskimage_create.validate.root import ImageRoot
from diskimage_create.validate.view import ImageView

SECURITY = (
    "password-storage",
    "root-rights",
    "ssh-settings",
    "listening-services",
    "privileged-programs",
    "writable-by-all",
    "unowned-files",
    "private-keys",
    "build-credentials",
    "package-signatures",
    "tls-minimum",
    "kernel-hardening",
)
PEM = "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n"
REPOSITORY = "[baseos]\nname=BaseOS\nmetalink=https://mirrors.example/metalink\ngpgcheck=1\nenabled=1\n"

PASSWD = f"root:x:0:0:root:/root:/bin/bash\nbuilder:x:{os.getuid() or 1000}:{os.getgid() or 1000}::/home/b:/bin/bash\n"
GROUP = f"root:x:0:\nbuilder:x:{os.getgid() or 1000}:\n"

REDHAT = {
    "etc/passwd": (PASSWD, 0o644),
    "etc/group": (GROUP, 0o644),
    "etc/shadow": ("root:!locked::0:99999:7:::\nbuilder:!!:20000::::::\n", 0o000),
    "etc/gshadow": ("root:::\n", 0o000),
    "etc/login.defs": ("ENCRYPT_METHOD YESCRYPT\n", 0o644),
    "etc/sudoers": (
        "Defaults   !visiblepw\nroot ALL=(ALL) ALL\n%wheel  ALL=(ALL)       ALL\n"
        "# %wheel        ALL=(ALL)       NOPASSWD: ALL\n#includedir /etc/sudoers.d\n",
        0o440,
    ),
    "etc/pam.d/su": ("#auth sufficient pam_wheel.so trust use_uid\nauth required pam_unix.so\n", 0o644),
    "etc/ssh/sshd_config": ("Include /etc/ssh/sshd_config.d/*.conf\nSubsystem sftp /usr/lib/sftp-server\n", 0o600),
    "etc/ssh/sshd_config.d/50-redhat.conf": (
        "Include /etc/crypto-policies/back-ends/opensshserver.config\nUsePAM yes\nX11Forwarding yes\n",
        0o600,
    ),
    "etc/crypto-policies/back-ends/opensshserver.config": (
        "Ciphers aes256-gcm@openssh.com,aes256-ctr\nMACs hmac-sha2-256-etm@openssh.com,hmac-sha1\n",
        0o644,
    ),
    "etc/crypto-policies/config": ("DEFAULT\n", 0o644),
    "etc/pki/tls/openssl.cnf": ("[system_default_sect]\n.include = /etc/crypto-policies/x\n", 0o644),
    "etc/dnf/dnf.conf": ("[main]\ngpgcheck=1\ninstallonly_limit=3\n", 0o644),
    "etc/yum.repos.d/rocky.repo": (REPOSITORY + "\n[debug]\nenabled=0\ngpgcheck=0\n", 0o644),
    "etc/sysctl.conf": ("# nothing\n", 0o644),
    "usr/lib/sysctl.d/50-default.conf": ("kernel.sysrq = 16\nfs.protected_symlinks = 1\n", 0o644),
    "usr/lib/sysctl.d/10-default-yama-scope.conf": ("kernel.yama.ptrace_scope = 0\n", 0o644),
    "usr/bin/su": ("", 0o4755),
    "usr/bin/crontab": ("", 0o4755),
    "usr/bin/chage": ("", 0o4755),
    "usr/bin/write": ("", 0o2755),
    "usr/sbin/unix_chkpwd": ("", 0o4755),
    "usr/sbin/grub2-set-bootflag": ("", 0o4755),
    "usr/sbin/sshd": ("", 0o755),
    "usr/libexec/dbus-1/dbus-daemon-launch-helper": ("", 0o4750),
    "usr/libexec/openssh/ssh-keysign": ("", 0o2755),
    "usr/libexec/utempter/utempter": ("", 0o2711),
    "usr/lib/systemd/system/sssd-kcm.socket": ("[Socket]\nListenStream=/run/.heim_org.h5l.kcm-socket\n", 0o644),
    "usr/lib/python3.12/site-packages/x/tests/server.pem": (PEM, 0o644),
}
UBUNTU = {
    "etc/passwd": (PASSWD, 0o644),
    "etc/group": (GROUP, 0o644),
    "etc/shadow": ("root:*:20000:0:99999:7:::\n", 0o640),
    "etc/sudoers": (
        "root ALL=(ALL:ALL) ALL\n%admin ALL=(ALL) ALL\n%sudo ALL=(ALL:ALL) ALL\n",
        0o440,
    ),
    "etc/ssh/sshd_config": ("Include /etc/ssh/sshd_config.d/*.conf\nKbdInteractiveAuthentication no\n", 0o644),
    "etc/ssh/sshd_config.d/60-cloudimg-settings.conf": ("PasswordAuthentication no\n", 0o600),
    "etc/apt/sources.list.d/ubuntu.sources": (
        "Types: deb\nURIs: http://archive.ubuntu.com/ubuntu/\nSuites: noble\nComponents: main\n"
        "Signed-By: /usr/share/keyrings/ubuntu-archive-keyring.gpg\n",
        0o644,
    ),
    "etc/apt/trusted.gpg.d/ubuntu-keyring-2018-archive.gpg": ("key", 0o644),
    "etc/apt/keyrings/vendor.gpg": ("key", 0o644),
    "etc/apt/apt.conf.d/20x": ('Acquire::https::Verify-Peer "true";\nAPT::Get::AllowUnauthenticated "false";\n', 0o644),
    "usr/lib/sysctl.d/50-bufferbloat.conf": ("net.core.default_qdisc=fq_codel\n", 0o644),
    "etc/sysctl.d/10-magic-sysrq.conf": ("kernel.sysrq = 176\n", 0o644),
    "usr/bin/sudo": ("", 0o4755),
    "usr/bin/fusermount3": ("", 0o4755),
    "usr/sbin/sshd": ("", 0o755),
    "usr/sbin/pam_extrausers_chkpwd": ("", 0o2755),
    "usr/lib/polkit-1/polkit-agent-helper-1": ("", 0o4755),
    "usr/lib/snapd/snap-confine": ("", 0o4755),
}
TREES = {"redhat": REDHAT, "ubuntu": UBUNTU}


class Tree(ImageRoot):
    """A tree whose files belong to root, whoever runs the test."""

    def lstat(self, name: str) -> os.stat_result | None:
        status = super().lstat(name)
        return status and os.stat_result((*status[:4], 0, 0, *status[6:]))


def make(directory: Path, files: dict[str, tuple[str, int]]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, (text, mode) in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text(text)
        # Whoever is not root has to be able to read what he made.
        path.chmod(mode | (0o400 if os.getuid() else 0))


def findings(directory: Path) -> dict[str, Finding]:
    view = ImageView(path=directory / "image.raw", kind="raw", workspace=directory)
    view._root = Tree(directory / "root")
    expected = Expectation(elements=frozenset({"vm"}))
    return {check.id: run_check(check, view, expected, deep=False)[0] for check in CHECKS if check.id in SECURITY}


@pytest.mark.parametrize("family", TREES)
def test_what_a_distribution_has_is_no_damage(tmp_path: Path, family: str) -> None:
    make(tmp_path / "root", TREES[family])
    assert {name: found.message for name, found in findings(tmp_path).items() if found.status is not Status.PASS} == {}


@pytest.mark.parametrize(
    ("family", "check", "name", "text", "mode"),
    [
        ("redhat", "package-signatures", "etc/yum.repos.d/rocky.repo", REPOSITORY.replace("check=1", "check=0"), 0o644),
        ("redhat", "package-signatures", "etc/dnf/dnf.conf", "[main]\nsslverify=False\n", 0o644),
        ("redhat", "tls-minimum", "etc/crypto-policies/config", "LEGACY:AD-SUPPORT\n", 0o644),
        ("redhat", "root-rights", "etc/sudoers", "%wheel ALL=(ALL) NOPASSWD: ALL\n", 0o440),
        ("redhat", "root-rights", "etc/pam.d/su", "auth sufficient pam_wheel.so trust use_uid\n", 0o644),
        ("redhat", "ssh-settings", "etc/crypto-policies/back-ends/opensshserver.config", "Ciphers 3des-cbc\n", 0o644),
        ("redhat", "private-keys", "etc/pki/consumer/key.pem", PEM, 0o640),
        ("redhat", "build-credentials", "etc/yum.repos.d/x.repo", "[x]\nbaseurl=https://a:b@c/d\n", 0o644),
        ("redhat", "kernel-hardening", "usr/lib/sysctl.d/99-x.conf", "fs.protected_symlinks=0\n", 0o644),
        ("ubuntu", "package-signatures", "etc/apt/sources.list.d/ubuntu.sources", "Types: deb\nTrusted: yes\n", 0o644),
        ("ubuntu", "package-signatures", "etc/apt/trusted.gpg", "key", 0o644),
        ("ubuntu", "package-signatures", "etc/apt/apt.conf.d/x", 'Acquire::https::Verify-Peer "false";\n', 0o644),
        ("ubuntu", "password-storage", "etc/shadow-", "root:*:::::::\n", 0o644),
    ],
)
def test_what_is_changed_there_is_found(
    tmp_path: Path, family: str, check: str, name: str, text: str, mode: int
) -> None:
    make(tmp_path / "root", TREES[family] | {name: (text, mode)})
    bad = {name for name, found in findings(tmp_path).items() if found.status in (Status.FAIL, Status.WARN)}
    assert bad == {check}
