"""Checks that read all content; ``validate --deep`` runs them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from diskimage_create import process
from diskimage_create.digests import sha256
from diskimage_create.model import Expectation
from diskimage_create.validate.record import recorded_artifact, recorded_digest
from diskimage_create.validate.registry import Outcome, check, listed, skipped, verdict, warned
from diskimage_create.validate.view import ImageView

# Shorter ones are found everywhere, by chance.
SHORTEST_SECRET = 6


@check("checksum", "The image file is the one that was built", deep=True)
def checksum(view: ImageView, expectation: Expectation) -> Outcome:
    """The SHA-256 of the file is the one in the record, or in IMAGE.sha256, beside it."""
    recorded = (recorded_artifact(view.path) or {}).get("sha256") or recorded_digest(view.path)
    if not recorded:
        return skipped("there is no recorded digest beside the image")
    digest = sha256(view.path)
    wanted = str(recorded).removeprefix("sha256:")
    return verdict([f"SHA-256 is {digest} instead of {wanted}"] if digest != wanted else [], digest)


@check("secrets", "No file holds a secret of the build", deep=True)
def secrets(view: ImageView, expectation: Expectation) -> Outcome:
    """Passwords and credentials that the build was given are in no file of the image.

    They are known while building only: a finished image is scanned by the build itself,
    and the result is kept in its record.
    """
    if not expectation.secrets:
        return skipped("no secrets are known (only the build knows them)")
    found: dict[str, list[str]] = {}
    for place, tree in {"": view.root.path, **{name: tree.path for name, tree in view.root.mounted.items()}}.items():
        for secret, files in find_secrets(tree, expectation.secrets, view.workspace).items():
            found.setdefault(secret, []).extend(place + file for file in files)
    short = [name for name, text in expectation.secrets.items() if len(text.strip()) < SHORTEST_SECRET]
    if not found and short:
        return warned(f"not searched for, too short to tell from other text: {listed(short)}")
    problems = [f"{name} is in {listed(files)}" for name, files in found.items()]
    return verdict(problems, f"{len(expectation.secrets)} searched for")


def find_secrets(tree: Path, secrets: Mapping[str, str], workspace: Path) -> dict[str, list[str]]:
    """Name of each secret that is in some file below ``tree`` -> those files, as names in the image.

    :param workspace: where the pattern file may be kept, private to this process
    """
    # Blanks around it are those of the file that it came from.
    stripped = {name: text.strip() for name, text in secrets.items()}
    sought = {name: text for name, text in stripped.items() if len(text) >= SHORTEST_SECRET}
    if not sought:
        return {}
    patterns = workspace / "patterns"
    # grep takes a pattern per line; the longest line of a secret leads to the files, then the whole is compared.
    lines = {max(text.splitlines(), key=len) for text in sought.values()}
    descriptor = os.open(patterns, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write("\n".join(sorted(lines)) + "\n")
        candidates = _files_with_any(tree, patterns)
    finally:
        patterns.unlink()
    found: dict[str, list[str]] = {}
    for path in candidates:
        content = path.read_bytes()
        for name, text in sought.items():
            if text.encode() in content:
                found.setdefault(name, []).append("/" + str(path.relative_to(tree)))
    return found


def _files_with_any(tree: Path, patterns: Path) -> list[Path]:
    # The C locale compares bytes: fast, and right for binary files too.
    environment = dict(os.environ, PATH=process.tool_path(), LC_ALL="C")
    argv = ["grep", "--recursive", "--devices=skip", "--files-with-matches", "--null", "--binary-files=binary"]
    argv += ["--fixed-strings", f"--file={patterns}", "--", str(tree)]
    listing = process.run(argv, env=environment, expect=(0, 1)).stdout
    return [Path(name) for name in sorted(listing.split("\0")) if name]
