"""What of the store fits a build, and what is said of why no more does."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from samples import plan

from contract import schema_errors
from diskimage_create import plan as plans
from diskimage_create.inputs import identities, merged
from diskimage_create.model import IMAGE, STAGES, STEPS, Inputs, RemoteInput
from diskimage_create.store import MANIFEST, Entry, Store, _checksum
from diskimage_create.store.reuse import UNKNOWN, Needs, Why, look_up, needs

LABEL = "amphora debian trixie amd64"
LOCAL: Inputs = {step: {f"option:{step}": "old"} for step in STEPS}
APT: Inputs = {"root": {"apt trixie": "sha256:" + "1" * 64}}
DAY = timedelta(days=1)


def wanted(local: Inputs = LOCAL, remote: Inputs = APT, **more: Any) -> Needs:
    said = {"label": LABEL, "reusable": STEPS, "asked": datetime.now(UTC), "max_age": DAY, **more}
    return Needs(local=local, remote=remote, **said)


def changed(*steps: str, to: str = "new") -> Inputs:
    return {step: {f"option:{step}": to if step in steps else "old"} for step in STEPS}


class Past:
    """A store, and what builds of earlier days left in it."""

    def __init__(self, directory: Path) -> None:
        self.store = Store(directory)
        self.store.create()

    def add(
        self,
        step: str,
        local: Inputs = LOCAL,
        remote: Inputs = APT,
        *,
        age: timedelta = timedelta(),
        took: timedelta = timedelta(),
        label: str = LABEL,
    ) -> Entry:
        asked = datetime.now(UTC) - age
        path = self.store.add(step, label, local, remote, asked, lambda made: (made / "x").touch()).path / MANIFEST
        data = json.loads(path.read_text())
        del data["checksum"]
        data["created"] = (asked + took).isoformat(timespec="seconds")
        path.write_text(json.dumps({**data, "checksum": _checksum(data)}))
        (entry,) = (entry for entry in self.store.entries() if entry.path == path.parent)
        return entry

    def build(self, *steps: str, local: Inputs = LOCAL, **more: Any) -> list[Entry]:
        return [self.add(step, local, **more) for step in steps or STEPS]

    def why(self, needs: Needs) -> Why:
        return look_up(self.store, needs)

    def found(self, needs: Needs) -> list[str]:
        return [entry.step for entry in self.why(needs).found]


@pytest.fixture
def past(tmp_path: Path) -> Past:
    return Past(tmp_path)


# --- what fits


def test_nothing_is_stored(past: Past) -> None:
    why = past.why(wanted())
    assert (why.found, why.compared_with, why.reasons) == ((), None, [])
    assert why.explained(None, every=True) == ["nothing like it is stored; starting from the beginning"]


@given(
    change=st.sampled_from([None, *STEPS]),
    stored=st.sets(st.sampled_from(STEPS)),
    reusable=st.integers(0, len(STEPS)),
)
@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_furthest_step_that_fits_is_first_and_no_other_is_there(
    change: str | None, stored: set[str], reusable: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    past = Past(tmp_path_factory.mktemp("cache"))
    past.build(*stored) if stored else None
    unchanged = STEPS[: STEPS.index(change)] if change else STEPS
    steps = STEPS[:reusable]
    fits = [step for step in reversed(STEPS) if step in stored and step in unchanged and step in steps]
    assert past.found(wanted(changed(change) if change else LOCAL, reusable=steps)) == fits


@pytest.mark.parametrize("step", STEPS)
def test_a_remote_change_is_a_change_of_its_step(past: Past, step: str) -> None:
    before: Inputs = {step: {"git agent": "a" * 40}}
    past.build(remote=before)
    assert past.found(wanted(remote=before)) == [*reversed(STEPS)]
    fits = [earlier for earlier in reversed(STEPS) if STEPS.index(earlier) < STEPS.index(step)]
    assert past.found(wanted(remote={step: {"git agent": "b" * 40}})) == fits


# --- what cannot be known

CANNOT: Inputs = {"install": {"downloads of element x: install.d/5": UNKNOWN}}


def test_what_cannot_be_known_is_trusted_for_a_while(past: Past) -> None:
    past.build(remote=CANNOT, age=timedelta(hours=30))
    assert past.found(wanted(remote=CANNOT, max_age=timedelta(hours=31))) == [*reversed(STEPS)]
    why = past.why(wanted(remote=CANNOT, max_age=timedelta(hours=29)))
    # The stages before do not depend on it.
    assert [entry.step for entry in why.found] == ["pre-install", "root"]
    assert why.changes == ()
    assert why.reasons == [
        f"{title} is 30 h old, and it cannot be known whether this changed: downloads of element x: install.d/5"
        for title in ("the image", "the stage after install.d")
    ]
    (line,) = why.explained(why.found[0], every=False)
    assert line == f"{why.reasons[0]} (and 1 more: --why); starting after pre-install.d"


def test_no_age_at_all_trusts_nothing_that_cannot_be_known(past: Past) -> None:
    past.build(remote=CANNOT, age=timedelta(seconds=2))
    assert past.found(wanted(remote=CANNOT, max_age=timedelta())) == ["pre-install", "root"]


def test_the_age_counts_from_when_the_network_was_asked(past: Past) -> None:
    """What changed while the build ran is not in it."""
    past.build(remote=CANNOT, age=timedelta(hours=10), took=timedelta(hours=9))
    assert past.found(wanted(remote=CANNOT, max_age=timedelta(hours=11))) == [*reversed(STEPS)]
    assert past.found(wanted(remote=CANNOT, max_age=timedelta(hours=9))) == ["pre-install", "root"]


def test_what_is_in_a_stage_is_as_old_as_it_was_there(past: Past) -> None:
    """Else what cannot be known would be trusted for ever, one build handing it to the next."""
    stage = past.add("install", remote=CANNOT, age=timedelta(hours=20))
    again = wanted(remote=CANNOT).resumed_from(stage)
    assert again.asked == stage.asked
    past.store.add(IMAGE, LABEL, LOCAL, CANNOT, again.asked, lambda made: (made / "x").touch())
    assert past.found(wanted(remote=CANNOT, max_age=timedelta(hours=21))) == [IMAGE, "install"]
    assert past.found(wanted(remote=CANNOT, max_age=timedelta(hours=19))) == []


def test_a_build_is_never_younger_than_what_it_begins_with(past: Past) -> None:
    needs, newer = wanted(), past.add("root", age=-timedelta(minutes=1))
    assert needs.resumed_from(newer) == needs
    assert needs.resumed_from(None) is needs
    assert needs.resumed_from(past.add("install", remote={}, age=DAY)).remote == APT


def test_a_build_that_begins_with_a_stage_offline_is_made_of_what_that_is_made_of(past: Past) -> None:
    (stage,) = past.build("pre-install", age=DAY)
    made = wanted(remote={}, offline=True).resumed_from(stage)
    assert (made.remote, made.asked) == (stage.remote, stage.asked)
    # It is found again when the network can be asked, and says the same.
    assert made.fingerprint == wanted().fingerprint


@pytest.mark.parametrize(("minutes", "is_trusted"), [(0, True), (4, True), (6, False), (60 * 30, False)])
def test_what_cannot_be_known_of_one_from_the_future_is_not_trusted(minutes: int, is_trusted: bool, past: Past) -> None:
    """A clock was wrong: nobody knows how old it is."""
    past.build(remote=CANNOT, age=-timedelta(minutes=minutes))
    why = past.why(wanted(remote=CANNOT, max_age=timedelta(days=400)))
    assert [entry.step for entry in why.found] == [*reversed(STEPS)][0 if is_trusted else 2 :]
    if not is_trusted:
        assert why.reasons == [
            f"{title} is of a time to come, and it cannot be known whether this changed: "
            "downloads of element x: install.d/5"
            for title in ("the image", "the stage after install.d")
        ]
    assert past.found(wanted(remote={}, offline=True)) == [*reversed(STEPS)]


def test_what_is_known_of_one_from_the_future_is_known(past: Past) -> None:
    past.build(age=-timedelta(days=3))
    assert past.found(wanted()) == [*reversed(STEPS)]


def test_what_is_known_has_no_age(past: Past) -> None:
    past.build(age=timedelta(days=4000))
    assert past.found(wanted(max_age=timedelta())) == [*reversed(STEPS)]


def test_what_became_known_is_a_change(past: Past) -> None:
    past.build(remote=CANNOT)
    known: Inputs = {"install": {"downloads of element x: install.d/5": "a" * 40}}
    why = past.why(wanted(remote=known))
    assert [entry.step for entry in why.found] == ["pre-install", "root"]
    assert why.reasons == [f"downloads of element x: install.d/5: unknown -> {'a' * 40}"]


# --- offline


def test_offline_takes_the_newest_that_fits_what_is_here(past: Past) -> None:
    releases: list[Inputs] = [{"root": {"apt trixie": f"sha256:{n * 64}"}} for n in ("1", "2", "3")]
    for number, remote in enumerate(releases):
        past.build(IMAGE, "root", remote=remote, age=timedelta(days=(5, 2, 9)[number]))
    past.build(IMAGE, local=changed(IMAGE), age=timedelta(days=1))
    why = past.why(wanted(remote={}, offline=True))
    assert [entry.step for entry in why.found] == [IMAGE, "root"]
    assert all(entry.remote["root"] == releases[1]["root"] for entry in why.found)
    assert why.reasons == []
    assert past.found(wanted(remote={})) == []


def test_offline_trusts_what_cannot_be_known(past: Past) -> None:
    past.build(remote=CANNOT, age=timedelta(days=400))
    assert past.found(wanted(remote={}, offline=True, max_age=timedelta())) == [*reversed(STEPS)]


def test_offline_a_local_change_is_a_change(past: Past) -> None:
    past.build()
    why = past.why(wanted(changed("install"), {}, offline=True))
    assert [entry.step for entry in why.found] == ["pre-install", "root"]
    assert why.reasons == ["option install: old -> new"]


# --- what it is compared with, and what is said


def test_the_nearest_is_of_the_same_kind_an_image_and_has_the_fewest_differences(past: Past) -> None:
    past.build(label="amphora ubuntu noble amd64", remote={"root": {"apt noble": "sha256:2"}})
    near = past.add(IMAGE, changed(IMAGE, to="near"), age=timedelta(hours=5))
    past.add(IMAGE, changed("install", IMAGE, to="far"))
    past.add("install")
    why = past.why(wanted())
    assert why.compared_with == near
    assert why.reasons == [f"option {IMAGE}: near -> old"]
    assert [entry.step for entry in why.found] == ["install"]


def test_without_an_image_it_is_the_furthest_stage_and_the_steps_after_it_are_no_difference(past: Past) -> None:
    _, middle = past.build("root", "pre-install")
    why = past.why(wanted(changed("install", IMAGE)))
    assert why.compared_with == middle
    assert why.reasons == []
    assert why.explained(middle, every=True) == [
        "an earlier build of the same did not get to its end; starting after pre-install.d",
        f"compared with the stage after pre-install.d of {middle.created.astimezone():%Y-%m-%d %H:%M}:",
        "  nothing differs",
    ]


def test_a_stage_that_shares_more_steps_is_nearer_than_an_image(past: Past) -> None:
    """The build before the last one that failed says less of what has changed since."""
    past.build(age=timedelta(hours=2))
    newer = past.add("pre-install", changed("pre-install"))
    why = past.why(wanted(changed("pre-install", "install")))
    assert why.compared_with == newer
    assert why.explained(newer, every=False) == [
        "an earlier build of the same did not get to its end; starting after pre-install.d"
    ]


def test_the_newest_of_two_that_are_as_near(past: Past) -> None:
    past.add(IMAGE, changed(IMAGE, to="a"), age=timedelta(hours=2))
    newer = past.add(IMAGE, changed(IMAGE, to="b"), age=timedelta(hours=1))
    past.add(IMAGE, changed(IMAGE, to="c"), age=timedelta(hours=3))
    assert past.why(wanted()).compared_with == newer


def test_one_line_says_what_is_reused(past: Past) -> None:
    *_, image = past.build(age=timedelta(hours=1))
    (line,) = past.why(wanted()).explained(image, every=False)
    assert line == f"nothing changed: the image built at {image.created.astimezone():%Y-%m-%d %H:%M} is reused"


def test_one_line_says_what_changed_first_and_that_there_is_more(past: Past) -> None:
    past.build()
    why = past.why(wanted(changed("install", IMAGE)))
    assert why.explained(why.found[0], every=False) == [
        "option install: old -> new (and 1 more: --why); starting after pre-install.d"
    ]
    every = why.explained(why.found[0], every=True)
    assert every[0] == "option install: old -> new (and 1 more); starting after pre-install.d"
    assert every[2:] == ["  option install: old -> new", "  option image: old -> new"]


def test_an_image_that_fits_and_turned_out_to_be_damaged_was_no_unfinished_build(past: Past) -> None:
    past.build()
    why = past.why(wanted())
    assert why.explained(why.found[1], every=False) == ["the stored image cannot be used; starting after install.d"]
    assert why.explained(None, every=False) == ["the stored image cannot be used; starting from the beginning"]


@given(
    steps=st.sets(st.sampled_from(STEPS)),
    more=st.sampled_from([{}, {"offline": True}, {"max_age": timedelta()}, {"reusable": ()}]),
    remote=st.sampled_from([APT, CANNOT, {}]),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_it_is_always_one_line_unless_all_is_asked_for(
    steps: set[str], more: Mapping[str, Any], remote: Inputs, tmp_path_factory: pytest.TempPathFactory
) -> None:
    past = Past(tmp_path_factory.mktemp("cache"))
    past.build(remote=CANNOT, age=DAY)
    why = past.why(wanted(changed(*steps), remote, **more))
    for chosen in (None, *why.found):
        (line,) = why.explained(chosen, every=False)
        assert "\n" not in line
        assert why.explained(chosen, every=True)[2:] in (
            [f"  {reason}" for reason in why.reasons],
            ["  nothing differs"],
        )


# --- from a plan


DEBIAN = {"os": "debian", "output": "/tmp/amphora"}


def test_what_a_plan_needs() -> None:
    made = plan(DEBIAN)
    answers = (RemoteInput("apt trixie", "root", "sha256:1", "x"), RemoteInput("git agent", "pre-install", None, "x"))
    begin = datetime.now(UTC)
    found = needs(made, ("root",), answers, max_age=DAY, offline=False)
    assert begin <= found.asked <= datetime.now(UTC)
    assert found.reusable == ("root",)
    assert found.label == LABEL
    assert found.local == made.inputs
    assert found.remote["root"] == {"apt trixie": "sha256:1"}
    assert found.remote["pre-install"] == {"git agent": UNKNOWN}
    assert found.fingerprint == identities(merged(made.inputs, found.remote))[IMAGE] != made.fingerprint


@pytest.mark.parametrize("stored", [(), STAGES, STEPS], ids=["nothing", "stages", "all"])
@pytest.mark.parametrize("size", ["5", "7"])
def test_why_in_a_plan_keeps_the_contract(past: Past, stored: tuple[str, ...], size: str) -> None:
    made, now = plan(DEBIAN), plan(DEBIAN | {"size": size})
    for step in stored:
        past.add(step, made.inputs)
    why = past.why(needs(now, STEPS, (), max_age=timedelta.max, offline=True))
    data = json.loads(json.dumps(plans.as_json(now) | {"why": why.as_json()}))
    assert schema_errors(data, "plan") == []
    differs = IMAGE in stored and size == "7"
    assert [change["text"] for change in data["why"]["changes"]] == (["option size_gib: 5 -> 7"] if differs else [])
    assert data["why"]["unknown"] == (["apt trixie"] if stored else [])
    expected = {(): None, STAGES: "install", STEPS: "install" if size == "7" else IMAGE}[stored]
    assert data["why"]["reused"] == expected


@pytest.mark.parametrize(
    "spoil",
    [
        lambda why: why.pop("reused"),
        lambda why: why.update(reused="cleanup"),
        lambda why: why["changes"].append({"name": "x"}),
        lambda why: why.update(compared_with={}),
        lambda why: why.update(surprise=1),
    ],
)
def test_the_schema_refuses_another_why(past: Past, spoil: Callable[[dict[str, Any]], object]) -> None:
    made = plan(DEBIAN)
    past.add(IMAGE, made.inputs)
    why = past.why(needs(made, STEPS, (), max_age=timedelta.max, offline=True)).as_json()
    spoil(why)
    assert schema_errors(plans.as_json(made) | {"why": why}, "plan")


def test_what_is_planned_says_what_only_the_build_will_know(past: Past) -> None:
    *_, image = past.build()
    assert past.why(wanted(remote={}, offline=True)).planned() == [
        f"nothing changed: the image built at {image.created.astimezone():%Y-%m-%d %H:%M} is reused",
        f"compared with the image of {image.created.astimezone():%Y-%m-%d %H:%M}:",
        "  nothing differs",
        "unknown until the build: apt trixie",
    ]
