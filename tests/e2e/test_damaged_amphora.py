"""A real amphora, damaged in many ways: each is rejected, by the check that names the damage, and by no other."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from building import COMMAND, Built, clean_environment, leftovers
from damage import (
    Disk,
    Harm,
    append,
    beyond_the_end,
    change,
    chmod,
    copied,
    cut,
    in_the_agent,
    installed,
    link,
    moved,
    no_interpreter,
    of,
    other_machine,
    password,
    poke,
    put,
    remove,
    second_partition,
    second_stage_zeroed,
    skip_where_none_can_be_made,
    this_hosts_resolver,
    uninstalled,
    zero,
)

from contract import schema_errors
from diskimage_create.model import Report, Status
from diskimage_create.validate import How, validate
from diskimage_create.validate.expect import recorded_expectation
from diskimage_create.validate.system.packages import DPKG_STATUS

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJmaLpS3 someone@example.com\n"
SECRET = "correct horse battery staple"
UNITS = "/usr/lib/systemd/system"
WANTS = "/etc/systemd/system/multi-user.target.wants"
CLOUD = "/etc/cloud/cloud.cfg.d"
SERVER = "amphorae/backends/agent/api_server/server.py"
PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
PEM_DIGEST = hashlib.sha256(bytes(3)).hexdigest()
PRIVATE = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
PROXY = "http://proxy.example:3128"

#: What the good image is warned of: nothing. An entry here says why it may be
EXPLAINED: dict[str, str] = {}


@pytest.fixture(scope="module")
def good(trixie: Built) -> Path:
    """The amphora that all others are copies of; its record is beside it."""
    skip_where_none_can_be_made()
    return trixie.path("raw")


@pytest.fixture
def disk(good: Path, tmp_path: Path) -> Iterator[Disk]:
    """A copy to be damaged, with the record; it takes too much room to be kept."""
    try:
        yield copied(good, tmp_path)
    finally:
        (tmp_path / good.name).unlink(missing_ok=True)
    assert leftovers() == set()


def failed(report: Report) -> dict[str, str]:
    return {finding.id: finding.message for finding in report.findings if finding.status is Status.FAIL}


def test_the_good_one_is_good(disk: Disk) -> None:
    report = validate(disk.path)
    assert failed(report) == {}
    assert {finding.id for finding in report.findings if finding.status is Status.WARN} == set(EXPLAINED)


def damage(check: str, name: str, harm: Harm, *, says: str, also: str = "", **wanted: object) -> Any:
    """A row of the table.

    :param check: the check that names the damage
    :param says: what it has to speak of
    :param also: checks that cannot but fail too
    :param wanted: what the image was asked to be, where that differs
    """
    return pytest.param(harm, check, says, {check, *also.split()}, wanted, id=f"{check}: {name}")


def nothing(disk: Disk) -> None:
    """What was asked for is something else."""


DAMAGES = [
    # The disk and its file system
    damage("virtual-size", "not the size asked for", nothing, says="bytes instead of", size_gib=2),
    damage("partitions", "one beyond the end", beyond_the_end, says="beyond the disk"),
    damage("partitions", "two to boot from", second_partition, says="2 partitions"),
    damage("partitions", "none to boot from", poke(446, b"\0"), says="0 partitions"),
    damage("filesystem-clean", "not unmounted", lambda disk: disk.edit("set_super_value state 0"), says="unmounted"),
    damage("filesystem-clean", "a journal to replay", lambda disk: disk.edit("feature needs_recovery"), says="cleanly"),
    damage("filesystem-clean", "no superblock", lambda disk: disk.poke(disk.root + 1024, bytes(1024)), says="no part"),
    damage("filesystem-clean", "no groups", lambda disk: disk.poke(disk.root + 4096, b"\xff" * 64), says="mounted"),
    damage("filesystem-clean", "a block free and in use",
           lambda disk: disk.edit(f"freeb {disk.blocks('/usr/bin/dpkg')[0]}"), says="bitmap differences"),
    damage("filesystem-clean", "a damaged directory",
           lambda disk: disk.poke_block(disk.blocks("/usr/share/doc")[-1], b"\xff" * 16), says="Directory inode",
           also="agent-files privileged-programs writable-by-all unowned-files private-keys"),  # all of them list files
    damage("filesystem-clean", "links miscounted", lambda disk: disk.edit("set_inode_field /usr/share links_count 3"),
           says="ref count is 3"),
    damage("free-space", "a full disk", lambda disk: disk.fill("/var/log/ballast", left=0.1), says="are free"),
    damage("upload-format", "a CD as well", poke(0x8001, b"CD001"), says="iso", also="boot-loader"),
    # What it is
    damage("os-release", "another release", change("/usr/lib/os-release", "trixie", "sarge"), says="of release trixie"),
    damage("os-release", "another system", change("/usr/lib/os-release", "ID=debian", "ID=ubuntu"), says="'ubuntu'"),
    damage("architecture", "another machine's", other_machine, says="arm64 instead of amd64"),
    damage("packages", "one removed", uninstalled("ipvsadm"), says="ipvsadm"),
    damage("packages", "one half-installed", change(DPKG_STATUS, "Package: socat\nStatus: install ok installed",
           "Package: socat\nStatus: install ok unpacked"), says="socat is unpacked"),
    # What boots
    damage("kernel", "zeroed", of("/boot", "vmlinuz-", zero), says="is no kernel"),
    damage("kernel", "cut off", of("/boot", "vmlinuz-", lambda name: cut(name, 0.9)), says="missing at its end"),
    damage("kernel", "no modules", of("/usr/lib/modules", "", moved), says="/lib/modules/"),
    damage("kernel", "none", of("/boot", "vmlinuz-", remove), says="no kernel", also="initrd boot-loader"),
    damage("initrd", "none", of("/boot", "initrd.img-", remove), says="no initrd", also="boot-loader"),
    damage("initrd", "zeroed", of("/boot", "initrd.img-", zero), says="no archive"),
    damage("initrd", "cut off", of("/boot", "initrd.img-", lambda name: cut(name, 0.95)), says="cut short"),
    damage("init", "none", remove("/usr/lib/systemd/systemd"), says="missing"),
    damage("init", "no loader", of("/usr/lib/x86_64-linux-gnu", "ld-linux", remove), says="ld-linux"),
    damage("boot-loader", "no boot code", poke(0, bytes(440)), says="boot code"),
    damage("boot-loader", "no core.img", second_stage_zeroed, says="second stage"),
    damage("boot-loader", "another core.img", poke(8 * 512, bytes(512)), says="core image"),
    damage("boot-loader", "another label", change("/boot/grub/grub.cfg", "root=LABEL=cloudimg-rootfs", "root=LABEL=x"),
           says="root=LABEL=x"),
    damage("boot-loader", "no configuration", remove("/boot/grub/grub.cfg"), says="no grub.cfg"),
    damage("fstab", "another label", change("/etc/fstab", "LABEL=cloudimg-rootfs", "LABEL=other"), says="LABEL=other"),
    damage("fstab", "no root", put("/etc/fstab", "# nothing\n"), says="no entry for /"),
    # The services of an amphora
    damage("haproxy", "enabled", link(f"{WANTS}/haproxy.service", f"{UNITS}/haproxy.service"), says="starts at boot"),
    damage("haproxy", "removed", uninstalled("haproxy"), says="missing", also="packages"),
    damage("keepalived", "not executable", chmod("/usr/sbin/keepalived", "0100644"), says="missing"),
    damage("cloud-init-datasources", "others", put(f"{CLOUD}/99-local.cfg", "datasource_list: [ Ec2 ]\n"), says="Ec2"),
    damage("sshd", "removed", uninstalled("openssh-server"), says="missing", also="packages"),
    damage("sshd", "not enabled", remove(f"{WANTS}/ssh.service"), says="does not start"),
    damage("sshd", "not asked for", nothing, says="although none", sshd=False),
    # The agent
    damage("agent-files", "a module missing", in_the_agent(SERVER, remove), says="missing"),
    damage("agent-files", "a module cut off", in_the_agent(SERVER, lambda name: cut(name, 0.5)), says="damaged"),
    damage("agent-files", "no interpreter", of("/usr/bin", "python3.", remove), says="no interpreter",
           also="agent-entry-points"),
    damage("agent-entry-points", "another interpreter", no_interpreter, says="pythom"),
    damage("agent-services", "the agent not enabled", remove(f"{WANTS}/amphora-agent.service"), says="not enabled"),
    damage("agent-services", "certificates on disk", remove(f"{UNITS}/certs-ramfs.service"), says="certs-ramfs"),
    # What must differ from instance to instance
    damage("root-password", "one that nobody asked for", password("root", "$6$salt$hash"), says="none was asked for"),
    damage("root-password", "empty", password("root", ""), says="empty"),
    damage("root-password", "none, though asked for", nothing, says="locked", root_password=True),
    damage("user-passwords", "a user's", password("haproxy", "$6$salt$hash"), says="haproxy"),
    damage("user-passwords", "by cloud-init", put(f"{CLOUD}/99-user.cfg",
           "users:\n  - name: admin\n    plain_text_passwd: admin\n"), says="plain_text_passwd"),
    damage("ssh-host-keys", "a key", put("/etc/ssh/ssh_host_ed25519_key.pub", KEY), says="ssh_host_ed25519_key"),
    damage("authorized-keys", "root's", put("/root/.ssh/authorized_keys", KEY, 0o600), says="/root/.ssh"),
    damage("machine-id", "set", put("/etc/machine-id", "0123456789abcdef0123456789abcdef\n"), says="0123456789"),
    # Who gets in, and what is trusted
    damage("password-storage", "open to all", chmod("/etc/shadow", "0100644"), says="open to all"),
    damage("root-rights", "sudo without a password",
           put("/etc/sudoers.d/admin", "admin ALL=(ALL) NOPASSWD: ALL\n", 0o440), says="lets admin do everything"),
    damage("root-rights", "a second root", append("/etc/passwd", "toor:x:0:0::/root:/bin/sh\n"), says="toor"),
    damage("ssh-settings", "root by password", put("/etc/ssh/sshd_config.d/10-root.conf", "PermitRootLogin yes\n"),
           says="PermitRootLogin"),
    damage("listening-services", "nobody's", lambda disk: [disk.put(f"{UNITS}/rpcbind.service",
           "[Service]\nExecStart=/usr/bin/true\n"), disk.link(f"{WANTS}/rpcbind.service", f"{UNITS}/rpcbind.service")],
           says="rpcbind.service serves"),
    damage("privileged-programs", "a shell of root's", put("/usr/bin/rootsh", "x", 0o4755), says="/usr/bin/rootsh"),
    damage("writable-by-all", "a file", chmod("/etc/profile", "0100666"), says="/etc/profile"),
    damage("unowned-files", "a file", lambda disk: disk.edit("set_inode_field /etc/hosts uid 4242"), says="(4242:0)"),
    damage("private-keys", "of TLS", put("/etc/haproxy/server.pem", PRIVATE), says="/etc/haproxy/server.pem"),
    damage("private-keys", "of SSH", put("/root/.ssh/id_ed25519", PRIVATE.replace(" PR", " OPENSSH PR"), 0o600),
           says="/root/.ssh/id_ed25519"),
    damage("build-credentials", "a login", put("/root/.netrc", "machine a login b password c\n", 0o600), says=".netrc"),
    damage("build-credentials", "a mirror's", put("/etc/pip.conf", "[global]\nindex-url = https://a:b@pypi.example/\n"),
           says="/etc/pip.conf"),
    damage("package-signatures", "a key for all", put("/etc/apt/trusted.gpg.d/vendor.gpg"), says="vendor.gpg"),
    damage("package-signatures", "none needed", put("/etc/apt/sources.list", "deb [trusted=yes] http://a.example b\n"),
           says="/etc/apt/sources.list"),
    # What a build leaves behind
    damage("package-lists", "apt's", put("/var/lib/apt/lists/deb.debian.org_InRelease"), says="apt/lists"),
    damage("package-lists", "pip's", put("/root/.cache/pip/http/a/b"), says="pip"),
    damage("build-dependencies", "a compiler", installed("gcc-14"), says="gcc-14"),
    damage("host-certificates", "in the bundle", append("/etc/ssl/certs/ca-certificates.crt", PEM),
           says="ca-certificates.crt", lent_certificates=(PEM_DIGEST,)),
    damage("host-certificates", "installed", put("/usr/local/share/ca-certificates/corp.crt", PEM),
           says="corp.crt", lent_certificates=(PEM_DIGEST,)),
    damage("proxies", "apt's", put("/etc/apt/apt.conf.d/60x", f'Acquire::http::Proxy "{PROXY}";\n'), says="60x"),
    damage("proxies", "everybody's", put("/etc/environment", f"https_proxy={PROXY}\n"), says="/etc/environment"),
    damage("resolv-conf", "this host's", this_hosts_resolver, says="/etc/resolv.conf"),
]  # fmt: skip


@pytest.mark.parametrize(("harm", "check", "says", "checks", "wanted"), DAMAGES)
def test_each_damage_is_named(
    disk: Disk, harm: Harm, check: str, says: str, checks: set[str], wanted: dict[str, Any]
) -> None:
    harm(disk)
    expectation = recorded_expectation(disk.path)
    assert expectation is not None
    found = failed(validate(disk.path, replace(expectation, **wanted)))
    assert set(found) == checks, found
    assert says in found[check]


WEAKENED = [
    ("kernel-hardening", change("/boot/grub/grub.cfg", " ro ", " ro mitigations=off "), "mitigations=off"),
    ("kernel-hardening", put("/etc/sysctl.d/99-x.conf", "kernel.randomize_va_space = 0\n"), "99-x.conf"),
    ("tls-minimum", change("/etc/ssl/openssl.cnf", "[openssl_init]", "[openssl_init]\nMinProtocol = TLSv1"), "TLSv1"),
]


@pytest.mark.parametrize(("check", "harm", "says"), WEAKENED, ids=[row[0] + ": " + row[2] for row in WEAKENED])
def test_what_weakens_it_is_a_warning(disk: Disk, check: str, harm: Harm, says: str) -> None:
    harm(disk)
    report = validate(disk.path)
    assert report.ok
    found = {finding.id: finding.message for finding in report.findings if finding.status is Status.WARN}
    assert set(found) == {check, *EXPLAINED}
    assert says in found[check]


def test_what_only_all_content_tells(disk: Disk) -> None:
    disk.put("/usr/share/doc/haproxy/notes", f"login: {SECRET}\n")
    disk.rewrite(disk.only("/boot", "initrd.img-"), gzip.compress(b"070701" + b"0" * 104 + b"TRAILER!!!\0" + bytes(3)))
    expectation = recorded_expectation(disk.path)
    assert expectation is not None
    Path(f"{disk.path}.json").unlink()  # the build looks for secrets before there is one
    report = validate(disk.path, replace(expectation, secrets={"DIB_PASSWORD": SECRET}), How(deep=True))
    found = failed(report)
    assert set(found) == {"secrets", "initrd-content"}
    assert found["secrets"] == "DIB_PASSWORD is in /usr/share/doc/haproxy/notes"
    assert SECRET not in str(report)


def test_truncated(disk: Disk) -> None:
    os.truncate(disk.path, disk.path.stat().st_size // 2)
    found = failed(validate(disk.path))
    assert set(found) == {"image-intact", "virtual-size", "partitions", "filesystem-clean"}
    assert "the record says" in found["image-intact"]


# The file: what the command says of a qcow2


@pytest.fixture(scope="module")
def converted(good: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The same amphora as a compressed qcow2, with its record."""
    image = tmp_path_factory.mktemp("qcow2") / "amphora.qcow2"
    options = ["-c", "-o", "compression_type=zstd", "-O", "qcow2", "-f", "raw"]
    subprocess.run(["qemu-img", "convert", *options, good, image], check=True)
    record = json.loads(Path(f"{good}.json").read_text())
    with image.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    record["artifacts"] = [{"type": "qcow2", "path": image.name, "sha256": digest, "bytes": image.stat().st_size}]
    Path(f"{image}.json").write_text(json.dumps(record))
    yield image
    image.unlink()


@pytest.fixture
def qcow2(converted: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy to be damaged."""
    try:
        yield copied(converted, tmp_path).path
    finally:
        (tmp_path / converted.name).unlink(missing_ok=True)
        (tmp_path / converted.name).with_suffix(".base").unlink(missing_ok=True)
    assert leftovers() == set()


def run_validate(image: Path, *options: str) -> tuple[int, dict[str, str]]:
    """Exit code and failures of the command."""
    command = [*COMMAND, "validate", "--format", "json", *options, str(image)]
    done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, check=False)
    report = json.loads(done.stdout)
    assert schema_errors(report, "validation") == []
    assert done.stderr == ""
    return done.returncode, {check["id"]: check["message"] for check in report["checks"] if check["status"] == "fail"}


def qemu_img(*arguments: str | Path) -> None:
    subprocess.run(["qemu-img", *arguments], check=True, capture_output=True)


def cut_short(image: Path) -> None:
    os.truncate(image, image.stat().st_size - 1024)


def without_references(image: Path) -> None:
    """The table that counts the uses of each cluster, zeroed."""
    with image.open("r+b") as file:
        file.seek(48)
        table = int.from_bytes(file.read(8), "big")
        file.seek(table)
        file.write(bytes(8))


def an_overlay(image: Path) -> None:
    base = image.with_suffix(".base")
    image.rename(base)
    qemu_img("create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", image)


def with_its_data_elsewhere(image: Path) -> None:
    image.unlink()
    qemu_img("create", "-q", "-f", "qcow2", "-o", f"data_file={image}.data", image, "16M")


def not_an_image(image: Path) -> None:
    image.write_bytes(b"<html>404 Not Found</html>\n" * 100)


FILES = [
    (cut_short, "truncated"),
    (without_references, "corruptions"),
    (an_overlay, "backing file"),
    (with_its_data_elsewhere, "external file"),
    (not_an_image, "no disk image"),
]


@pytest.mark.parametrize(("harm", "says"), FILES, ids=[harm.__name__ for harm, _ in FILES])
def test_a_damaged_file(qcow2: Path, harm: Callable[[Path], None], says: str) -> None:
    harm(qcow2)
    code, found = run_validate(qcow2)
    assert (code, set(found)) == (5, {"image-intact"})
    assert says in found["image-intact"]


def test_another_file_than_was_built(qcow2: Path) -> None:
    """One sector in front of the root file system, of which nothing else speaks."""
    assert run_validate(qcow2, "--deep") == (0, {})
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -P 1 1048064 512", qcow2], check=True, capture_output=True)
    code, found = run_validate(qcow2, "--deep")
    # The new cluster is not compressed: the file is longer, too.
    assert (code, set(found)) == (5, {"checksum", "image-intact"})
