"""Whatever a file holds, it is read, or it is a problem: never anything else."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from contract import schema_errors
from diskimage_create import cli

_KEYS = (
    *("images", "tags", "pull_policy", "local_registry", "exclude", "image", "imagename", "container_images", "conf"),
    *("containers", "initContainers", "name", "imagePullPolicy", "parameter_defaults", "ContainerHeatApiImage"),
    *("heat", "global", "db_init", "<<", "%%%REPLACE_KEY%%%", "a.b", "", "1", "é", "~"),
)
_TEXTS = (
    *("quay.io/a/b:1", "docker.io/nginx", "latest", "a:latest", "x/y:master-1", f"a.b/c@sha256:{'0' * 64}", "A B"),
    *("%%%REPLACE_X%%%/a:1", "{{ .Values.x }}", "Always", "2025.1-ubuntu_noble", "", "1.20", "null", "no", "0o17"),
    *("2024-02-30", "é/ü:ö", "a" * 300, "quay.io/" + "a/" * 200, "@", ":", "/", "::1", "[::1]:5000/a:1", "\ue000" * 3),
    *("service/storage/image", "!!int x", "&a", "*a", "2001-01-01 99:99:99"),
)
#: Files that a reader chooses by their name and place
_NAMES = (
    *("values.yaml", "2024.1-ubuntu_jammy.yaml", "list.txt", "images", "c/values.yaml", "c/Chart.yaml"),
    *("d/templates/job.yaml", "d/templates/_x.tpl", "d/values_overrides/zed-ubuntu_focal.yml"),
    *("values_overrides/d/x.yml", "environment.yaml"),
)
_MARKS = "{}[]:-,#&*!|>'\"%@`?~\n\t \\\x00\x85\ufeff\u2028<"


def _value(rng: random.Random, depth: int) -> Any:
    kind = rng.random()
    if depth <= 0 or kind < 0.3:
        return rng.choice((*_TEXTS, None, True, 1, 1.5, -1))
    if kind < 0.8:
        return {rng.choice(_KEYS): _value(rng, depth - 1) for _ in range(rng.randrange(5))}
    return [_value(rng, depth - 1) for _ in range(rng.randrange(4))]


def _shared(rng: random.Random) -> Any:
    """A document some of whose parts are aliases of others."""
    part = _value(rng, 3)
    return {"anchor": part, "images": {"tags": part}, "heat": {"images": part}, "more": [part, _value(rng, 3)]}


def _mutated(rng: random.Random, text: str) -> str:
    for _ in range(rng.randrange(4)):
        start = rng.randrange(len(text) + 1)
        end = min(len(text), start + rng.choice((0, 0, 1, 2, 20)))
        piece = rng.choice(("", rng.choice(_MARKS), rng.choice(_TEXTS), rng.choice(_KEYS), text[start : start + 30]))
        text = text[:start] + piece + text[end:]
    return text


def _document(rng: random.Random) -> str:
    data = _shared(rng) if rng.random() < 0.3 else _value(rng, 6)
    text = yaml.dump(data, Dumper=getattr(yaml, "CDumper", yaml.Dumper), default_flow_style=rng.choice((None, False)))
    return _mutated(rng, text) if rng.random() < 0.7 else text


def _campaign(seed: int, rounds: int, capsys: Any) -> Counter[int]:
    """Lint that many documents, as files of every kind; how often it ended with which status."""
    rng = random.Random(seed)
    statuses: Counter[int] = Counter()
    for number in range(rounds):
        name, text = _NAMES[number % len(_NAMES)], _document(rng)
        path = Path(name)
        path.write_bytes(text.encode("utf-8", errors="surrogatepass"))
        status = cli.main(["images", "lint", rng.choice((name, ".")), "--format", "json"])
        out, err = capsys.readouterr()
        statuses[status] += 1
        assert "internal error" not in err, (number, err, text)
        assert status in (0, 1, 2), (number, err, text)
        report = json.loads(out)
        errors = [each for each in report["findings"] if each["severity"] == "error"]
        if status != 2:
            assert status == bool(errors), (number, text)
        if number % 50 == 0:
            assert schema_errors(report, "images-lint") == []
        path.unlink()
    return statuses


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in _NAMES:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path("d/Chart.yaml").write_text("name: d\n")
    Path("d/values.yaml").write_text("images: {tags: {db_init: 'quay.io/a/b:1'}}\n")


def test_documents_of_all_kinds(capsys: Any) -> None:
    statuses = _campaign(1, 2000, capsys)
    assert set(statuses) == {0, 1, 2}  # otherwise the documents are all alike


@pytest.mark.full
def test_many_documents_of_all_kinds(capsys: Any) -> None:
    _campaign(2, 20_000, capsys)
