"""Publishing to real directories, a full one among them, and to an S3 server; kills at random moments."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import publishable
from contract import schema_errors
from diskimage_create.errors import HostError, InputError, RemoteError
from diskimage_create.model import STEPS
from diskimage_create.publish import Options, Receipt, Status
from diskimage_create.publish.directory import local, parse
from diskimage_create.publish.source import Source
from diskimage_create.store import Store, sharing
from diskimage_create.store.reuse import Needs
from forking import ended, forked
from s3_server import S3, s3


def publish(source: Source, place: object, **more: Any) -> Receipt:
    destination, options = parse(str(place)), Options(**more)
    destination.require(source, options)
    return destination.publish(source, options)


def content(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()} if directory.exists() else {}


def assert_true(files: dict[str, bytes]) -> list[str]:
    """The index keeps its contract, and all that it names is there, as it says; the names of its images."""
    index = json.loads(files["index.json"])
    assert schema_errors(index, "index") == []
    for image in index["images"]:
        for file in image["files"]:
            found = files[file["name"]]
            assert (len(found), hashlib.sha256(found).hexdigest()) == (file["bytes"], file["sha256"]), file["name"]
    return [image["name"] for image in index["images"]]


def test_all_files_and_the_index(tmp_path: Path) -> None:
    source = publishable.read(tmp_path / "build")
    for name in ("amphora.qcow2.spdx.json", "amphora.qcow2.json.minisig", "amphora.log", "other.qcow2.json"):
        (tmp_path / "build" / name).write_text("{}")
    place = tmp_path / "images"
    receipt = publish(source, f"{place}/")
    files = content(place)
    assert assert_true(files) == ["amphora.qcow2"]
    assert set(files) == {
        *("amphora.qcow2", "amphora.qcow2.json", "amphora.qcow2.sha256", "index.json"),
        *("amphora.qcow2.spdx.json", "amphora.qcow2.json.minisig"),
    }
    assert receipt.reference == str(place / "amphora.qcow2")
    assert (receipt.status, receipt.digest) == (Status.PUBLISHED, f"sha256:{source.sha256}")
    (image,) = json.loads(files["index.json"])["images"]
    assert [file["name"] for file in image["files"]][::5] == ["amphora.qcow2"]
    assert image["files"][-1]["name"] == "amphora.qcow2.sha256"
    subprocess.run(["sha256sum", "--check", "--quiet", "amphora.qcow2.sha256"], cwd=place, check=True)


def test_nothing_is_written_twice(tmp_path: Path) -> None:
    source = publishable.read(tmp_path / "build")
    place = tmp_path / "images"
    publish(source, f"{place}/")
    before = {path.name: path.stat().st_mtime_ns for path in place.iterdir()}
    again = publish(source, place.as_uri())
    assert (again.status, again.bytes) == (Status.PRESENT, 0)
    assert {path.name: path.stat().st_mtime_ns for path in place.iterdir()} == before
    (tmp_path / "build/amphora.qcow2.cdx.json").write_text("{}")
    added = publish(source, f"{place}/")
    assert (added.status, added.bytes) == (Status.PUBLISHED, 2)
    assert assert_true(content(place)) == ["amphora.qcow2"]


def test_damage_is_repaired(tmp_path: Path) -> None:
    source = publishable.read(tmp_path / "build")
    place = tmp_path / "images"
    publish(source, f"{place}/")
    (place / "amphora.qcow2.json").write_bytes(b"x" * (place / "amphora.qcow2.json").stat().st_size)
    assert publish(source, f"{place}/").status is Status.PUBLISHED
    assert assert_true(content(place)) == ["amphora.qcow2"]


def test_another_image_of_the_name(tmp_path: Path) -> None:
    place = tmp_path / "images"
    publish(publishable.read(tmp_path / "a", 1), f"{place}/")
    before = content(place)
    other = publishable.read(tmp_path / "b", 2)
    with pytest.raises(RemoteError, match="another image") as raised:
        publish(other, f"{place}/")
    assert "--force" in (raised.value.hint or "")
    assert content(place) == before
    publish(other, f"{place}/", force=True)
    assert assert_true(content(place)) == ["amphora.qcow2"]
    assert content(place)["amphora.qcow2"] == other.path.read_bytes()


def test_older_ones_retire(tmp_path: Path) -> None:
    place = tmp_path / "images"
    publish(publishable.read(tmp_path / "o", 1, name="noble.qcow2", release="noble"), f"{place}/")
    (place / "a-stranger.iso").write_text("")
    (place / "a-stranger.iso.sha256").write_text("")
    for seed in range(4):
        publish(publishable.read(tmp_path / str(seed), seed, name=f"v{seed}.qcow2"), f"{place}/", keep_last=2)
    files = content(place)
    assert assert_true(files) == ["noble.qcow2", "v2.qcow2", "v3.qcow2"]
    assert {name.partition(".")[0] for name in files} == {"index", "noble", "v2", "v3", "a-stranger"}


def test_a_removal_that_was_killed_is_completed(tmp_path: Path) -> None:
    place = tmp_path / "images"
    for seed in range(2):
        publish(publishable.read(tmp_path / str(seed), seed, name=f"v{seed}.qcow2"), f"{place}/")
    index = json.loads((place / "index.json").read_text())
    index["images"] = [image for image in index["images"] if image["name"] != "v0.qcow2"]
    index["retiring"] = ["v0.qcow2"]
    (place / "index.json").write_text(json.dumps(index))
    (place / "v0.qcow2").unlink()
    publish(publishable.read(tmp_path / "2", 2, name="v2.qcow2"), f"{place}/")
    assert assert_true(content(place)) == ["v1.qcow2", "v2.qcow2"]
    assert not list(place.glob("v0*"))


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    place = tmp_path / "tiny"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("no tmpfs can be mounted here")
    yield place
    subprocess.run(["umount", place], check=True)


def test_somebody_who_hangs_keeps_others_waiting_for_so_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_PATIENCE_SECONDS", 0.5)
    place = tmp_path / "there"
    place.mkdir()
    source, said = publishable.read(tmp_path / "image"), list[str]()
    descriptor = os.open(place, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        with pytest.raises(RemoteError, match="has written nothing for"):
            publish(source, f"{place}/", say=said.append)
    finally:
        os.close(descriptor)
    assert "waiting for somebody else" in said[0]
    assert publish(source, f"{place}/").status is Status.PUBLISHED


def test_a_full_disk(tiny: Path, tmp_path: Path) -> None:
    publish(publishable.read(tmp_path / "a", 1, name="small.qcow2"), f"{tiny}/")
    before = content(tiny)
    with pytest.raises(RemoteError, match="No space left on device") as raised:
        publish(publishable.read(tmp_path / "b", 2, kilobytes=3000), f"{tiny}/")
    assert raised.value.exit_code == 6
    assert content(tiny) == before


def test_a_directory_has_the_name_of_a_file(tmp_path: Path) -> None:
    source = publishable.read(tmp_path / "build")
    in_the_way = tmp_path / "images" / f"{source.path.name}.json"
    in_the_way.mkdir(parents=True)
    with pytest.raises(RemoteError, match="directory"):
        publish(source, f"{tmp_path}/images/")
    assert list(in_the_way.parent.iterdir()) == [in_the_way]


@pytest.mark.parametrize("place", ["{tmp}/no/such/images/", "{tmp}/file/", "nowhere://bucket/images/"])
def test_no_such_place(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError):
        publish(publishable.read(tmp_path / "build"), place.format(tmp=tmp_path))


def test_a_password_in_a_url() -> None:
    with pytest.raises(InputError, match="password") as raised:
        parse("sftp://user:s3cret@example.com/images/")
    assert "s3cret" not in str(raised.value)


def test_a_library_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(HostError, match="gcsfs"):
        publish(publishable.read(tmp_path), "gs://bucket/images/")


def test_a_file_system_that_renames(tmp_path: Path) -> None:
    """fsspec's own in memory stands for those of other hosts: nothing of them appears by itself."""
    from fsspec import filesystem

    memory = filesystem("memory")
    try:
        for seed in range(3):
            source = publishable.read(tmp_path / str(seed), seed, name=f"v{seed}.qcow2")
            publish(source, "memory://images/amphora", keep_last=2)
        again = publish(source, "memory://images/amphora", keep_last=2)
        files = {name.rpartition("/")[2]: memory.cat_file(name) for name in memory.ls("/images/amphora", detail=False)}
    finally:
        memory.rm("/images", recursive=True)
    assert again.status is Status.PRESENT
    assert assert_true(files) == ["v1.qcow2", "v2.qcow2"]
    assert not [name for name in files if name.startswith(".")]


def campaign(work: Path, times: int, randomly: random.Random) -> None:
    """Kill publishers at random moments, and publish again."""
    source = publishable.read(work / "new", 9, kilobytes=8000, name="v9.qcow2")
    started = time.monotonic()
    publish(source, f"{work / 'measured'}/")
    usual = time.monotonic() - started
    for turn in range(times):
        place = work / f"images-{turn}"
        for seed in range(2):
            publish(publishable.read(work / str(seed), seed, name=f"v{seed}.qcow2"), f"{place}/")
        pid = forked(lambda place=place: publish(source, f"{place}/", keep_last=2))  # type: ignore[misc]
        time.sleep(randomly.uniform(0, usual))
        os.kill(pid, signal.SIGKILL)
        ended(pid)
        files = content(place)
        assert set(assert_true(files)) <= {"v0.qcow2", "v1.qcow2", "v9.qcow2"}
        assert files.get("v9.qcow2") in (None, source.path.read_bytes())
        publish(source, f"{place}/", keep_last=2)
        files = content(place)
        assert assert_true(files) == ["v1.qcow2", "v9.qcow2"]
        assert {name.partition(".")[0] for name in files} == {"index", "v1", "v9"}


def test_killed_at_random_moments(tmp_path: Path) -> None:
    campaign(tmp_path, 10, random.Random(8))


@pytest.mark.full
def test_fifty_kills(tmp_path: Path) -> None:
    campaign(tmp_path, 50, random.Random())


def test_several_publish_at_once(tmp_path: Path) -> None:
    place = tmp_path / "images"
    sources = [publishable.read(tmp_path / str(n), n % 3, name=f"v{n % 3}.qcow2") for n in range(6)]
    pids = [forked(lambda source=source: publish(source, f"{place}/")) for source in sources]  # type: ignore[misc]
    assert [ended(pid) for pid in pids] == [0] * 6
    assert assert_true(content(place)) == ["v0.qcow2", "v1.qcow2", "v2.qcow2"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    pytest.importorskip("s3fs", reason="s3fs is not installed")
    with s3(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def bucket(store: S3, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An empty bucket, as another client of S3 sees it."""
    boto3 = pytest.importorskip("boto3")
    for name, value in store.environment().items():
        monkeypatch.setenv(name, value)
    resource = boto3.resource("s3", endpoint_url=store.url)
    made = resource.create_bucket(Bucket="images")
    yield made
    made.objects.all().delete()
    made.delete()


def stored(bucket: Any) -> dict[str, bytes]:
    return {each.key.rpartition("/")[2]: each.get()["Body"].read() for each in bucket.objects.filter(Prefix="amphora/")}


def test_an_object_store(bucket: Any, tmp_path: Path) -> None:
    seen: list[int] = []
    for seed in range(3):
        source = publishable.read(tmp_path / str(seed), seed, name=f"v{seed}.qcow2", kilobytes=20_000)
        publish(source, "s3://images/amphora/", keep_last=2, progress=lambda what, done, total: seen.append(done))
    again = publish(source, "s3://images/amphora/", keep_last=2)
    assert (again.status, again.bytes, again.reference) == (Status.PRESENT, 0, "s3://images/amphora/v2.qcow2")
    assert seen[-1] == source.bytes > 16 << 20  # in several parts
    files = stored(bucket)
    assert assert_true(files) == ["v1.qcow2", "v2.qcow2"]
    assert files["v2.qcow2"] == source.path.read_bytes()
    assert {name.partition(".")[0] for name in files} == {"index", "v1", "v2"}
    with pytest.raises(RemoteError, match="another image"):
        publish(publishable.read(tmp_path / "x", 7, name="v2.qcow2"), "s3://images/amphora/")


def test_an_upload_that_fails_leaves_no_parts(bucket: Any, tmp_path: Path) -> None:
    source = publishable.read(tmp_path, 1, kilobytes=40_000)

    def stop(what: str, done: int, total: int) -> None:
        if done > 35 << 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        publish(source, "s3://images/amphora/", progress=stop)
    assert stored(bucket) == {}
    assert "Uploads" not in bucket.meta.client.list_multipart_uploads(Bucket="images")
    publish(source, "s3://images/amphora/")
    assert assert_true(stored(bucket)) == ["amphora.qcow2"]


def test_an_upload_that_fails_leaves_what_somebody_else_has_published_meanwhile(bucket: Any, tmp_path: Path) -> None:
    source = publishable.read(tmp_path, 1, kilobytes=20_000)
    over: list[Receipt] = []

    def overtake(what: str, done: int, total: int) -> None:
        if not over:
            over.append(publish(source, "s3://images/amphora/"))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        publish(source, "s3://images/amphora/", progress=overtake)
    assert over[0].status is Status.PUBLISHED
    assert assert_true(stored(bucket)) == ["amphora.qcow2"]


def test_stages_are_shared_through_a_store_and_no_bucket_is_made(bucket: Any, tmp_path: Path) -> None:
    here, there = Store(tmp_path / "here"), Store(tmp_path / "there")
    inputs = {step: {"x": step} for step in STEPS}
    needs = Needs("x", inputs, {}, STEPS, datetime.now(UTC), timedelta(hours=1))
    for store in (here, there):
        store.create()
    here.add("root", "x", inputs, {}, needs.asked, lambda made: (made / "a").write_text("content") and None)
    assert sharing.offer(here, "s3://images/amphora/.store", needs) == ["root"]
    entry = sharing.fetch(there, "s3://images/amphora/.store", needs)
    assert entry is not None
    assert (entry.path / "a").read_text() == "content"
    with pytest.raises((RemoteError, OSError)):
        sharing.offer(here, "s3://no-such-bucket/.store", needs)
    assert [each["Name"] for each in bucket.meta.client.list_buckets()["Buckets"]] == ["images"]


def test_an_object_that_no_index_tells_of_is_not_sent_again(bucket: Any, tmp_path: Path) -> None:
    source = publishable.read(tmp_path)
    bucket.upload_file(str(source.path), "amphora/amphora.qcow2")
    sent = publish(source, "s3://images/amphora/").bytes
    assert 0 < sent < source.bytes
    assert assert_true(stored(bucket)) == ["amphora.qcow2"]


def test_a_bucket_that_is_not_there(bucket: Any, tmp_path: Path) -> None:
    with pytest.raises(RemoteError, match="no-such-bucket"):
        publish(publishable.read(tmp_path), "s3://no-such-bucket/amphora/")


def test_nobody_answers(bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(RemoteError, match="connect"):
        publish(publishable.read(tmp_path), "s3://images/amphora/")


def test_many_publish_to_a_store_at_once(bucket: Any, tmp_path: Path) -> None:
    """Nobody can be kept out of it: whoever writes the index last makes it true."""
    script = "import sys; from pathlib import Path; from diskimage_create.publish import Options, source;"
    script += "from diskimage_create.publish.directory import parse;"
    script += "parse('s3://images/amphora/').publish(source.read(Path(sys.argv[1])), Options())"
    images = [publishable.image(tmp_path / str(n), n, name=f"v{n}.qcow2") for n in range(4)]
    running = [subprocess.Popen([sys.executable, "-c", script, image]) for image in images]
    assert [child.wait() for child in running] == [0] * 4
    assert assert_true(stored(bucket)) == [image.name for image in images]
