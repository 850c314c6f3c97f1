"""Copies between real registries, by skopeo."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from diskimage_create.errors import HostError, InputError
from diskimage_create.references import Reference
from diskimage_create.registries import Access, Credentials, Registries
from diskimage_create.registries.copying import Copied, Copy, Status, copy_all
from registry_faults import Fault, Proxy, proxy
from registry_servers import Server, certificate, digest, htpasswd, layer, registry
from token_server import token_server

pytestmark = pytest.mark.skipif(not shutil.which("skopeo"), reason="skopeo is not installed")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with registry(tmp_path_factory.mktemp("source")) as running:
        yield running


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Server]:
    with registry(tmp_path / "target") as running:
        yield running


@pytest.fixture
def counted(target: Server) -> Iterator[Proxy]:
    with proxy(target) as running:
        yield running


def random_layer(size: int = 1000) -> bytes:
    """One that no other run has brought anywhere."""
    return layer({"random": os.urandom(size)})


def copied(copies: Sequence[Copy], *hosts: str, jobs: int = 4, access: Access | None = None) -> list[Copied]:
    with Registries(access or Access(insecure=frozenset(hosts))) as registries:
        return copy_all(copies, registries, jobs)


def copy(source: Server | Proxy, target: Server | Proxy, name: str, all_architectures: bool = True) -> Copy:
    return Copy(Reference(source.host, name, "t"), Reference(target.host, f"copy/{name}", "new"), all_architectures)


def test_layers_that_images_share_travel_once(source, counted):
    everywhere, some = random_layer(5_000_000), random_layer(1_000_000)
    for number in range(8):
        layers = [everywhere, *([some] if number % 2 else []), random_layer()]
        source.push(f"shared/{number}", "t", layers)
    copies = [copy(source, counted, f"shared/{number}") for number in range(8)]
    results = copied(copies, source.host, counted.host, jobs=4)
    assert [result.status for result in results] == [Status.COPIED] * 8
    assert [result.copy for result in results] == copies
    for shared in (everywhere, some):
        assert counted.count(f"^PUT .*digest=sha256%3A{digest(shared).partition(':')[2]}") == 1
    # 8 layers and 8 configurations of their own, and the two that are shared
    assert counted.count("^PUT .*/blobs/uploads/") == 18


def test_digests_are_kept_and_what_is_there_is_not_copied_again(source, target, counted):
    wanted = source.push("again", "t", [random_layer()])
    (result,) = copied([copy(source, counted, "again")], source.host, counted.host)
    assert (result.status, result.digest, result.attempts) == (Status.COPIED, wanted, 1)
    assert target.digest("copy/again", "new") == wanted
    counted.asked.clear()
    (again,) = copied([copy(source, counted, "again")], source.host, counted.host)
    assert (again.status, again.digest, again.size, again.attempts) == (Status.PRESENT, wanted, result.size, 0)
    assert not counted.count("POST|PUT|PATCH|blobs")


def test_an_index_is_copied_whole_or_for_one_architecture(source, target):
    index = source.push_index("multi", "t", ["amd64", "arm64", "ppc64le", "s390x"])
    (whole,) = copied([copy(source, target, "multi")], source.host, target.host)
    assert whole.digest == target.digest("copy/multi", "new") == index
    one = Copy(Reference(source.host, "multi", "t"), Reference(target.host, "one", "t"), all_architectures=False)
    for status in (Status.COPIED, Status.PRESENT):
        (result,) = copied([one], source.host, target.host)
        assert result.status is status
        assert result.digest == target.digest("one", "t") != index
        assert 0 < result.size < whole.size


def test_an_index_without_this_machine_is_named(source, target):
    source.push_index("foreign", "t", ["mips64le"])
    (result,) = copied([copy(source, target, "foreign", all_architectures=False)], source.host, target.host)
    assert result.status is Status.FAILED
    assert "there is no image for" in result.why
    assert result.why.endswith("but for mips64le")


def test_one_that_fails_does_not_stop_the_others(source, target):
    source.push("good", "t", [random_layer()])
    results = copied([copy(source, target, "missing"), copy(source, target, "good")], source.host, target.host)
    assert [result.status for result in results] == [Status.FAILED, Status.COPIED]
    assert results[0].why == f"{source.host}/missing:t: the registry has no such image"


def test_the_same_copy_twice_is_made_once_and_two_images_of_one_name_are_refused(source, counted):
    source.push("first", "t", [random_layer()])
    wanted = copy(source, counted, "first")
    results = copied([wanted, wanted], source.host, counted.host)
    assert results[0] == results[1]
    assert counted.count("PUT .*/manifests/") == 1
    other = Copy(Reference(source.host, "second", "t"), wanted.destination)
    with pytest.raises(InputError, match=r"both .*/first:t and .*/second:t would become"):
        copied([wanted, other], source.host, counted.host)


def test_without_skopeo_nothing_is_copied(source, target, monkeypatch):
    source.push("unmoved", "t")
    monkeypatch.setattr("diskimage_create.process.which", lambda name: None)
    with pytest.raises(HostError, match="skopeo is not installed"):
        copied([copy(source, target, "unmoved")], source.host, target.host)


def runs(pid: int) -> bool:
    """Whether a process has not ended; one that nobody has waited for has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupt_stops_everything(source, target, counted, signum, tmp_path):
    source.push("slow", "t", [random_layer(3_000_000)])
    # The destination never answers the upload: skopeo would wait for ever.
    counted.faults.append(Fault("POST .*/blobs/uploads", "hang", times=-1))
    script = f"""
import sys
from diskimage_create.cli import stop_on_signals
from diskimage_create.errors import Interrupted
from diskimage_create.references import Reference
from diskimage_create.registries import Access, Registries
from diskimage_create.registries.copying import Copy, copy_all
stop_on_signals()
hosts = {source.host!r}, {counted.host!r}
copies = [Copy(Reference(hosts[0], "slow", "t"), Reference(hosts[1], f"copy/{{n}}", "t")) for n in range(3)]
try:
    with Registries(Access(insecure=frozenset(hosts))) as registries:
        copy_all(copies, registries, 3)
except Interrupted:
    sys.exit(130)
"""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environ = {**os.environ, "TMPDIR": str(temporary)}
    with subprocess.Popen([sys.executable, "-c", script], env=environ, start_new_session=True) as child:
        deadline = time.monotonic() + 60
        while not counted.count("POST .*/blobs/uploads") and time.monotonic() < deadline:
            time.sleep(0.05)
        assert counted.count("POST .*/blobs/uploads")
        children = Path(f"/proc/{child.pid}/task/{child.pid}/children")
        running = [int(pid) for task in children.parents[1].glob("*/children") for pid in task.read_text().split()]
        assert running
        child.send_signal(signum)
        assert child.wait(60) == (-signum if signum == signal.SIGKILL else 130)
    deadline = time.monotonic() + 60
    while any(runs(pid) for pid in running) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(runs(pid) for pid in running)
    assert list(temporary.iterdir()) == []
    assert target.digest("copy/0", "t") is None


def test_a_registry_with_tls_and_a_password(source, tmp_path):
    wanted = source.push("secret", "t", [random_layer()])
    tls = certificate(tmp_path / "tls")
    auth = htpasswd(tmp_path / "auth", "user", "pass word:1")
    with registry(tmp_path / "target", tls, auth, ("user", "pass word:1")) as target:
        wish = copy(source, target, "secret")
        trusting = Access({target.host: Credentials("user", "pass word:1")}, frozenset({source.host}), tls.ca)
        (result,) = copied([wish], access=trusting)
        assert (result.status, result.why) == (Status.COPIED, "")
        assert target.digest("copy/secret", "new") == wanted
        wrong = Access({target.host: Credentials("user", "guessed")}, frozenset({source.host}), tls.ca)
        (result,) = copied([wish], access=wrong)
        assert result.status is Status.FAILED
        assert "the registry wants other credentials" in result.why
        assert "guessed" not in result.why
        unknown = Access(trusting.credentials, frozenset({source.host}))
        (result,) = copied([wish], access=unknown)
        assert "certificate is not accepted" in result.why


def test_a_registry_that_wants_tokens(source, tmp_path):
    wanted = source.push("token", "t", [random_layer()])
    tls = certificate(tmp_path / "tls")
    with (
        token_server(tls, "user", "pass") as tokens,
        registry(tmp_path / "target", tls, tokens.settings, tokens.session_auth) as target,
    ):
        trusting = Access({target.host: Credentials("user", "pass")}, frozenset({source.host}), tls.ca)
        (result,) = copied([copy(source, target, "token")], access=trusting)
        assert (result.status, result.why) == (Status.COPIED, "")
        assert target.digest("copy/token", "new") == wanted
        with Registries(trusting) as registries:
            assert registries.digest(Reference(target.host, "copy/token", "new")) == wanted
        assert any("copy/token:pull" in scope for scope in tokens.scopes)


def test_the_hosts_policy_of_signatures_is_kept(source, counted, tmp_path, monkeypatch):
    source.push("unsigned", "t", [random_layer()])
    policy = tmp_path / "home/.config/containers/policy.json"
    policy.parent.mkdir(parents=True)
    policy.write_text('{"default": [{"type": "reject"}]}')
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (result,) = copied([copy(source, counted, "unsigned")], source.host, counted.host)
    assert (result.status, result.attempts) == (Status.FAILED, 1)
    assert "rejected by policy" in result.why
    assert not counted.count("POST|PUT|PATCH")


def test_what_is_there_by_its_digest_is_not_asked_for_again(source, target):
    made = source.push("pinned", "t", [random_layer()])
    wish = Copy(Reference(source.host, "pinned", "t", made), Reference(target.host, "pinned", "t"))
    (first,) = copied([wish], source.host, target.host)
    with proxy(source) as nobody:
        again = Copy(replace(wish.source, registry=nobody.host), wish.destination)
        (second,) = copied([again], nobody.host, target.host)
        assert not nobody.asked
    assert (first.status, second.status, second.digest) == (Status.COPIED, Status.PRESENT, made)


def test_what_goes_to_a_digest_gets_no_tag(source, target):
    found = source.push("untagged", "t", [random_layer()])
    here = Reference(source.host, "untagged", None, found)
    there = Reference(target.host, "copy/untagged", None, found)
    (first,) = copied([Copy(here, there)], source.host, target.host)
    assert (first.status, first.digest) == (Status.COPIED, found)
    assert target.digest("copy/untagged", found) == found
    with Registries(Access(insecure=frozenset({target.host}))) as registries:
        assert registries.tags(there) == []
    (again,) = copied([Copy(here, there)], source.host, target.host)
    assert again.status is Status.PRESENT
