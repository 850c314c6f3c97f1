"""Validation of real images: good ones pass, each damage is named by its check."""

from __future__ import annotations

import base64
import gzip
import hashlib
import os
import struct
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from diskimage_create import mounts
from diskimage_create.errors import HostError, InputError
from diskimage_create.model import Expectation, Report, Status
from diskimage_create.requirements import Requirement
from diskimage_create.validate import How, expectation_for, opening, to_json, validate
from diskimage_create.validate.image import open_image
from diskimage_create.validate.system.inventory import package_versions
from made_files import cpio, elf

pytestmark = pytest.mark.loop

ImageMaker = Callable[..., Path]
KERNEL = "6.1.0-1-amd64"
SITE = "opt/amphora-agent-venv/lib/python3.11/site-packages"
CERTIFICATE = b"0\x82 not really DER, but a certificate to everyone here"


def failures(report: Report) -> dict[str, str]:
    return {finding.id: finding.message for finding in report.findings if finding.status is Status.FAIL}


def status_of(report: Report, check: str) -> Status:
    return next(finding.status for finding in report.findings if finding.id == check)


def put(name: str, content: str | bytes = "x", mode: int = 0o644) -> Callable[[Path], None]:
    def damage(tree: Path) -> None:
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(mode)

    return damage


def remove(name: str) -> Callable[[Path], None]:
    return lambda tree: (tree / name).unlink()


def edit(name: str, old: str, new: str) -> Callable[[Path], None]:
    def damage(tree: Path) -> None:
        text = (tree / name).read_text()
        assert old in text
        (tree / name).write_text(text.replace(old, new))

    return damage


def cut(name: str, count: int) -> Callable[[Path], None]:
    return lambda tree: os.truncate(tree / name, (tree / name).stat().st_size - count)


def enabled(unit: str, content: str) -> Callable[[Path], None]:
    """A unit of a package, which starts at boot."""

    def damage(tree: Path) -> None:
        put(f"{UNITS}/{unit}", content)(tree)
        symlink(f"{WANTS}/{unit}", f"/{UNITS}/{unit}")(tree)

    return damage


def capable(name: str) -> Callable[[Path], None]:
    """Whoever runs the program may bind to any port: CAP_NET_BIND_SERVICE (10), effective and permitted."""
    value = struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0)
    return lambda tree: os.setxattr(tree / name, "security.capability", value)


def symlink(name: str, target: str) -> Callable[[Path], None]:
    def damage(tree: Path) -> None:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).symlink_to(target)

    return damage


def pem(der: bytes) -> str:
    return f"-----BEGIN CERTIFICATE-----\n{base64.encodebytes(der).decode()}-----END CERTIFICATE-----\n"


PRIVATE_KEY = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA==\n-----END PRIVATE KEY-----\n"
WANTS = "etc/systemd/system/multi-user.target.wants"
UNITS = "usr/lib/systemd/system"

DAMAGE = [
    ("os-release", "other distribution", edit("usr/lib/os-release", "ID=debian", "ID=ubuntu")),
    ("os-release", "other release", edit("usr/lib/os-release", "bookworm", "trixie")),
    ("os-release", "none", remove("usr/lib/os-release")),
    ("architecture", "arm64", put("usr/bin/dpkg", b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HH", 3, 183))),
    ("kernel", "zeroed", put(f"boot/vmlinuz-{KERNEL}", bytes(4096))),
    ("kernel", "no modules", remove(f"usr/lib/modules/{KERNEL}/modules.dep")),
    ("kernel", "cut short", put(f"boot/vmlinuz-{KERNEL}", b"MZ" + bytes(0x1EF) + b"\x0f" + bytes(16) + b"HdrS")),
    ("initrd", "zeroed", put(f"boot/initrd.img-{KERNEL}", bytes(4096))),
    ("initrd", "cut short", cut(f"boot/initrd.img-{KERNEL}", 1)),
    ("init", "missing", remove("usr/lib/systemd/systemd")),
    ("init", "of another machine", put("usr/lib/systemd/systemd", elf(183), 0o755)),
    ("init", "no loader", put("usr/lib/systemd/systemd", elf(62, interpreter="/lib64/ld.so"), 0o755)),
    ("boot-loader", "searches for another", edit("boot/grub/grub.cfg", "set timeout=0", "search --label other")),
    ("boot-loader", "other GRUB", put("boot/grub/i386-pc/core.img", b"\x52" * 4096)),
    ("boot-loader", "no configuration", remove("boot/grub/grub.cfg")),
    ("boot-loader", "other label", edit("boot/grub/grub.cfg", "LABEL=img-rootfs", "LABEL=other")),
    ("boot-loader", "old kernel", edit("boot/grub/grub.cfg", f"initrd.img-{KERNEL}", "initrd.img-5.0")),
    ("fstab", "other label", edit("etc/fstab", "LABEL=img-rootfs", "LABEL=cloudimg-rootfs")),
    ("fstab", "no root", edit("etc/fstab", " / ", " /srv ")),
    ("packages", "half-installed", edit("var/lib/dpkg/status", "cloud-init\nStatus: install ok installed",
                                        "cloud-init\nStatus: install ok half-configured")),
    ("packages", "missing", edit("var/lib/dpkg/status", "Package: keepalived", "Package: other")),
    ("packages", "interrupted", put("var/lib/dpkg/updates/0001")),
    ("haproxy", "missing", remove("usr/sbin/haproxy")),
    ("haproxy", "enabled", symlink(f"{WANTS}/haproxy.service", "/lib/systemd/system/haproxy.service")),
    ("keepalived", "missing", remove("usr/sbin/keepalived")),
    ("keepalived", "enabled", symlink(f"{WANTS}/keepalived.service", "/lib/systemd/system/keepalived.service")),
    ("agent-entry-points", "missing", remove("usr/local/bin/amphora-agent")),
    ("agent-files", "module missing", remove(f"{SITE}/octavia/agent.py")),
    ("agent-files", "module cut off", put(f"{SITE}/octavia/agent.py", "pa")),
    ("agent-services", "not enabled", remove(f"{WANTS}/prometheus-proxy.service")),
    ("agent-services", "no certs-ramfs", remove(f"{UNITS}/certs-ramfs.service")),
    ("cloud-init-datasources", "other", put("etc/cloud/cloud.cfg.d/99.cfg", "datasource_list: [Ec2]\n")),
    ("sshd", "missing", remove("usr/sbin/sshd")),
    ("sshd", "not enabled", remove(f"{WANTS}/ssh.service")),
    ("root-password", "set", edit("etc/shadow", "root:*", "root:$6$salt$hash")),
    ("root-password", "empty", edit("etc/shadow", "root:*", "root:")),
    ("user-passwords", "set", edit("etc/shadow", "haproxy:!", "haproxy:$6$salt$hash")),
    ("user-passwords", "by cloud-init", put("etc/cloud/cloud.cfg.d/98.cfg",
                                            "users:\n - name: a\n   plain_text_passwd: b\n")),
    ("password-storage", "open to all", put("etc/shadow", "root:*:::::::\n", 0o644)),
    ("password-storage", "weak method", put("etc/login.defs", "ENCRYPT_METHOD MD5\n")),
    ("root-rights", "sudo", put("etc/sudoers.d/x", "someone ALL=(ALL) NOPASSWD: ALL\n", 0o440)),
    ("root-rights", "another image's stack", put("etc/sudoers.d/stack", "stack ALL=(ALL) NOPASSWD:ALL\n", 0o440)),
    ("root-rights", "open rules", put("etc/sudoers.d/x", "# nothing\n", 0o460)),
    ("root-rights", "second root", edit("etc/passwd", "haproxy:x:100:", "haproxy:x:0:")),
    ("ssh-settings", "root by password", put("etc/ssh/sshd_config.d/1.conf", "PermitRootLogin yes\n")),
    ("ssh-settings", "no password", put("etc/ssh/sshd_config.d/1.conf", "Match user a\nPermitEmptyPasswords yes")),
    ("ssh-settings", "broken cipher", put("etc/ssh/sshd_config.d/1.conf", "Ciphers +3des-cbc\n")),
    ("listening-services", "service", enabled("rpcbind.service", "[Service]\nExecStart=/usr/bin/true\n")),
    ("listening-services", "socket", enabled("x.socket", "[Socket]\nListenStream=/run/x\nListenStream=99\n")),
    ("privileged-programs", "setuid", put("usr/bin/shell", elf(62), 0o4755)),
    ("privileged-programs", "known only as setgid", put("usr/bin/expiry", elf(62), 0o6755)),
    ("privileged-programs", "capabilities", capable("usr/bin/python3")),
    ("writable-by-all", "file", put("etc/profile", "", 0o666)),
    ("writable-by-all", "directory", lambda tree: (tree / "usr/bin").chmod(0o777)),
    ("unowned-files", "user", lambda tree: os.chown(tree / "etc/fstab", 4242, 0)),
    ("unowned-files", "group", lambda tree: os.lchown(tree / "usr/sbin/init", 0, 4242)),
    ("private-keys", "of TLS", put("usr/share/web/server.key", PRIVATE_KEY)),
    ("private-keys", "of SSH", put("root/.ssh/id_ed25519", PRIVATE_KEY.replace("PRIVATE", "OPENSSH PRIVATE"), 0o600)),
    ("private-keys", "by its mode", put("srv/secret", f"text\n{PRIVATE_KEY}", 0o600)),
    ("private-keys", "key store", put("etc/app/store.p12", b"\x30\x82\x01\x00")),
    ("build-credentials", "pip", put("etc/pip.conf", "[global]\nindex-url = https://me:word@pypi.example/simple\n")),
    ("build-credentials", "netrc", put("root/.netrc", "machine a login b password c\n")),
    ("build-credentials", "apt", put("etc/apt/auth.conf.d/a.conf", "machine a login b password c\n")),
    ("build-credentials", "registry", put("root/.docker/config.json", '{"auths": {"a": {"auth": "YTpi"}}}')),
    ("build-credentials", "history", put("root/.bash_history", "ls\n")),
    ("build-credentials", "manifest", put("etc/dib-manifests/dib_environment", 'declare -x DIB_A_TOKEN="b"\n')),
    ("package-signatures", "apt source", put("etc/apt/sources.list", "deb [trusted=yes] http://a b c\n")),
    ("package-signatures", "apt sources", put("etc/apt/sources.list.d/a.sources", "Types: deb\nTrusted: yes\n")),
    ("package-signatures", "apt option", put("etc/apt/apt.conf.d/9a", 'APT::Get::AllowUnauthenticated "true";\n')),
    ("package-signatures", "foreign key", put("etc/apt/trusted.gpg.d/vendor.gpg")),
    ("package-signatures", "dnf", put("etc/yum.repos.d/a.repo", "[a]\nbaseurl=http://a\ngpgcheck=0\n")),
    ("ssh-host-keys", "key", put("etc/ssh/ssh_host_ed25519_key")),
    ("authorized-keys", "root's", put("root/.ssh/authorized_keys", "ssh-ed25519 AAAA\n")),
    ("machine-id", "set", put("etc/machine-id", "0123456789abcdef0123456789abcdef\n")),
    ("package-lists", "apt lists", put("var/lib/apt/lists/deb.debian.org_dists_bookworm_InRelease")),
    ("package-lists", "pip cache", put("root/.cache/pip/http/abc")),
    ("build-dependencies", "compiler", edit("var/lib/dpkg/status", "Package: gcc-12-base", "Package: gcc-12")),
    ("host-certificates", "installed", put("usr/local/share/ca-certificates/ours.crt", pem(CERTIFICATE))),
    ("host-certificates", "in the bundle", put("etc/ssl/certs/ca-certificates.crt", pem(b"other") + pem(CERTIFICATE))),
    ("proxies", "apt", put("etc/apt/apt.conf.d/60proxy", 'Acquire::http::Proxy "http://proxy.example:3128";\n')),
    ("proxies", "environment", put("etc/environment", "https_proxy=http://proxy.example:3128\n")),
]  # fmt: skip


@pytest.mark.parametrize(("check", "how", "damage"), DAMAGE, ids=[f"{d[0]}-{d[1]}".replace(" ", "-") for d in DAMAGE])
def test_damage_is_named_by_its_check(
    tree: Path, make_image: ImageMaker, expectation: Expectation, check: str, how: str, damage: Callable[[Path], object]
) -> None:
    damage(tree)
    if how == "no modules":
        (tree / f"usr/lib/modules/{KERNEL}").rmdir()
    lent = (hashlib.sha256(CERTIFICATE).hexdigest(),)
    report = validate(make_image(), replace(expectation, lent_certificates=lent))
    assert set(failures(report)) == {check}


def test_no_kernel(tree: Path, make_image: ImageMaker, expectation: Expectation) -> None:
    (tree / f"boot/vmlinuz-{KERNEL}").unlink()
    assert set(failures(validate(make_image(), expectation))) == {"kernel", "initrd", "boot-loader"}


def test_no_initrd(tree: Path, make_image: ImageMaker, expectation: Expectation) -> None:
    (tree / f"boot/initrd.img-{KERNEL}").unlink()
    assert set(failures(validate(make_image(), expectation))) == {"initrd", "boot-loader"}


def test_agent_without_its_interpreter(tree: Path, make_image: ImageMaker, expectation: Expectation) -> None:
    (tree / "usr/bin/python3").unlink()
    assert set(failures(validate(make_image(), expectation))) == {"agent-entry-points", "agent-files"}


def test_this_hosts_name_server(tree: Path, make_image: ImageMaker, expectation: Expectation) -> None:
    (tree / "etc/resolv.conf").write_bytes(Path("/etc/resolv.conf").read_bytes())
    report = validate(make_image(), expectation)
    if status_of(report, "resolv-conf") is Status.SKIP:
        pytest.skip("this host has no name server of its own")
    assert set(failures(report)) == {"resolv-conf"}


def test_too_full(tree: Path, make_image: ImageMaker, expectation: Expectation) -> None:
    (tree / "ballast").write_bytes(os.urandom(28 * 2**20))
    assert set(failures(validate(make_image(root_mib=40), expectation))) == {"free-space"}


def first_bytes(image: Path) -> bytes:
    """Enough to see the superblock and the journal: what a mount that writes would change."""
    with image.open("rb") as file:
        return file.read(32 * 2**20)


@pytest.mark.parametrize("kind", ["raw", "qcow2", "vhd", "tar", "tgz", "squashfs"])
def test_good_image_of_every_type(make_image: ImageMaker, expectation: Expectation, kind: str) -> None:
    image = make_image(kind)
    before = first_bytes(image)
    report = validate(image, expectation)
    assert failures(report) == {}
    assert report.ok
    assert all(f.status is not Status.WARN for f in report.findings)
    skips = {finding.id for finding in report.findings if finding.status is Status.SKIP}
    deep = {"secrets", "checksum", "initrd-content"} | ({"resolv-conf"} & skips)
    of_other_images = {"custom-ca", "ramdisk", "first-boot", "cfn-tools", "local-keys", "stack-user"}
    of_other_images |= {"gpt-headers", "efi-boot", "element-checks"}
    no_disk = {"upload-format", "virtual-size", "partitions", "filesystem-clean", "free-space", "boot-loader", "fstab"}
    assert skips == deep | of_other_images | (no_disk if kind in ("tar", "tgz", "squashfs") else set())
    assert first_bytes(image) == before


def test_gpt_disk(make_image: ImageMaker, expectation: Expectation) -> None:
    assert failures(validate(make_image(table="gpt"), expectation)) == {}


def test_logical_volumes_without_libguestfs(
    make_image: ImageMaker, expectation: Expectation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What beside them holds a file system is /boot: its files are not those of the image."""
    absent = Requirement("guestmount", "guestmount", "logical volumes", ("no-guestmount-here",))
    monkeypatch.setitem(opening.NEEDED, "guestfs", (absent,))
    image = make_image("raw", table="gpt")
    with image.open("r+b") as file:
        file.seek((4096 + 1) * 512)
        file.write(b"LABELONE" + bytes(16) + b"LVM2 001")
    report = validate(image, expectation)
    assert report.ok
    assert status_of(report, "image-access") is Status.WARN
    assert status_of(report, "partitions") is Status.PASS
    for check in ("filesystem-clean", "os-release", "boot-loader", "packages", "free-space"):
        assert status_of(report, check) is Status.SKIP
    messages = {finding.message for finding in report.findings if finding.id in ("filesystem-clean", "os-release")}
    assert messages == {"the root file system is on a logical volume, which is not looked into"}
    workspace = tmp_path / "work"
    workspace.mkdir()
    with open_image(image, workspace=workspace) as view:
        assert view.tree is None
        assert package_versions(view) == []


@pytest.mark.parametrize(
    ("offset", "content", "failed"),
    [
        (2**30 - 512 + 16, b"\0\0\0\0", {"gpt-headers"}),
        (2**30 - 512, bytes(512), {"gpt-headers"}),
        (512 + 88, b"\xff\xff\xff\xff", {"gpt-headers"}),
        # Without its announcement the GPT is none, and the disk starts with nothing to boot.
        (446 + 4, b"\x83", {"gpt-headers", "partitions"}),
        (446 + 16 + 4, b"\x83", {"upload-format"}),
    ],
)
def test_damaged_gpt(
    make_image: ImageMaker, expectation: Expectation, offset: int, content: bytes, failed: set[str]
) -> None:
    image = make_image(table="gpt")
    assert status_of(validate(image, expectation), "gpt-headers") is Status.PASS
    overwrite(image, offset, content)
    assert failed <= set(failures(validate(image, expectation)))


@pytest.mark.parametrize(
    ("offset", "content", "message"),
    [
        (32769, b"CD001", "Multiple formats"),
        (0, b"KDMV" + struct.pack("<IIQQQQIQQ", 1, 3, 2048, 128, 1, 20, 512, 21, 26), "Multiple formats"),
        (446, b"\x01", "invalid boot flag"),
        (0, b"# Disk DescriptorFile\nversion=1\nRW 63 FLAT /etc/passwd 0\n", "descriptor of a VMDK"),
    ],
)
def test_disk_that_looks_like_something_else(
    make_image: ImageMaker, expectation: Expectation, offset: int, content: bytes, message: str
) -> None:
    image = make_image()
    overwrite(image, offset, content)
    assert message in failures(validate(image, expectation))["upload-format"]


def test_qcow2_with_features_that_glance_does_not_know(
    make_image: ImageMaker, expectation: Expectation, tmp_path: Path
) -> None:
    image = tmp_path / "extended.qcow2"
    qemu_img("convert", "-O", "qcow2", "-o", "extended_l2=on,cluster_size=128k", make_image(), image)
    assert failures(validate(image, expectation)) == {"upload-format": "Unknown QCOW2 features found"}


def test_fixed_vhd(make_image: ImageMaker, expectation: Expectation, tmp_path: Path) -> None:
    image = tmp_path / "fixed.vhd"
    qemu_img("convert", "-O", "vpc", "-o", "subformat=fixed,force_size", make_image(), image)
    assert failures(validate(image, expectation)) == {"upload-format": "gpt is detected instead of vhd"}


def test_name_and_record_say_another_format(
    make_image: ImageMaker, expectation: Expectation, beside: Callable[..., None]
) -> None:
    image = make_image("qcow2")
    image = image.rename(image.with_suffix(".raw"))
    beside(image, artifacts=[{"type": "vhd", "path": str(image)}])
    message = failures(validate(image, expectation))["upload-format"]
    assert message == "it is qcow2, but its name says raw; it is qcow2, but the record says vhd"


def test_partitions_that_overlap(make_image: ImageMaker, expectation: Expectation) -> None:
    image = make_image()
    overwrite(image, 446 + 16, struct.pack("<B3sB3sII", 0, b"", 0x83, b"", 4096, 4096))
    assert "overlap" in failures(validate(image, expectation))["partitions"]


@pytest.mark.parametrize(
    "content",
    [b"", gzip.compress(b"no archive"), gzip.compress(cpio({"etc/x": b""}))],
    ids=["empty", "no archive", "no init"],
)
def test_initrd_without_an_init(tree: Path, make_image: ImageMaker, expectation: Expectation, content: bytes) -> None:
    put(f"boot/initrd.img-{KERNEL}", content)(tree)
    assert "initrd-content" in failures(validate(make_image(), expectation, How(deep=True)))


def test_wrong_label_of_the_file_system(make_image: ImageMaker, expectation: Expectation) -> None:
    assert set(failures(validate(make_image(label="other"), expectation))) == {"boot-loader", "fstab"}


def test_weakly_hashed_password(tree: Path, make_image: ImageMaker, expectation: Expectation) -> None:
    edit("etc/shadow", "root:*", "root:$1$salt$hash")(tree)
    asked = replace(expectation, root_password=True)
    assert failures(validate(make_image(), asked)) == {"password-storage": "weakly hashed: root"}


def test_what_elements_ask_for_is_no_damage(tree: Path, make_image: ImageMaker, expectation: Expectation) -> None:
    """A user who becomes root, a service, a password for root: where they were asked for, and in no other image."""
    put("etc/sudoers.d/stack", "stack ALL=(ALL:ALL) NOPASSWD: ALL\n", 0o440)(tree)
    enabled("rpcbind.service", "[Service]\nExecStart=/usr/bin/true\n")(tree)
    put("etc/ssh/sshd_config.d/1.conf", "PermitRootLogin yes\nPasswordAuthentication yes\n")(tree)
    edit("etc/shadow", "root:*", "root:$6$salt$hash")(tree)
    edit("var/lib/dpkg/status", "Package: gcc-12-base", "Package: rpcbind")(tree)
    edit("etc/passwd", "haproxy:x:100:100::", "stack:x:0:100::")(tree)
    edit("etc/passwd", "stack:x:0:", "stack:x:1000:")(tree)
    asked = replace(
        expectation,
        elements=expectation.elements | {"stackuser"},
        packages=(*expectation.packages, "rpcbind"),
        root_password=True,
    )
    report = validate(make_image(), asked)
    for check in ("root-rights", "listening-services", "ssh-settings", "password-storage"):
        assert status_of(report, check) is Status.PASS


WEAK = [
    ("ssh-settings", put("etc/ssh/sshd_config.d/1.conf", "PasswordAuthentication yes\n")),
    ("private-keys", put("etc/ssl/private/ssl-cert-snakeoil.key", PRIVATE_KEY, 0o640)),
    ("tls-minimum", put("etc/ssl/openssl.cnf", "MinProtocol = TLSv1.1\n")),
    ("tls-minimum", put("etc/crypto-policies/config", "LEGACY\n")),
    ("kernel-hardening", edit("boot/grub/grub.cfg", " ro ", " ro mitigations=off ")),
    ("kernel-hardening", put("etc/sysctl.d/99-x.conf", "kernel.randomize_va_space = 0\n")),
    ("kernel-hardening", put("etc/security/limits.d/x.conf", "*  soft  core  unlimited\n")),
]


@pytest.mark.parametrize(("check", "weaken"), WEAK, ids=[f"{name}-{n}" for n, (name, _) in enumerate(WEAK)])
def test_a_weakness_is_a_warning(
    tree: Path, make_image: ImageMaker, expectation: Expectation, check: str, weaken: Callable[[Path], None]
) -> None:
    weaken(tree)
    report = validate(make_image(), expectation)
    assert report.ok
    assert [finding.id for finding in report.findings if finding.status is Status.WARN] == [check]


def test_keys_of_tests_and_of_the_distribution_are_none(
    tree: Path, make_image: ImageMaker, expectation: Expectation
) -> None:
    put(f"{SITE}/oslo/tests/server.key", PRIVATE_KEY)(tree)
    put("etc/apt/trusted.gpg.d/debian-archive-bookworm-stable.asc", "key")(tree)
    put("etc/apt/trusted.gpg.d/dib-apt-keyring.gpg", "key of the mirror that was asked for")(tree)
    put("etc/dib-manifests/dib_environment", 'declare -x DIB_APT_KEYRING="/mirror.gpg"\n')(tree)
    assert failures(validate(make_image(), expectation)) == {}
    digest = hashlib.md5(b"another key").hexdigest()
    edit(
        "var/lib/dpkg/status",
        "Package: gcc-12-base\n",
        "Package: debian-archive-keyring\nConffiles:\n"
        f" /etc/apt/trusted.gpg.d/debian-archive-bookworm-stable.asc {digest}\n",
    )(tree)
    assert set(failures(validate(make_image(), expectation))) == {"package-signatures"}


def test_wrong_size(make_image: ImageMaker, expectation: Expectation) -> None:
    assert set(failures(validate(make_image(), replace(expectation, size_gib=2)))) == {"virtual-size"}


def test_sshd_that_nobody_asked_for(make_image: ImageMaker, expectation: Expectation) -> None:
    assert set(failures(validate(make_image(), replace(expectation, sshd=False)))) == {"sshd"}


def test_missing_root_password(make_image: ImageMaker, expectation: Expectation) -> None:
    assert set(failures(validate(make_image(), replace(expectation, root_password=True)))) == {"root-password"}


def overwrite(image: Path, offset: int, content: bytes) -> None:
    with image.open("r+b") as file:
        file.seek(offset)
        file.write(content)


@pytest.mark.parametrize(
    ("check", "offset", "content"),
    [
        ("boot-loader", 0, bytes(440)),
        ("boot-loader", 60 * 512, bytes(512)),
        ("partitions", 446, b"\x00"),
        ("partitions", 446 + 12, struct.pack("<I", DISK := 2**30 // 512)),
        # The superblock's state: errors were seen.
        ("filesystem-clean", 2**20 + 1024 + 58, b"\x02\x00"),
    ],
)
def test_damaged_disk(
    make_image: ImageMaker, expectation: Expectation, check: str, offset: int, content: bytes
) -> None:
    image = make_image()
    overwrite(image, offset, content)
    assert check in failures(validate(image, expectation))


def test_root_that_cannot_be_mounted(make_image: ImageMaker, expectation: Expectation) -> None:
    image = make_image()
    overwrite(image, 2**20 + 1024, bytes(4096))
    report = validate(image, expectation)
    assert "filesystem-clean" in failures(report)
    assert status_of(report, "haproxy") is Status.SKIP


@pytest.mark.parametrize("cut", [1, 512, 4096, 65536, 200_000, "half", "header", "all"])
def test_truncated_qcow2(make_image: ImageMaker, expectation: Expectation, cut: int | str) -> None:
    image = make_image("qcow2")
    size = image.stat().st_size
    os.truncate(
        image, {"half": size // 2, "header": 40, "all": 0}.get(str(cut)) or (size - cut if isinstance(cut, int) else 0)
    )
    assert set(failures(validate(image, expectation))) == {"image-intact"}


def test_qcow2_with_damaged_tables(make_image: ImageMaker, expectation: Expectation) -> None:
    image = make_image("qcow2")
    overwrite(image, 65536, bytes(64))  # the refcount table
    assert "image-intact" in failures(validate(image, expectation))


@pytest.mark.parametrize("kind", ["tar", "tgz", "squashfs"])
@pytest.mark.parametrize("cut", [600, 10_000])
def test_truncated_archive(make_image: ImageMaker, expectation: Expectation, kind: str, cut: int) -> None:
    image = make_image(kind)
    size = image.stat().st_size
    # tar pads its end with zeros that nobody misses.
    os.truncate(image, size - cut - (10240 if kind == "tar" else 0) if size > 25_000 else size // 2)
    failed = failures(validate(image, expectation))
    assert "image-intact" in failed


def test_truncated_raw(make_image: ImageMaker, expectation: Expectation) -> None:
    image = make_image()
    os.truncate(image, 2**29)
    assert "partitions" in failures(validate(image, expectation))


def test_backing_file_is_refused_before_opening(
    make_image: ImageMaker, expectation: Expectation, tmp_path: Path
) -> None:
    raw, overlay = make_image(), tmp_path / "overlay.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", "-b", raw, "-F", "raw", overlay)
    found = failures(validate(overlay, expectation))
    assert set(found) == {"image-intact"}
    assert "backing file" in found["image-intact"]


def test_external_data_file_is_refused(make_image: ImageMaker, expectation: Expectation, tmp_path: Path) -> None:
    raw, image = make_image(), tmp_path / "external.qcow2"
    qemu_img("convert", "-O", "qcow2", "-o", f"data_file={tmp_path / 'data'}", raw, image)
    assert "external file" in failures(validate(image, expectation))["image-intact"]


def qemu_img(*arguments: str | Path) -> None:
    subprocess.run(["qemu-img", *arguments], check=True, capture_output=True)


def test_size_in_the_record(make_image: ImageMaker, expectation: Expectation, beside: Callable[..., None]) -> None:
    image = make_image("qcow2")
    entry = {"type": "qcow2", "path": str(image), "sha256": "0" * 64, "bytes": image.stat().st_size}
    beside(image, artifacts=[entry])
    assert failures(validate(image, expectation)) == {}
    assert set(failures(validate(image, expectation, How(deep=True)))) == {"checksum"}
    beside(image, artifacts=[{**entry, "bytes": 5}])
    assert set(failures(validate(image, expectation))) == {"image-intact"}


def test_secrets_anywhere_in_the_image(tree: Path, make_image: ImageMaker, expectation: Expectation) -> None:
    key = "-----BEGIN KEY-----\nc2VjcmV0IHNlY3JldA==\n-----END KEY-----\n"
    secret = replace(expectation, secrets={"password": "correct horse", "key": key, "absent": "battery staple"})
    (tree / "usr/share").mkdir(parents=True)
    (tree / "usr/share/blob").write_bytes(b"\xff\0\xfe correct horse\0")
    (tree / "usr/share/pem").write_text("-----BEGIN KEY-----\nnot ours\n-----END KEY-----\n")
    image = make_image("qcow2")
    assert failures(validate(image, secret)) == {}
    found = failures(validate(image, secret, How(deep=True)))
    assert found == {"secrets": "password is in /usr/share/blob"}


def test_multi_line_secret(tree: Path, make_image: ImageMaker, expectation: Expectation) -> None:
    key = "-----BEGIN KEY-----\nc2VjcmV0IHNlY3JldA==\n-----END KEY-----\n"
    (tree / "etc/key").write_text("before\n" + key + "after\n")
    report = validate(make_image(), replace(expectation, secrets={"key": key}), How(deep=True))
    assert failures(report) == {"secrets": "key is in /etc/key"}


def test_falls_back_to_a_conversion(
    make_image: ImageMaker, expectation: Expectation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise HostError("no FUSE here")

    image = make_image("qcow2")
    monkeypatch.setattr(mounts, "exported", broken)
    report = validate(image, expectation)
    assert report.ok
    assert status_of(report, "image-access") is Status.WARN


def test_expectation_from_the_record(
    make_image: ImageMaker, expectation: Expectation, beside: Callable[..., None]
) -> None:
    image = make_image()
    beside(image, expectation=to_json(expectation))
    assert expectation_for(image) == expectation
    assert validate(image).ok


def test_expectation_from_the_manifests(tree: Path, make_image: ImageMaker) -> None:
    (tree / "etc/dib-manifests").mkdir()
    (tree / "etc/dib-manifests/dib_arguments").write_text(
        "-a amd64 -o x --image-size 1 vm debian-minimal haproxy-octavia\n"
    )
    (tree / "etc/dib-manifests/dib_environment").write_text('declare -x DIB_RELEASE="trixie"\n')
    image = make_image("qcow2")
    found = expectation_for(image)
    assert (found.distribution, found.release, found.size_gib, found.arch) == ("debian", "trixie", 1, "amd64")
    assert set(failures(validate(image))) == {"os-release"}


def test_nothing_known_still_checks_the_image(tree: Path, make_image: ImageMaker) -> None:
    (tree / "etc/ssh").mkdir(exist_ok=True)
    (tree / "etc/ssh/ssh_host_rsa_key").write_text("x")
    assert set(failures(validate(make_image()))) == {"ssh-host-keys"}


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"x", b"hello\n" * 1000, bytes(2**20), b"QFI\xfb" + b"\xff" * 600, b"hsqs" + bytes(99)),
        # An extended partition beyond the end of the disk: sfdisk prints nothing, and is content.
        bytes(450) + b"\x05" + bytes(3) + b"\x01\0\0\0\xff\xff\xff\xff" + bytes(48) + b"\x55\xaa" + b"\xa7" * 4096,
    ],
)
def test_anything_else_is_a_report(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "image.qcow2"
    path.write_bytes(content)
    assert not validate(path, Expectation()).ok


def test_no_file_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        validate(tmp_path / "none.qcow2")


def test_links_do_not_reach_the_host(
    tree: Path, make_image: ImageMaker, expectation: Expectation, tmp_path: Path
) -> None:
    host = tmp_path / "host-file"
    host.write_text("haproxy.service")
    for name in ("etc/environment", "etc/machine-id"):
        (tree / name).unlink(missing_ok=True)
        (tree / name).symlink_to(f"../../../../../../../..{host}")
    assert failures(validate(make_image("tar"), expectation)) == {}
