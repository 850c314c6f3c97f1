"""Numbers as people read them."""

from __future__ import annotations


def size(number: int | None) -> str:
    """Bytes in the unit that fits; empty for None."""
    if number is None:
        return ""
    value = float(number)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(value) < 1024:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def share(part: float, whole: float) -> str:
    """The part in percent, as SVG writes lengths; ``0%`` of nothing."""
    return f"{min(100.0, 100 * part / whole):.2f}%" if whole > 0 else "0%"
