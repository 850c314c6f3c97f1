"""Which of what is stored can be used for a build, and why the rest has to be made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from diskimage_create.inputs import Change, changes, identities, merged
from diskimage_create.model import IMAGE, STEPS, BuildPlan, Inputs, RemoteInput
from diskimage_create.store import Entry, Store

#: Value of an input that cannot be known
UNKNOWN = "unknown"
#: By how much the clocks of machines that share a store may differ
_CLOCKS_DIFFER = timedelta(minutes=5)


@dataclass(frozen=True)
class Needs:
    """What a build depends on, and how much of what is stored it trusts."""

    label: str
    local: Inputs
    remote: Inputs
    reusable: tuple[str, ...]
    """The steps that may be taken from the store"""
    asked: datetime
    """When the network was asked for the remote inputs"""
    max_age: timedelta
    offline: bool = False
    """Take what fits the local inputs: the network is not asked"""

    @property
    def fingerprint(self) -> str:
        """The identity of the image."""
        return self.identities[IMAGE]

    @property
    def identities(self) -> Mapping[str, str]:
        """Step -> its identity."""
        return identities(merged(self.local, self.remote))

    def resumed_from(self, stage: Entry | None) -> Needs:
        """The needs of a build that begins with a stage: what is in that is as old as it was there."""
        if stage is None:
            return self
        remote = stage.remote if self.offline else self.remote
        return replace(self, remote=remote, asked=min(self.asked, stage.asked))


@dataclass(frozen=True)
class Why:
    """What can be reused, and what stands against reusing more."""

    found: tuple[Entry, ...]
    """What fits, the furthest step first; not looked into yet"""
    compared_with: Entry | None
    """The stored build that is nearest"""
    changes: tuple[Change, ...]
    expired: tuple[str, ...]
    """What fits, but is older than what cannot be known may be"""

    @property
    def reasons(self) -> list[str]:
        """All that differs from the nearest stored build, a line each."""
        return [*map(str, self.changes), *self.expired]

    @property
    def remote_names(self) -> list[str]:
        """What the network was asked for when the nearest build was made."""
        remote = self.compared_with.remote if self.compared_with else {}
        return [name for step in STEPS for name in remote.get(step, {})]

    def explained(self, chosen: Entry | None, *, every: bool) -> list[str]:
        """What is reused, and why no more than that.

        :param chosen: what is reused
        :param every: all reasons, a line each; else one line in all
        """
        return [self._headline(chosen, every), *(self._comparison() if every else [])]

    def planned(self) -> list[str]:
        """What a build would reuse, should the network say nothing new."""
        lines = self.explained(self.found[0] if self.found else None, every=True)
        if self.remote_names:
            lines.append(f"unknown until the build: {', '.join(self.remote_names)}")
        return lines

    def as_json(self) -> dict[str, Any]:
        """The same for ``plan --why --format json``."""
        near = self.compared_with
        return {
            "reused": self.found[0].step if self.found else None,
            "compared_with": near
            and {"step": near.step, "identity": near.identity, "created": near.created.isoformat(timespec="seconds")},
            "changes": [
                {"step": change.step, "name": change.name, "old": change.old, "new": change.new, "text": str(change)}
                for change in self.changes
            ],
            "unknown": self.remote_names,
        }

    def _comparison(self) -> list[str]:
        if self.compared_with is None:
            return []
        made = f"{self.compared_with.created.astimezone():%Y-%m-%d %H:%M}"
        lines = [f"  {reason}" for reason in self.reasons] or ["  nothing differs"]
        return [f"compared with {self.compared_with.title} of {made}:", *lines]

    def _headline(self, chosen: Entry | None, every: bool) -> str:
        if chosen and chosen.step == IMAGE:
            return f"nothing changed: the image built at {chosen.created.astimezone():%Y-%m-%d %H:%M} is reused"
        reason, more = "nothing like it is stored", ""
        if self.reasons:
            reason, others = self.reasons[0], len(self.reasons) - 1
            more = f" (and {others} more{'' if every else ': --why'})" if others else ""
        elif self.compared_with and self.compared_with.step == IMAGE:
            reason = "the stored image cannot be used"
        elif self.compared_with:
            reason = "an earlier build of the same did not get to its end"
        return f"{reason}{more}; starting {f'after {chosen.step}.d' if chosen else 'from the beginning'}"


def needs(
    plan: BuildPlan, reusable: tuple[str, ...], answers: Iterable[RemoteInput], *, max_age: timedelta, offline: bool
) -> Needs:
    """What a plan depends on.

    :param reusable: the steps that may be taken from the store
    :param answers: what the network said, just now; what it could not say has the same value every time
    """
    spec = plan.spec
    remote: dict[str, dict[str, str]] = {step: {} for step in STEPS}
    for each in answers:
        remote[each.phase][each.name] = UNKNOWN if each.value is None else each.value
    label = f"{spec.profile} {spec.distribution} {spec.release} {spec.arch}"
    return Needs(label, plan.inputs, remote, reusable, datetime.now(UTC), max_age, offline)


def look_up(store: Store, needs: Needs) -> Why:
    """Find what fits, and compare with what fits nearly."""
    entries = store.entries()
    fitting = _fitting(entries, needs)
    fresh = [entry for entry in fitting if needs.offline or _is_fresh(entry, needs)]
    expired = [_expired(entry) for entry in fitting if entry not in fresh]
    nearest = _nearest(entries, needs)
    return Why(
        found=tuple(fresh),
        compared_with=nearest,
        changes=tuple(_changes(nearest, needs)) if nearest else (),
        expired=tuple(expired),
    )


def _fitting(entries: Sequence[Entry], needs: Needs) -> list[Entry]:
    """The newest entry of each step, the furthest step first."""
    usable = [step for step in reversed(STEPS) if step in needs.reusable]
    wanted = identities(_known(needs.local, needs.remote, needs))

    def fits(entry: Entry, step: str) -> bool:
        return entry.step == step and identities(_known(entry.local, entry.remote, needs))[step] == wanted[step]

    found = (next((entry for entry in entries if fits(entry, step)), None) for step in usable)
    return [entry for entry in found if entry]


def _nearest(entries: Iterable[Entry], needs: Needs) -> Entry | None:
    """The stored build of the same kind of image that shares the most steps; then with the fewest differences."""
    wanted = identities(_known(needs.local, needs.remote, needs))

    def distance(entry: Entry) -> tuple[int, int, int, float]:
        its = identities(_known(entry.local, entry.remote, needs))
        shared = sum(its[step] == wanted[step] for step in STEPS[: STEPS.index(entry.step) + 1])
        return -shared, -STEPS.index(entry.step), len(_changes(entry, needs)), -entry.created.timestamp()

    return min((entry for entry in entries if entry.label == needs.label), key=distance, default=None)


def _known(local: Inputs, remote: Inputs, needs: Needs) -> Inputs:
    """The inputs that count: offline, the local ones."""
    return local if needs.offline else merged(local, remote)


def _changes(entry: Entry, needs: Needs) -> list[Change]:
    """What differs in the steps that the entry has gone through."""
    found = changes(_known(entry.local, entry.remote, needs), _known(needs.local, needs.remote, needs))
    steps = STEPS[: STEPS.index(entry.step) + 1]
    return [change for change in found if change.step in steps]


def _unknowns(entry: Entry) -> list[str]:
    return [name for step in STEPS for name, value in entry.remote.get(step, {}).items() if value == UNKNOWN]


def _is_fresh(entry: Entry, needs: Needs) -> bool:
    """Whether what cannot be known of an entry is young enough to be trusted; one from the future is not."""
    return not _unknowns(entry) or -_CLOCKS_DIFFER <= _age(entry) <= needs.max_age


def _age(entry: Entry) -> timedelta:
    return datetime.now(UTC) - entry.asked


def _expired(entry: Entry) -> str:
    hours = _age(entry).total_seconds() / 3600
    age = f"{hours:.0f} h old" if hours > 0 else "of a time to come"
    unknown = ", ".join(_unknowns(entry))
    return f"{entry.title} is {age}, and it cannot be known whether this changed: {unknown}"
