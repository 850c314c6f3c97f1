"""What a page says of an image before anything else."""

from __future__ import annotations

from collections.abc import Iterator

from diskimage_create.reports.history import History
from diskimage_create.reports.page.sizes import size
from diskimage_create.reports.subject import Subject, written_out


def facts(subject: Subject) -> list[tuple[str, str]]:
    """Name and value of each fact that is known."""
    known = [*_of_content(subject), *_of_history(subject.history)]
    return [(name, written_out(value)) for name, value in known if value]


def _of_content(subject: Subject) -> Iterator[tuple[str, str]]:
    content = subject.content
    if content is None:
        return
    yield "System", content.system
    yield "Type", content.kind
    yield "Image file", size(content.file_bytes)
    yield "Disk", size(content.disk_bytes)
    if content.tree:
        yield "Content", f"{size(content.tree[0].bytes)} in {content.tree[0].files:,} files"
    if content.packages:
        yield "Packages", f"{len(content.packages):,}"


def _of_history(made: History) -> Iterator[tuple[str, str]]:
    yield "Profile", made.profile
    yield "Architecture", made.arch
    yield "Release", made.release
    yield "Built", made.started.replace("T", " ").replace("+00:00", " UTC")
    yield "Built with", made.tools
    yield "SHA-256", made.sha256
    yield "Fingerprint", made.fingerprint
