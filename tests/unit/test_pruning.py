"""What of a store goes, and in what order."""

from __future__ import annotations

import os
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract import schema_errors
from diskimage_create.model import STEPS
from diskimage_create.store import Entry
from diskimage_create.store.pruning import Limits, as_text, list_as_json, superfluous

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def entry(number: int, step: str, label: str, hours: int, size: int) -> Entry:
    """One that was made some hours ago, and not used since: its manifest cannot be asked."""
    path = Path(f"/nowhere/{number}")
    made = NOW - timedelta(hours=hours)
    return Entry(path, step, label, made, made, {}, {}, {}, size)


entries = st.lists(
    st.tuples(
        st.sampled_from(STEPS[2:]), st.sampled_from(["debian", "ubuntu"]), st.integers(0, 50), st.integers(0, 50)
    ),
    max_size=12,
).map(lambda found: [entry(number, *values) for number, values in enumerate(found)])
limits = st.builds(
    Limits,
    keep_last=st.none() | st.integers(0, 4),
    max_bytes=st.none() | st.integers(0, 300),
    unused=st.none() | st.integers(0, 60).map(lambda hours: timedelta(hours=hours)),
)


def kind(entry: Entry) -> tuple[str, str]:
    return entry.step, entry.label


@given(entries=entries, limits=limits)
def test_what_stays_is_within_all_limits(entries: list[Entry], limits: Limits) -> None:
    gone = superfluous(entries, limits, NOW)
    kept = [entry for entry in entries if entry not in gone]
    if limits.keep_last is not None:
        assert all(count <= limits.keep_last for count in Counter(map(kind, kept)).values())
    if limits.max_bytes is not None:
        assert sum(entry.bytes for entry in kept) <= limits.max_bytes
    if limits.unused is not None:
        assert all(NOW - entry.used <= limits.unused for entry in kept)


@given(entries=entries, limits=limits)
def test_nothing_goes_without_a_reason(entries: list[Entry], limits: Limits) -> None:
    gone = superfluous(entries, limits, NOW)
    kept = [entry for entry in entries if entry not in gone]
    for entry in gone:
        alike = [other for other in kept if kind(other) == kind(entry)]
        too_many = limits.keep_last is not None and len(alike) >= limits.keep_last
        too_old = limits.unused is not None and NOW - entry.used > limits.unused
        # All that stay were used later, and one more would be too much.
        later = [other for other in [*kept, *gone] if other.used >= entry.used]
        too_big = limits.max_bytes is not None and sum(other.bytes for other in later) > limits.max_bytes
        assert too_many or too_old or too_big


@given(entries=entries, limits=limits)
def test_what_was_not_used_for_longest_goes_first(entries: list[Entry], limits: Limits) -> None:
    gone = superfluous(entries, limits, NOW)
    assert [entry.used for entry in gone] == sorted(entry.used for entry in gone)
    kept = [entry for entry in entries if entry not in gone]
    if limits.keep_last is None:
        assert all(other.used >= entry.used for entry in gone for other in kept)
    else:
        assert all(other.used >= entry.used for entry in gone for other in kept if kind(other) == kind(entry))


@given(entries=entries, limits=limits)
def test_twice_is_no_more_than_once(entries: list[Entry], limits: Limits) -> None:
    gone = superfluous(entries, limits, NOW)
    assert superfluous([entry for entry in entries if entry not in gone], limits, NOW) == []


@given(entries=entries)
def test_without_limits_all_stays(entries: list[Entry]) -> None:
    assert superfluous(entries, Limits(), NOW) == []


def test_one_that_was_used_again_stays_for_longer_than_one_that_is_newer(tmp_path: Path) -> None:
    made = NOW - timedelta(days=9)
    older = Entry(tmp_path, "root", "debian", made, made, {}, {}, {}, 1)
    (tmp_path / "manifest.json").touch()
    os.utime(tmp_path / "manifest.json", (NOW.timestamp(), NOW.timestamp()))
    newer = entry(1, "root", "debian", 24, 1)
    assert superfluous([newer, older], Limits(keep_last=1), NOW) == [newer]
    assert superfluous([newer, older], Limits(max_bytes=1), NOW) == [newer]
    assert superfluous([newer, older], Limits(unused=timedelta(hours=1)), NOW) == [newer]


def test_a_small_one_does_not_outlive_a_large_one_that_was_used_later() -> None:
    new, large, small = (
        entry(n, "root", "debian", hours, size) for n, (hours, size) in enumerate([(1, 5), (2, 20), (3, 3)])
    )
    assert superfluous([small, new, large], Limits(max_bytes=10), NOW) == [small, large]


@given(entries=entries)
def test_the_list_keeps_its_contract(entries: list[Entry]) -> None:
    assert schema_errors(list_as_json(entries), "cache") == []
    assert all("\n" not in as_text(entry) for entry in entries)


@pytest.mark.parametrize(
    "spoiled", [{"bytes": -1}, {"step": "finalise"}, {"used": "yesterday"}, {"identity": "sha256:"}, {"more": 1}]
)
def test_the_schema_refuses_another_list(spoiled: dict[str, object]) -> None:
    good = list_as_json([entry(1, "root", "debian", 1, 1)])
    assert schema_errors({**good, "entries": [{**good["entries"][0], **spoiled}]}, "cache")
    assert schema_errors({**good, "schema": 2}, "cache")
