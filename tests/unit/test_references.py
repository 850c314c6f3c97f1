"""Names of container images, in their parts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diskimage_create import references
from diskimage_create.references import InvalidReference, Reference

DIGEST = "sha256:" + "0123456789abcdef" * 4

PARTS = [
    ("nginx", (None, "nginx", None, None)),
    ("nginx:1.27", (None, "nginx", "1.27", None)),
    ("mylocal/nova-api:myhotfix", (None, "mylocal/nova-api", "myhotfix", None)),
    ("docker.io/openstackhelm/heat:newton", ("docker.io", "openstackhelm/heat", "newton", None)),
    ("192.168.24.1:8787/tripleomaster/x:t", ("192.168.24.1:8787", "tripleomaster/x", "t", None)),
    ("localhost/image/name:tag-data", ("localhost", "image/name", "tag-data", None)),
    ("localhost:5000", (None, "localhost", "5000", None)),
    ("[fd00::1]:5000/a/b", ("[fd00::1]:5000", "a/b", None, None)),
    ("host:65535/a:65536", ("host:65535", "a", "65536", None)),
    ("[fd00::1]/a:t", ("[fd00::1]", "a", "t", None)),
    (f"quay.io/a/b:t@{DIGEST}", ("quay.io", "a/b", "t", DIGEST)),
    (f"quay.io/a/b@{DIGEST}", ("quay.io", "a/b", None, DIGEST)),
    ("a/b__c/d--e.f", (None, "a/b__c/d--e.f", None, None)),
    ("MyHost/a", ("MyHost", "a", None, None)),
]


@pytest.mark.parametrize(("text", "parts"), PARTS)
def test_a_name_has_its_parts(text, parts):
    reference = references.parse(text)
    assert (reference.registry, reference.repository, reference.tag, reference.digest) == parts
    assert str(reference) == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "there is no name"),
        (":tag", "there is no name"),
        ("quay.io/", "there is no name"),
        ("quay.io//a", "empty"),
        ("a/", "empty"),
        ("a/B", "not in lower case"),
        ("a b", "cannot be a part"),
        ("a:", "cannot be a tag"),
        ("a:-x", "cannot be a tag"),
        ("a:" + "x" * 129, "cannot be a tag"),
        ("a@sha256:123", "cannot be a digest"),
        ("a@sha256:" + "0" * 63, "no SHA-256"),
        ("a@", "cannot be a digest"),
        ("-host.example/a", "address"),
        ("host:port/a", "address"),
        ("host:65536/a", "address"),
        ("[fd00::1]:99999/a", "address"),
        ("service/storage/ image", "cannot be a part"),
        ("a/b\n", "cannot be a part"),
        ("a/" + "b" * 254, "more than 255"),
    ],
)
def test_what_is_no_name_is_told_why(text, why):
    with pytest.raises(InvalidReference, match=why):
        references.parse(text)


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("nginx", "docker.io/library/nginx"),
        ("docker.io/nginx:1", "docker.io/library/nginx:1"),
        ("index.docker.io/a/b", "docker.io/a/b"),
        ("openstackhelm/heat:newton", "docker.io/openstackhelm/heat:newton"),
        ("quay.io/nginx", "quay.io/nginx"),
    ],
)
def test_names_of_docker_hub_have_one_form(text, full):
    once = references.parse(text).normalised()
    assert str(once) == full
    assert once.normalised() == once


_component = st.from_regex(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*", fullmatch=True).filter(lambda part: len(part) < 30)
_names = st.builds(
    Reference,
    st.sampled_from([None, "quay.io", "localhost", "127.0.0.1:5000", "[::1]:8787"]),
    st.lists(_component, min_size=1, max_size=4)
    .map("/".join)
    .filter(lambda name: not references.is_host(name.split("/")[0])),
    st.none() | st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", fullmatch=True),
    st.none() | st.just(DIGEST),
)


@given(_names)
def test_what_is_written_is_read_as_it_was(reference):
    assert references.parse(str(reference)) == reference


@given(st.text(max_size=60))
def test_any_text_is_a_name_that_can_be_written_again_or_is_refused(text):
    try:
        reference = references.parse(text)
    except InvalidReference:
        return
    assert str(reference) == text


def test_a_tag_replaces_tag_and_digest():
    assert str(references.parse(f"a/b:t@{DIGEST}").tagged("new")) == "a/b:new"
    with pytest.raises(InvalidReference):
        references.parse("a/b").tagged("no tag")
