"""Hooks that run on the host, run for real on a directory that stands for the target."""

from __future__ import annotations

from pathlib import Path

import pytest
from hooks import plain_sudo, run_hook

from diskimage_create.model import Source
from diskimage_create.settings import setting

pytestmark = pytest.mark.subprocess("runs hooks of elements")


@pytest.fixture
def sudo(tmp_path: Path) -> Path:
    """A sudo that just runs its command: nothing here needs to be root."""
    return plain_sudo(tmp_path)


def test_credentials_and_places_of_the_host_leave_the_manifests(tmp_path: Path, sudo: Path) -> None:
    target, saved = tmp_path / "target", tmp_path / "saved"
    kept = 'declare -x DIB_RELEASE="noble"\ndeclare -x DIB_APT_KEYRING="/k.gpg"\n'
    environment = (
        'declare -x DIB_ARGS="-o x --image-cache /home/me/cache vm"\n'
        'declare -x DIB_DISTRIBUTION_MIRROR="https://me:pw-canary@mirror.example/ubuntu"\n'
        'declare -x DIB_MY_TOKEN="token-canary"\n'
        'declare -x DIB_PYTHON_EXEC="/home/me/bin/python"\n' + kept
    )
    for place in (target / "etc/dib-manifests", saved):
        place.mkdir(parents=True)
        (place / "dib_environment").write_text(environment)
        (place / "dib_arguments").write_text("-o x --image-cache /home/me/cache vm\n")
    sources = target / "etc/apt/sources.list.d"
    sources.mkdir(parents=True)
    (sources / "default.list").write_text("deb https://me:pw-canary@mirror.example/ubuntu noble main\n")
    run_hook(
        "build-host/cleanup.d/12-redact-credentials", sudo, TARGET_ROOT=str(target), DIB_MANIFEST_SAVE_DIR=str(saved)
    )
    everything = "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    assert "canary" not in everything
    assert "/home/me" not in everything
    assert everything.count(kept) == 2
    assert (sources / "default.list").read_text() == "deb https://mirror.example/ubuntu noble main\n"


#: Names of variables that hold a secret, and of some that look alike; config has the same rule
SECRET = (
    *("DIB_PASSWORD_X", "DIB_MY_PASSWD", "DIB_PASSPHRASE", "DIB_LUKS_PASSPHRASE_2", "DIB_MY_SECRETS", "DIB_TOKEN"),
    *("DIB_CREDENTIALS", "DIB_API_KEY", "DIB_APIKEY", "DIB_AWS_ACCESS_KEY_ID", "DIB_PRIVATE_KEY", "DIB_PRIVATEKEY_2"),
    *(
        "DIB_X_PASS",
        "DIB_PASS",
        "DIB_PASS_X",
        "DIB_PWD",
        "DIB_MY_PWD_2",
        "DIB_AUTH",
        "DIB_REGISTRY_AUTH",
        "DIB_my_token",
    ),
    *("DIB_agent_pass", "DIB_Api_Key"),
)
NOT_SECRET = (
    *("DIB_APT_KEYRING", "DIB_ADD_APT_KEYS", "DIB_DEV_USER_AUTHORIZED_KEYS", "DIB_BYPASS", "DIB_COMPASS_X"),
    *("DIB_AUTHOR", "DIB_PASSIVE", "DIB_KEY", "DIB_KEYMAP", "DIB_RELEASE", "DIB_OFFLINE_X"),
)


def test_every_secret_variable_leaves_the_manifests_and_no_other_one(tmp_path: Path, sudo: Path) -> None:
    manifest = tmp_path / "target/etc/dib-manifests/dib_environment"
    manifest.parent.mkdir(parents=True)
    names = (*SECRET, *NOT_SECRET, "DIB_OFFLINE", "DIB_NO_TIMESTAMP")
    manifest.write_text("".join(f'declare -x {name}="x"\n' for name in names))
    run_hook("build-host/cleanup.d/12-redact-credentials", sudo, TARGET_ROOT=str(tmp_path / "target"))
    assert manifest.read_text() == "".join(f'declare -x {name}="x"\n' for name in NOT_SECRET)
    assert [name for name in names if setting(name, "x", Source.FLAG).secret] == list(SECRET)


@pytest.mark.parametrize("same", [True, False])
def test_only_the_hosts_own_name_servers_are_forgotten(tmp_path: Path, sudo: Path, same: bool) -> None:
    host = Path("/etc/resolv.conf")
    if not host.is_file():
        pytest.skip("this host has no resolv.conf")
    copy = tmp_path / "target/etc/resolv.conf"
    copy.parent.mkdir(parents=True)
    copy.write_text(host.read_text() if same else "nameserver 192.0.2.1\n")
    run_hook("build-host/root.d/99-forget-name-servers", sudo, TARGET_ROOT=str(tmp_path / "target"))
    assert copy.exists() is not same


def test_git_is_kept_out_of_the_target_unless_an_element_brings_a_repository(tmp_path: Path, sudo: Path) -> None:
    hooks, target = tmp_path / "hooks", tmp_path / "target"
    hooks.mkdir()
    mapped = target / "usr/share/pkg-map/source-repositories"
    mapped.parent.mkdir(parents=True)
    for name, expected in (("amphora-agent", True), ("somebody-elses", False)):
        (hooks / f"source-repository-{name}").touch()
        mapped.unlink(missing_ok=True)
        places = {"TMP_HOOKS_PATH": str(hooks), "TMP_MOUNT_PATH": str(target)}
        run_hook("amphora-agent/extra-data.d/15-no-git-in-target", sudo, **places)
        assert mapped.exists() is expected


def test_an_image_of_a_snapshot_is_updated_from_the_archives_themselves(tmp_path: Path, sudo: Path) -> None:
    target = tmp_path / "target"
    parts, lists = target / "etc/apt/sources.list.d", target / "var/lib/apt/lists"
    configuration = target / "etc/apt/apt.conf.d"
    for directory in (parts, lists / "partial", configuration):
        directory.mkdir(parents=True)
    (configuration / "99mmdebstrap").write_text('Acquire::Check-Valid-Until "false";\n')
    (configuration / "99own").write_text('Acquire::Retries "3";\n')
    (lists / "h_snap_InRelease").touch()
    # One address begins with the other, and a "&" means something to bash's replacements.
    (target / "etc/apt/sources.list").write_text(
        "deb http://h/1/debian noble main\ndeb http://h/1/debian-security noble main\n"
    )
    (parts / "own.list").write_text("# as it is\ndeb [arch=amd64] http://h/1/debian noble main\n")
    snapshot = {
        "TARGET_ROOT": str(target),
        "DISKIMAGE_CREATE_SNAPSHOT": "20260102T000000Z",
        "DISKIMAGE_CREATE_SNAPSHOT_SOURCES": "http://h/1/debian http://m/debian?a&b\nhttp://h/1/debian-security http://m/security",
    }
    run_hook("build-host/root.d/20-accept-old-archives", sudo, **snapshot)
    assert sorted(path.name for path in configuration.iterdir()) == ["90build-host-snapshot", "99own"]
    run_hook("build-host/cleanup.d/11-put-back-archives", sudo, **snapshot)
    assert [path.name for path in configuration.iterdir()] == ["99own"]
    assert (target / "etc/apt/sources.list").read_text() == (
        "deb http://m/debian?a&b noble main\ndeb http://m/security noble main\n"
    )
    assert (parts / "own.list").read_text() == "# as it is\ndeb [arch=amd64] http://m/debian?a&b noble main\n"
    assert [path.name for path in lists.iterdir()] == ["partial"]


def test_without_a_snapshot_nothing_is_put_back(tmp_path: Path, sudo: Path) -> None:
    for hook in ("root.d/20-accept-old-archives", "cleanup.d/11-put-back-archives"):
        run_hook(f"build-host/{hook}", sudo, TARGET_ROOT=str(tmp_path / "nothing-here"))


@pytest.mark.parametrize(
    ("tool", "place", "arguments"),
    [
        ("/usr/sbin/update-ca-certificates", "usr/local/share/ca-certificates", "update-ca-certificates"),
        ("/usr/bin/update-ca-trust", "etc/pki/ca-trust/source/anchors", "update-ca-trust extract"),
    ],
    ids=["debian", "redhat"],
)
def test_certificates_go_where_the_distribution_looks_for_them(
    tmp_path: Path, sudo: Path, tool: str, place: str, arguments: str
) -> None:
    """And its tool is run in the target, after they are there."""
    target, certificates = tmp_path / "target", tmp_path / "given"
    certificates.mkdir()
    for name in ("one", "two"):
        (certificates / f"{name}.crt").write_text(name)
    program = target / tool[1:]
    program.parent.mkdir(parents=True)
    program.write_text("")
    program.chmod(0o755)
    chroot = sudo / "chroot"
    chroot.write_text(f'#!/bin/sh\n[ -e "$1/{place}/two.crt" ] && echo "$*" >> "{tmp_path}/called"\n')
    chroot.chmod(0o755)
    hook = "custom-ca/post-root.d/50-trust-custom-ca"
    run_hook(hook, sudo, TMP_MOUNT_PATH=str(target))
    assert not (target / place).exists()
    run_hook(hook, sudo, TMP_MOUNT_PATH=str(target), DISKIMAGE_CREATE_CA_CERTIFICATES=str(certificates))
    assert sorted(path.name for path in (target / place).iterdir()) == ["one.crt", "two.crt"]
    assert [oct(path.stat().st_mode & 0o777) for path in (target / place).iterdir()] == ["0o644"] * 2
    assert (tmp_path / "called").read_text() == f"{target} {arguments}\n"
