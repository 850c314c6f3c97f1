"""Many images: on all cores of this machine, or on a cluster.

    Jobs -> order (what first, how many at once) -> pool, or cluster -> Outcomes

Each job is a process of its own (``child``), whoever starts it. What a job says goes to a display that all share.
"""

from __future__ import annotations

from diskimage_create.farm.jobs import Failed, Job, Outcome, Unbuilt

__all__ = ["Failed", "Job", "Outcome", "Unbuilt"]
