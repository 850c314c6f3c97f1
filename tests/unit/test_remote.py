"""Remote inputs: real servers on loopback, real git repositories, real shells."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import samples
from server import Server, serving

from diskimage_create import elements, remote
from diskimage_create.elements import OURS, builtin
from diskimage_create.model import BuildPlan, RemoteInput, ResolvedElement
from diskimage_create.remote import downloads, effective, fetch
from diskimage_create.remote.fetch import Unanswered

pytestmark = pytest.mark.subprocess("bash sources environment.d; git")

SECRET = "pw-canary"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def no_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bundle of this host's CA certificates is none of these tests' business."""
    for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as state:
        yield state


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def element(directory: Path, name: str, files: Mapping[str, str]) -> ResolvedElement:
    """An element with these files; hooks can be executed."""
    for relative, text in files.items():
        path = directory / name / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755 if ".d/" in relative else 0o644)
    found = elements.files(directory / name)
    return ResolvedElement(name, directory / name, elements.digest(found), found)


def environment(plan: BuildPlan, **more: str) -> dict[str, str]:
    """The plan's; where the test names no server, none is asked."""
    nowhere = ("DIB_DISTRIBUTION_MIRROR", "DIB_DEBIAN_SECURITY_MIRROR", "DIB_REPOLOCATION_upper_constraints")
    return {**dict.fromkeys(nowhere, "file:///nowhere"), **samples.values(plan.environment), **more}


def resolved(
    plan: BuildPlan, cache: Path, extra: tuple[ResolvedElement, ...] = (), **variables: str
) -> dict[str, RemoteInput]:
    found = remote.resolve(environment(plan, **variables), [*plan.resolved, *extra], plan.spec, cache)
    by_name = {entry.name: entry for entry in found}
    assert len(by_name) == len(found), "names are unique"
    return by_name


# fetch


def test_a_file_that_did_not_change_is_not_sent_again(server: Server, tmp_path: Path) -> None:
    server.files["/InRelease"] = b"first"
    url = server.url("/InRelease")
    assert [fetch.digest(url, {}, tmp_path) for _ in range(3)] == [digest_of(b"first")] * 3
    assert server.statuses() == [200, 304, 304]
    server.files["/InRelease"] = b"second"
    assert fetch.digest(url, {}, tmp_path) == digest_of(b"second")


def test_a_server_without_validators_is_asked_for_all(server: Server, tmp_path: Path) -> None:
    server.validators = False
    server.files["/InRelease"] = b"first"
    assert {fetch.digest(server.url("/InRelease"), {}, tmp_path) for _ in range(2)} == {digest_of(b"first")}
    assert server.statuses() == [200, 200]


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b"\xff\xfe", b'{"schema": 1, "etag": 3}', b'{"schema": 1, "digest": "x\\ny"}']
)
def test_a_damaged_memory_is_forgotten(server: Server, tmp_path: Path, damage: bytes) -> None:
    server.files["/InRelease"] = b"content"
    url = server.url("/InRelease")
    fetch.digest(url, {}, tmp_path)
    (memory,) = (tmp_path / "remote").iterdir()
    memory.write_bytes(damage)
    assert fetch.digest(url, {}, tmp_path) == digest_of(b"content")
    assert server.statuses() == [200, 200]
    assert fetch.digest(url, {}, tmp_path) == digest_of(b"content")
    assert server.statuses() == [200, 200, 304]


def test_a_cache_that_cannot_be_written_only_costs_time(server: Server, tmp_path: Path) -> None:
    server.files["/InRelease"] = b"content"
    (tmp_path / "file").touch()
    assert fetch.digest(server.url("/InRelease"), {}, tmp_path / "file") == digest_of(b"content")


@pytest.mark.parametrize("user", [f"me:{SECRET}", SECRET])
def test_credentials_are_used_and_kept_nowhere(server: Server, tmp_path: Path, user: str) -> None:
    server.password = user if ":" in user else f"{user}:"
    server.files["/InRelease"] = b"content"
    assert fetch.digest(server.url("/InRelease", f"{user}@"), {}, tmp_path) == digest_of(b"content")
    for path in (tmp_path / "remote").iterdir():
        assert SECRET not in path.name + path.read_text()
        assert "127.0.0.1" not in path.read_text()
    with pytest.raises(Unanswered, match="status 401") as refused:
        fetch.digest(server.url("/InRelease", f"me:{SECRET}x@"), {}, tmp_path / "other")
    assert SECRET not in str(refused.value)


def test_a_large_file_is_known_by_its_validators(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "_SMALL", 10)
    found = set()
    for content in (b"a" * 100, b"b" * 100):
        server.files["/image.tgz"] = content
        found |= {fetch.digest(server.url("/image.tgz"), {}, tmp_path) for _ in range(2)}
    assert len(found) == 2
    assert server.statuses() == [200, 200, 304, 304]
    server.validators = False
    server.files["/image.tgz"] = b"c" * 100
    with pytest.raises(Unanswered, match="large"):
        fetch.digest(server.url("/image.tgz"), {}, tmp_path)


def test_the_proxy_of_the_build_is_asked(server: Server, tmp_path: Path) -> None:
    server.files["http://mirror.invalid/InRelease"] = b"from the proxy"
    proxy = {"http_proxy": server.url("")}
    assert fetch.digest("http://mirror.invalid/InRelease", proxy, tmp_path) == digest_of(b"from the proxy")
    for exempt in ("invalid", ".invalid", "elsewhere,mirror.invalid", "*"):
        with pytest.raises(Unanswered):
            fetch.digest("http://mirror.invalid/InRelease", {**proxy, "no_proxy": exempt}, tmp_path)


def test_files_of_this_host(tmp_path: Path) -> None:
    path = tmp_path / "with blank"
    path.write_text("content")
    assert fetch.digest(path.as_uri(), {}, tmp_path) == digest_of(b"content")
    with pytest.raises(fetch.Missing):
        fetch.digest(f"{path.as_uri()}2", {}, tmp_path)


@pytest.mark.parametrize(
    "url", ["ftp://h.invalid/x", "mirror+http://h.invalid/x", "x", "http://[", "http://h.invalid:x/"]
)
def test_what_cannot_be_asked(url: str, tmp_path: Path) -> None:
    with pytest.raises(Unanswered):
        fetch.digest(url, {}, tmp_path)


# the effective environment


def test_environment_files_are_sourced_in_the_order_of_their_names(tmp_path: Path) -> None:
    plan = samples.plan({"os": "debian"})
    elements = [
        element(tmp_path, "b", {"environment.d/10-x": "export SEEN=${SEEN:-}1", "environment.d/no!": "exit 1"}),
        element(
            tmp_path, "a", {"environment.d/2-x": "export SEEN=${SEEN:-}3", "environment.d/1z": "export SEEN=${SEEN:-}2"}
        ),
    ]
    for order in (elements, elements[::-1]):
        assert effective.read({}, order, plan.spec).variables["SEEN"] == "123"


def test_what_environment_files_say_is_not_taken_for_variables(tmp_path: Path) -> None:
    plan = samples.plan({"os": "debian"})
    noisy = element(
        tmp_path, "noisy", {"environment.d/10-x": 'echo FAKE=1\nexport REAL=$(printf "two\\nlines")\nset -x'}
    )
    found = effective.read({"GIVEN": "value"}, [noisy], plan.spec).variables
    assert (found["REAL"], found["GIVEN"], found["ARCH"]) == ("two\nlines", "value", plan.spec.arch)
    assert "FAKE" not in found


def test_nothing_of_our_own_environment_is_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEAK", "1")
    plan = samples.plan({"os": "debian"})
    assert "LEAK" not in effective.read(environment(plan), plan.resolved, plan.spec).variables


@pytest.mark.parametrize("text", ["false", "exit 0", "echo $UNSET", "if"])
def test_a_failing_environment_is_an_unknown_one(tmp_path: Path, text: str) -> None:
    plan = samples.plan({"os": "debian"})
    broken = element(tmp_path, "broken", {"environment.d/99-broken": text})
    (entry,) = resolved(plan, tmp_path, (broken,)).values()
    assert entry.value is None
    assert "environment.d" in entry.detail


@pytest.mark.parametrize("os_name", ["ubuntu", "debian", "centos", "fedora", "rocky"])
def test_it_is_what_diskimage_builder_makes_of_it(os_name: str, tmp_path: Path) -> None:
    """The same environment through diskimage-builder's own dib-run-parts, to a hook that prints it."""
    plan = samples.plan({"os": os_name, "enforce_mac": True, "cpu_pinning": True})
    hooks, printed = tmp_path / "hooks", tmp_path / "printed"
    for path in ("environment.d", "test.d"):
        (hooks / path).mkdir(parents=True)
    for entry in plan.resolved:
        for path in (entry.path / "environment.d").glob("*"):
            shutil.copy(path, hooks / "environment.d")
    (hooks / "test.d/10-print").write_text(f"#!/bin/bash\nenv --null > {printed}\n")
    (hooks / "test.d/10-print").chmod(0o755)
    before = effective.before_hooks(environment(plan), plan.spec, tmp_path)
    command = [builtin().parent / "lib/dib-run-parts", hooks / "test.d"]
    subprocess.run(command, env=before, check=True, capture_output=True)
    found = dict(line.split("=", 1) for line in printed.read_text().split("\0") if line)
    ours = effective.read(environment(plan), plan.resolved, plan.spec).variables
    # What a shell counts, and where either worked
    other = {"_", "OLDPWD", "PWD", "SHLVL", *(name for name, value in found.items() if str(tmp_path) in value)}
    assert {name: found[name] for name in found.keys() - other} == {name: ours[name] for name in ours.keys() - other}


@pytest.mark.parametrize("os_name", ["ubuntu", "debian", "centos", "fedora", "rocky"])
def test_the_environments_of_all_distributions_can_be_known(os_name: str) -> None:
    plan = samples.plan({"os": os_name})
    found = effective.read(environment(plan), plan.resolved, plan.spec)
    assert found.problem is None
    assert found.variables["DIB_RELEASE"] == plan.spec.release
    assert found.variables["DISTRO_NAME"]


# apt archives


def debian(server: Server, **options: str) -> BuildPlan:
    for suite in ("bookworm", "bookworm-updates"):
        server.files[f"/debian/dists/{suite}/InRelease"] = suite.encode()
    server.files["/security/dists/bookworm-security/Release"] = b"security"
    return samples.plan(
        {"os": "debian", "release": "bookworm", **options},
        {
            "DIB_DISTRIBUTION_MIRROR": server.url("/debian", f"me:{SECRET}@"),
            "DIB_DEBIAN_SECURITY_MIRROR": server.url("/security/"),
        },
    )


def test_every_suite_of_debian_is_an_input_of_the_first_stage(server: Server, tmp_path: Path) -> None:
    found = resolved(debian(server), tmp_path)
    assert {name: entry.value for name, entry in found.items()} == {
        "apt bookworm": digest_of(b"bookworm"),
        "apt bookworm-updates": digest_of(b"bookworm-updates"),
        "apt bookworm-security": digest_of(b"security"),
    }
    assert {entry.phase for entry in found.values()} == {"root"}
    server.asked.clear()
    assert resolved(debian(server), tmp_path) == found
    assert [status for path, status in server.asked if path.endswith("InRelease")].count(304) == 2


def test_a_suite_that_is_not_answered_for_is_unknown(server: Server, tmp_path: Path) -> None:
    plan = debian(server)
    server.broken["/debian/dists/bookworm/InRelease"] = 503
    del server.files["/security/dists/bookworm-security/Release"]
    found = resolved(plan, tmp_path)
    assert found["apt bookworm"].value is None
    assert "status 503" in found["apt bookworm"].detail
    assert found["apt bookworm-security"].value is None
    assert "status 404" in found["apt bookworm-security"].detail
    assert found["apt bookworm-updates"].value


def test_a_server_that_is_slow_holds_nobody_up_for_long(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "_READ", 0.5)
    server.slow.add("/debian/dists/bookworm/InRelease")
    found = resolved(debian(server), tmp_path)
    assert found["apt bookworm"].value is None
    assert "in time" in found["apt bookworm"].detail
    assert found["apt bookworm-updates"].value


def test_archives_that_the_user_adds(server: Server, tmp_path: Path) -> None:
    plan = debian(server)
    server.files |= {"/own/dists/bookworm/InRelease": b"own", "/flat/Release": b"flat"}
    sources = "\n".join(
        [
            f"default:deb {server.url('/debian')} bookworm main",
            f"own:deb [trusted=yes arch=amd64] {server.url('/own')} bookworm main",
            f"flat:deb {server.url('/flat')} ./",
            f"source:deb-src {server.url('/flat')} bookworm main",
            "other:deb cdrom://disc bookworm main",
        ]
    )
    found = resolved(plan, tmp_path, DIB_APT_SOURCES_CONF=sources)
    values = [entry.value for name, entry in found.items() if name.startswith("apt bookworm")]
    assert sorted(map(str, values)) == sorted(
        [digest_of(b"bookworm"), digest_of(b"bookworm"), digest_of(b"own"), "None"]
    )
    assert found["apt flat archive"].value == digest_of(b"flat")


def test_ubuntu_has_its_pockets_and_the_users_sources(server: Server, tmp_path: Path) -> None:
    for suite in ("noble", "noble-updates", "noble-security"):
        server.files[f"/ubuntu/dists/{suite}/InRelease"] = suite.encode()
    server.files["/own/dists/stable/InRelease"] = b"own"
    (tmp_path / "sources.list").write_text(f"# mine\ndeb {server.url('/own')} stable main\n")
    plan = samples.plan(
        {"os": "ubuntu", "element": ("apt-sources",)},
        {
            "DIB_DISTRIBUTION_MIRROR": server.url("/ubuntu"),
            "DIB_UBUNTU_MIRROR_DISTS": "updates,security",
            "DIB_APT_SOURCES": str(tmp_path / "sources.list"),
        },
    )
    found = resolved(plan, tmp_path)
    assert {name: entry.phase for name, entry in found.items()} == {
        "apt noble": "root",
        "apt noble-updates": "root",
        "apt noble-security": "root",
        "apt stable": "pre-install",
    }
    assert all(entry.value for entry in found.values())


@pytest.mark.parametrize("os_name", ["centos", "fedora", "rocky"])
def test_packages_of_the_redhat_family_are_declared_unknown(os_name: str, tmp_path: Path) -> None:
    found = resolved(samples.plan({"os": os_name}), tmp_path)
    assert {entry.value for entry in found.values()} == {None}
    assert any(name.startswith("packages of ") and entry.phase == "root" for name, entry in found.items())


# source repositories


def git(directory: Path, *arguments: str) -> str:
    command = [
        "git",
        "-c",
        "user.name=n",
        "-c",
        "user.email=e@localhost",
        "-c",
        "init.defaultBranch=master",
        *arguments,
    ]
    environ = {"PATH": os.environ["PATH"], "HOME": str(directory), "GIT_CONFIG_NOSYSTEM": "1"}
    return subprocess.run(
        command, cwd=directory, env=environ, capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A branch master, a branch stable/x that is older, and tags on it, one with a message."""
    path = tmp_path / "repository"
    path.mkdir()
    git(path, "init", "--quiet")
    git(path, "commit", "--quiet", "--allow-empty", "-m", "one")
    git(path, "branch", "stable/x")
    git(path, "tag", "-a", "1.0", "-m", "one")
    git(path, "tag", "light")
    git(path, "branch", "master-of-none")
    git(path, "commit", "--quiet", "--allow-empty", "-m", "two")
    return path


@pytest.mark.parametrize(
    ("ref", "means"),
    [
        (None, "master"),
        ("stable/x", "stable/x"),
        ("1.0", "1.0^{commit}"),
        ("refs/heads/stable/x", "stable/x"),
        ("*", "HEAD"),
    ],
)
@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_repository_is_known_by_its_commit(
    repository: Path, tmp_path: Path, ref: str | None, means: str, scheme: str
) -> None:
    plan = samples.plan({"os": "debian"})
    named = {"DIB_REPOREF_amphora_agent": ref} if ref else {}
    location = f"{scheme}{repository}"
    found = resolved(plan, tmp_path, DIB_REPOLOCATION_amphora_agent=location, **named)["git amphora-agent"]
    assert found.value == git(repository, "rev-parse", means)
    assert found.phase == "pre-install"


def test_a_commit_is_its_own_value(tmp_path: Path) -> None:
    found = resolved(samples.plan({"os": "debian"}), tmp_path, DIB_REPOREF_amphora_agent=COMMIT)
    assert found["git amphora-agent"].value == COMMIT


@pytest.mark.parametrize(
    "variables",
    [
        {"DIB_REPOREF_amphora_agent": "no-such-branch"},
        {"DIB_REPOLOCATION_amphora_agent": "/no/such/directory"},
        {"DIB_REPOLOCATION_amphora_agent": "--upload-pack=touch /tmp/x"},
        {"DIB_REPOTYPE_amphora_agent": "svn"},
    ],
)
def test_a_repository_that_does_not_answer_is_unknown(
    repository: Path, tmp_path: Path, variables: dict[str, str]
) -> None:
    given = {"DIB_REPOLOCATION_amphora_agent": str(repository), "DIB_REPOREF_amphora_agent": "master", **variables}
    found = resolved(samples.plan({"os": "debian"}), tmp_path, **given)
    (entry,) = (entry for name, entry in found.items() if name.endswith(" amphora-agent"))
    assert entry.value is None


def test_only_what_a_build_fetches_is_asked(server: Server, tmp_path: Path) -> None:
    server.files["/constraints.txt"] = b"pinned"
    plan = samples.plan({"os": "debian"}, {"DIB_REPOLOCATION_upper_constraints": server.url("/constraints.txt")})
    names = resolved(plan, tmp_path).keys()
    assert not {name for name in names if name.startswith(("git ", "file "))}
    found = resolved(plan, tmp_path, DIB_REPOREF_amphora_agent=COMMIT)
    assert found["file upper-constraints"].value == digest_of(b"pinned")
    assert not {name for name in found if "octavia-lib" in name}
    assert "git amphora-agent" not in resolved(
        plan, tmp_path, DIB_REPOREF_amphora_agent=COMMIT, NO_SOURCE_REPOSITORIES="1"
    )


def test_lines_are_read_as_diskimage_builder_reads_them(server: Server, repository: Path, tmp_path: Path) -> None:
    server.files["/x-1.tgz"] = b"tarball"
    lines = f"""
        # a comment

        my-tar   tar /opt/my-tar {server.url("/x-$VERSION.tgz")} .
        my-git git /opt/my-git https://git.invalid/~user/repository "$(echo stable/x)"
        what is this
    """
    own = element(
        tmp_path,
        "own",
        {"source-repository-own": lines, "source-repository-old~": "broken", "environment.d/1v": "export VERSION=1"},
    )
    plan = samples.plan({"os": "debian"})
    found = resolved(plan, tmp_path, (own,), DIB_GITREPOBASE=str(tmp_path))
    assert found["tar my-tar"].value == digest_of(b"tarball")
    assert found["git my-git"].value == git(repository, "rev-parse", "stable/x")
    assert found["source-repository own"].value is None


def test_it_is_the_commit_that_diskimage_builder_fetches(repository: Path, tmp_path: Path) -> None:
    """Its own hook, with the same variables, on a directory that stands for the target."""
    (tmp_path / "two-repositories.git").symlink_to(repository)
    lines = f"""
        plain git /opt/plain {repository}
        tagged git /opt/tagged {repository} light
        a.branch git /opt/branch file://{repository} stable/x
        head git /opt/head {repository} *
        moved git /opt/moved https://git.invalid/two-repositories.git
        named git /opt/named https://git.invalid/elsewhere no-such-ref
        left-out git /opt/left-out https://git.invalid/elsewhere
    """
    given = {
        "DIB_GITREPOBASE": f"{tmp_path}/",
        "DIB_INSTALLTYPE_left_out": "package",
        "DIB_REPOLOCATION_named": str(repository),
        "DIB_REPOREF_named": "stable/x",
    }
    own = element(tmp_path / "elements", "own", {"source-repository-own": lines})
    plan = samples.plan({"os": "debian"})
    found = resolved(plan, tmp_path / "cache", (own,), **given)
    ours = {name.removeprefix("git "): entry.value for name, entry in found.items() if name.startswith("git ")}

    work, sudo = tmp_path / "dib_build.1", tmp_path / "bin/sudo"
    target = work / "mnt"
    for directory in (target / "etc/manifests", sudo.parent, work / "hooks"):
        directory.mkdir(parents=True)
    sudo.write_text('#!/bin/sh\nexec "$@"\n')
    sudo.chmod(0o755)
    shutil.copy(own.path / "source-repository-own", work / "hooks")
    variables = effective.before_hooks(given, plan.spec, work) | {
        "PATH": f"{sudo.parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "DIB_IMAGE_CACHE": str(tmp_path / "cache"),
        "DIB_MANIFEST_IMAGE_DIR": "etc/manifests",
    }
    hook = builtin() / "source-repositories/extra-data.d/98-source-repositories"
    done = subprocess.run([hook], env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (manifest,) = (target / "etc/manifests").iterdir()
    theirs = {line.split()[0]: line.split()[-1] for line in manifest.read_text().splitlines()}
    assert ours == theirs
    assert theirs.keys() == {"plain", "tagged", "a.branch", "head", "moved", "named"}


# hooks that download by themselves


@pytest.mark.parametrize("os_name", ["ubuntu", "debian"])
@pytest.mark.parametrize("branch", [None, COMMIT])
def test_the_amphora_downloads_nothing_unknown(os_name: str, branch: str | None) -> None:
    plan = samples.plan({"os": os_name, **({"git_branch": branch} if branch else {})})
    found = effective.read(environment(plan), plan.resolved, plan.spec)
    assert downloads.find(found.variables, plan.resolved) == []


def test_another_element_of_a_known_name_is_not_known(tmp_path: Path) -> None:
    hook = "install.d/amphora-agent-source-install/75-amphora-agent"
    own = element(tmp_path, "amphora-agent", {hook: (OURS / "amphora-agent" / hook).read_text() + "# changed\n"})
    types = ResolvedElement("install-types", tmp_path, "")
    found = downloads.find({}, [own, types])
    assert [(download.hook, download.phase) for download in found] == [(hook, "install")]
    assert downloads.find({"DIB_INSTALLTYPE_amphora_agent": "pypi"}, [own, types]) == []
    assert downloads.find({"DIB_DEFAULT_INSTALLTYPE": "package"}, [own, types]) == []
    assert downloads.find({}, [own]) == []


def test_the_same_hook_in_a_copy_of_the_element_is_known(tmp_path: Path) -> None:
    hook = "install.d/amphora-agent-source-install/75-amphora-agent"
    copy = element(tmp_path, "amphora-agent", {hook: (OURS / "amphora-agent" / hook).read_text()})
    assert downloads.find({}, [copy, ResolvedElement("install-types", tmp_path, "")]) == []


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("curl -O https://x", "curl"),
        ("sudo /usr/bin/wget https://x", "wget"),
        ("x=$(curl https://x)", "curl"),
        ('"$venv/bin/pip" install thing', "pip install"),
        ("python3 -m pip --quiet install \\\n  thing", "pip install"),
        ("uv pip install --python x thing", "pip install"),
        ('"$uv" pip install --require-hashes --requirements lock', None),
        ("pip install --no-index ./thing", None),
        ("git -C /x clone https://x", "git clone"),
        ("git -c http.extraHeader='Authorization: pw-canary' clone https://x", "git clone"),
        ("git rev-parse HEAD", None),
        ("# curl https://x", None),
        ("true # then curl it", None),
        ("echo ${#curl}", None),
        ("apt-get install -y curl wget git", None),
        ("apt-get install -y curl && curl https://x", "curl"),
        ("cache-url https://x y", "cache-url"),
        ("podman --log-level error pull image", "podman pull"),
        ("npm ci", "npm"),
        ("${_sudo} ${THE_RUNTIME} build -f x .", "${THE_RUNTIME} build"),
        ("rm -f curl.log /etc/curl.conf", None),
        ("export CURL_CA_BUNDLE=x curl_opts=y", None),
        ("urllib.request.urlopen(url)", "urlopen"),
        ("echo deb x > /etc/apt/sources.list.d/x.list", "/etc/apt/sources.list"),
    ],
)
def test_commands_that_download(text: str, command: str | None) -> None:
    assert downloads.unpinned_command(f"#!/bin/bash\n{text}\n".encode()) == command


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("fetch-it https://x", "an address"),
        ("ADDRESS=ftp://x/y", "an address"),
        ("python3 -c 'get(\"http://x\")'", "an address"),
        ("install-from \\\n  https://x", "an address"),
        ("curl $ADDRESS", "curl"),
        ("apt-get install -y https://x/y.deb", "an address"),
        ("pip install --require-hashes --index-url https://x -r lock", None),
        ("# see https://x", None),
        ("true  # see https://x", None),
        ("echo ${#x} a//b c:d", None),
        ("apt-get install -y curl", None),
    ],
)
def test_any_address_counts_in_the_hooks_of_others(text: str, command: str | None) -> None:
    assert downloads.unpinned_command(f"#!/bin/bash\n{text}\n".encode(), strict=True) == command


def test_an_address_alone_counts_in_elements_that_are_of_no_library(tmp_path: Path) -> None:
    own = element(tmp_path, "own", {"install.d/10-x": "fetch-it https://x"})
    (download,) = downloads.find({}, [own])
    assert (download.hook, download.phase, download.command) == ("install.d/10-x", "install", "an address")
    assert downloads.unpinned_command(b"fetch-it https://x") is None  # as the libraries' are read


def test_hooks_that_download_are_named_with_their_phase(tmp_path: Path) -> None:
    own = element(
        tmp_path,
        "own",
        {
            "root.d/10-x": "curl x",
            "install.d/20-x": "wget x",
            "finalise.d/30-x": "npm install",
            "install.d/not.a.hook": "curl x",
            "static/usr/bin/x": "curl x",
            "bin/get-it.sh": "curl x",
        },
    )
    (tmp_path / "own/install.d/21-binary").write_bytes(b"\x7fELF\0")
    (tmp_path / "own/install.d/21-binary").chmod(0o755)
    (tmp_path / "own/install.d/22-no-mode").write_text("curl x")
    found = resolved(samples.plan({"os": "centos"}), tmp_path, (own,))
    prefix = "downloads of element own: "
    assert {name.removeprefix(prefix): entry.phase for name, entry in found.items() if name.startswith(prefix)} == {
        "root.d/10-x": "root",
        "bin/get-it.sh": "root",
        "install.d/20-x": "install",
        "install.d/21-binary": "install",
        "finalise.d/30-x": "image",
    }


# all of them


def test_the_order_of_elements_means_nothing(server: Server, tmp_path: Path) -> None:
    plan = debian(server)
    extra = [
        element(
            tmp_path,
            name,
            {"root.d/10-x": "curl x", f"source-repository-{name}": f"same file /x {server.url('/' + name)}"},
        )
        for name in "abc"
    ]
    elements = [*plan.resolved, *extra]
    found = set()
    for seed in range(5):
        random.Random(seed).shuffle(elements)
        found.add(remote.resolve(environment(plan), elements, plan.spec, tmp_path))
    assert len(found) == 1


def test_no_credentials_and_no_address_anywhere(server: Server, tmp_path: Path) -> None:
    server.broken["/debian/dists/bookworm-updates/InRelease"] = 500
    plan = debian(server)
    secret = f"https://me:{SECRET}@git.invalid/x"
    own = element(
        tmp_path,
        "own",
        {"source-repository-own": f"mine git /x {secret}\nfile file /y {secret}\nworse zip /z {secret}\n"},
    )
    cache = tmp_path / "cache"
    found = remote.resolve(environment(plan), [*plan.resolved, own], plan.spec, cache)
    kept = "".join(path.name + path.read_text() for path in (cache / "remote").iterdir())
    for text in (repr(found), kept):
        assert SECRET not in text
        assert "127.0.0.1" not in text
        assert "git.invalid" not in text
