"""Copies of the whole table of a TripleO deployment: 95 images, from one registry on loopback to another.

    python bench/copy_images.py [--rounds N] [--images N] [--jobs N]

Each image has a layer of its own (1 MB), and all share one (50 MB). Each round copies them with ``skopeo sync`` and
with ours, to a new registry each, the first one by turns; what skopeo remembers of layers is forgotten in between.

Goals: ours at most 1.2 of skopeo's time; the shared layer travels once; with nothing to do at most 0.1 of the first
time.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common import table, timed

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from registry_servers import Server, digest, layer, registry

SHARED, OWN = 50_000_000, 1_000_000
COPIES = Path(__file__).with_name("copies.py")
#: What skopeo remembers of layers, when root runs it: the benchmark has one of its own in its mount namespace
CACHE = Path("/var/lib/containers/cache")
PRIVATE = "DISKIMAGE_CREATE_BENCH_PRIVATE"


def main() -> None:
    """Measure, and print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=95)
    parser.add_argument("--jobs", type=int, default=4)
    arguments = parser.parse_args()
    private_cache()
    with tempfile.TemporaryDirectory(prefix="bench-copy-") as work, registry(Path(work, "source")) as source:
        shared = fill(source, arguments.images)
        rounds = []
        for number in range(arguments.rounds):
            rounds.append(one_round(Path(work), source, shared, arguments, ours_first=number % 2 == 1))
            print(rounds[-1], file=sys.stderr)
    report(rounds)


def private_cache() -> None:
    """Start anew where nobody else's copies are remembered, and ours are forgotten at the end."""
    if os.geteuid() != 0 or PRIVATE in os.environ:
        return
    CACHE.mkdir(parents=True, exist_ok=True)
    script = f'mount -t tmpfs bench {CACHE} && exec "$@"'
    os.environ[PRIVATE] = "1"
    os.execvp("unshare", ["unshare", "--mount", "sh", "-c", script, "sh", sys.executable, *sys.argv])


def forget() -> None:
    """Remove what skopeo remembers of layers."""
    home = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share", "containers/cache")
    for cache in (CACHE if os.geteuid() == 0 else home).glob("blob-info-cache-*"):
        cache.unlink()


def fill(source: Server, images: int) -> str:
    """Make the images; the digest of the layer that all have."""
    shared = layer({"shared": os.urandom(SHARED)})
    for number in range(images):
        source.push(f"tripleo/image-{number}", "t", [shared, layer({"own": os.urandom(OWN)})])
    return digest(shared)


@contextmanager
def destination(work: Path) -> Iterator[Server]:
    """A new registry."""
    forget()
    place = work / "destination"
    with registry(place) as server:
        yield server
    shutil.rmtree(place)


def one_round(
    work: Path, source: Server, shared: str, arguments: argparse.Namespace, ours_first: bool
) -> dict[str, float]:
    """Seconds of each case, and how often the shared layer was sent."""
    found: dict[str, float] = {}
    for case in ("ours", "skopeo sync") if ours_first else ("skopeo sync", "ours"):
        with destination(work) as server:
            if case == "ours":
                numbers = (str(arguments.images), str(arguments.jobs))
                command = [sys.executable, str(COPIES), source.host, server.host, *numbers]
                found["ours"] = timed(command).seconds
                found["sent"] = sent(server, shared)
                found["nothing to do"] = timed(command).seconds
            else:
                found["skopeo sync"] = timed(sync(work, source, server, arguments.images)).seconds
                found["sent by skopeo sync"] = sent(server, shared)
    return found


def sync(work: Path, source: Server, server: Server, images: int) -> list[str]:
    """The same list for skopeo."""
    listed = work / "sync.yaml"
    names = {f"tripleo/image-{number}": ["t"] for number in range(images)}
    listed.write_text(json.dumps({source.host: {"images": names, "tls-verify": False}}))
    options = ["--all", "--preserve-digests", "--dest-tls-verify=false", "--src", "yaml", "--dest", "docker"]
    return ["skopeo", "--insecure-policy", "sync", *options, str(listed), f"{server.host}/copy"]


def sent(server: Server, blob: str) -> int:
    """How often a blob was uploaded."""
    algorithm, _, value = blob.partition(":")
    lines = server.log.read_text().splitlines()
    return sum(f"digest={algorithm}%3A{value}" in line and '"PUT /v2/' in line for line in lines)


def report(rounds: list[dict[str, float]]) -> None:
    """Medians of seconds, and of the ratios within each round."""
    rows: list[tuple[object, ...]] = [("case", "seconds", "ratio", "asked")]
    for case, base, goal in (
        ("skopeo sync", "skopeo sync", ""),
        ("ours", "skopeo sync", "1.2"),
        ("nothing to do", "ours", "0.1"),
    ):
        seconds = statistics.median(each[case] for each in rounds)
        ratio = statistics.median(each[case] / each[base] for each in rounds)
        rows.append((case, f"{seconds:.2f}", f"{ratio:.3f}", goal))
    print(table(rows))
    print(f"\nthe shared layer was sent {max(each['sent'] for each in rounds):.0f} times (asked: 1)")


if __name__ == "__main__":
    main()
