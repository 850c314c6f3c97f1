"""What a page says of an image before anything else."""

from __future__ import annotations

from collections.abc import Iterator

from diskimage_create.reports.page.sizes import size
from diskimage_create.reports.subject import Subject, written_out


def facts(subject: Subject) -> list[tuple[str, str]]:
    """Name and value of each fact that is known."""
    known = [*_of_content(subject), *_of_record(subject)]
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


def _of_record(subject: Subject) -> Iterator[tuple[str, str]]:
    record = subject.record
    image, artifacts = record.get("image") or {}, record.get("artifacts") or [{}]
    yield "Profile", str(image.get("profile") or "")
    yield "Architecture", str(image.get("arch") or "")
    yield "Release", str(image.get("release") or "")
    yield "Built", str(record.get("started") or "").replace("T", " ")
    tools = record.get("tools") or {}
    yield (
        "Built with",
        ", ".join(f"{name} {tools[name]}" for name in ("diskimage-create", "diskimage-builder") if name in tools),
    )
    yield "SHA-256", str(artifacts[0].get("sha256") or "")
    yield "Fingerprint", str(record.get("fingerprint") or "")
