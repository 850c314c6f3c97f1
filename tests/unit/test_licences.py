"""Names of licences become SPDX expressions, and nothing that is not known is guessed."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from license_expression import get_spdx_licensing
from packaging.licenses import canonicalize_license_expression

from diskimage_create.provenance.licences import Licences, conjunction

SPDX = get_spdx_licensing()


@pytest.mark.parametrize(
    ("synopsis", "expected"),
    [
        ("GPL-2", "GPL-2.0-only"),
        ("GPL-2+", "GPL-2.0-or-later"),
        ("gpl-3.0+", "GPL-3.0-or-later"),
        ("LGPL-2.1", "LGPL-2.1-only"),
        ("LGPL-2", "LGPL-2.0-only"),
        ("GFDL-1.3+", "GFDL-1.3-or-later"),
        ("GFDL-NIV-1.3", "GFDL-1.3-no-invariants-only"),
        ("AGPL-3+", "AGPL-3.0-or-later"),
        ("Expat", "MIT"),
        ("BSD-3-clause", "BSD-3-Clause"),
        ("Expat or BSD-3-clause", "MIT OR BSD-3-Clause"),
        ("GPL-2+ and Expat, or ISC", "(GPL-2.0-or-later AND MIT) OR ISC"),
        ("GPL-2 or Expat, and ISC", "(GPL-2.0-only OR MIT) AND ISC"),
        ("GPL-2 or Artistic-2.0 and ISC", "GPL-2.0-only OR Artistic-2.0 AND ISC"),
        ("Perl and Expat", "(Artistic-1.0-Perl OR GPL-1.0-or-later) AND MIT"),
        ("public-domain", "LicenseRef-debian-public-domain"),
        ("GPL-2+ with OpenSSL exception", "LicenseRef-debian-GPL-2-or-later-with-OpenSSL-exception"),
        ("GPL-7", "LicenseRef-debian-GPL-7"),
        ("", ""),
    ],
)
def test_names_of_debian(synopsis: str, expected: str) -> None:
    assert Licences("debian").of_debian(synopsis) == expected


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("Apache-2.0 OR mit", "Apache-2.0 OR MIT"),
        ("Apache License, Version 2.0", "Apache-2.0"),
        ("BSD", "LicenseRef-pypi-BSD"),
        ("LicenseRef-Theirs AND MIT", "LicenseRef-Theirs AND MIT"),
        ("Permission is hereby granted,\nfree of charge", ""),
        ("x" * 101, ""),
    ],
)
def test_names_of_python_distributions(field: str, expected: str) -> None:
    assert Licences("pypi").of_expression(field) == expected


def test_a_reference_tells_what_the_package_calls_it() -> None:
    licences = Licences("debian")
    one, other = licences.of_debian("a/b"), licences.of_debian("a_b")
    assert one != other
    assert licences.references == {one: "a/b", other: "a_b"}
    assert licences.of_debian("a/b") == one


def test_a_package_is_under_the_licences_of_all_its_files() -> None:
    text = (
        "Format: x\nLicense: ISC\n\nFiles: *\nLicense: GPL-2+\n\nFiles: b\nLicense: Expat or ISC\n\nLicense: Zlib\n x\n"
    )
    assert Licences("debian").of_copyright(text) == "GPL-2.0-or-later AND ISC AND (MIT OR ISC)"


@pytest.mark.parametrize(
    "text", ["", "It was packaged by someone.\nLicense: GPL-2\n", "Format: x\n\nFiles: *\nLicense:\n"]
)
def test_a_copyright_file_that_says_nothing_to_programs(text: str) -> None:
    assert Licences("debian").of_copyright(text) == ""


NAMES = st.sampled_from(
    ["GPL-2", "GPL-2+", "Expat", "BSD-3-clause", "public-domain", "as is", "Perl", "MIT/X11", "Zlib"]
)
SYNOPSES = st.recursive(
    NAMES,
    lambda inner: st.tuples(inner, st.sampled_from([" and ", " or ", ", and ", ", or ", ", "]), inner).map("".join),
)


@given(st.lists(SYNOPSES, max_size=4))
def test_every_expression_is_one_to_other_readers(synopses: list[str]) -> None:
    licences = Licences("debian")
    expression = conjunction(licences.of_debian(synopsis) for synopsis in synopses if len(synopsis) < 400)
    if expression:
        canonicalize_license_expression(expression)
        parsed = SPDX.parse(expression)
        unknown = {key for key in SPDX.unknown_license_keys(parsed) if not key.startswith("LicenseRef-")}
        assert unknown == set()
        assert {key for key in parsed.symbols if str(key).startswith("LicenseRef-")} <= set(
            map(SPDX.parse, licences.references)
        )


@given(st.text(max_size=120))
def test_any_text_gives_an_expression_or_nothing(text: str) -> None:
    licences = Licences("debian")
    for expression in (
        licences.of_debian(text),
        licences.of_expression(text),
        licences.of_copyright("Format: " + text),
    ):
        if expression:
            canonicalize_license_expression(expression)
            references = set(re.findall(r"LicenseRef-[A-Za-z0-9.-]+", expression))
            assert references <= set(licences.references)
