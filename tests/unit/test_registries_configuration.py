"""containers-registries.conf(5): where images are pulled from."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diskimage_create.errors import InputError
from diskimage_create.references import Reference, parse
from diskimage_create.registries.configuration import Blocked, Configuration, Endpoint, Namespace, read

DIGEST = f"sha256:{'a' * 64}"


def configured(tmp_path: Path, text: str) -> Configuration:
    (tmp_path / "registries.conf").write_text(text)
    return read({}, system=tmp_path)


def places(configuration: Configuration, name: str) -> list[str]:
    return [
        f"{endpoint.reference}{' insecure' * endpoint.insecure}" for endpoint in configuration.endpoints(parse(name))
    ]


def test_without_files_names_mean_what_they_say(tmp_path):
    assert read({}, system=tmp_path) == Configuration()
    reference = parse("quay.io/tripleo/nova-api:t")
    assert Configuration().endpoints(reference) == [Endpoint(reference)]


def test_a_prefix_moves_to_a_location(tmp_path):
    configuration = configured(
        tmp_path, '[[registry]]\nprefix = "example.com/foo"\nlocation = "internal:5000/bar/"\ninsecure = true\n'
    )
    assert places(configuration, "example.com/foo/image:t") == ["internal:5000/bar/image:t insecure"]
    assert places(configuration, f"example.com/foo/image@{DIGEST}") == [f"internal:5000/bar/image@{DIGEST} insecure"]
    assert places(configuration, "example.com/foo:t") == ["internal:5000/bar:t insecure"]
    for other in ("example.com/foobar:t", "example.com/image:t", "example.org/foo/image:t"):
        assert places(configuration, other) == [other]


def test_the_longest_prefix_counts(tmp_path):
    configuration = configured(
        tmp_path,
        '[[registry]]\nlocation = "example.com"\nblocked = true\n'
        '[[registry]]\nprefix = "example.com/allowed"\nlocation = "here/allowed"\n'
        '[[registry]]\nprefix = "example.com/allowed/one:old"\nlocation = "there/one:new"\n',
    )
    assert places(configuration, "example.com/allowed/one:t") == ["here/allowed/one:t"]
    assert places(configuration, "example.com/allowed/one:old") == ["there/one:new"]
    with pytest.raises(Blocked, match=r"example\.com"):
        configuration.endpoints(parse("example.com/other:t"))


def test_subdomains(tmp_path):
    configuration = configured(tmp_path, '[[registry]]\nprefix = "*.example.com"\ninsecure = true\n')
    assert places(configuration, "a.b.example.com/x:t") == ["a.b.example.com/x:t insecure"]
    assert places(configuration, "example.com/x:t") == ["example.com/x:t"]
    assert places(configuration, "badexample.com/x:t") == ["badexample.com/x:t"]
    assert configuration.insecure(parse("a.example.com/x"))
    assert not configuration.insecure(parse("example.com/x"))


MIRRORED = """
[[registry]]
location = "example.com"
mirror-by-digest-only = {only}
[[registry.mirror]]
location = "one.test/mirror"
[[registry.mirror]]
location = "two.test"
insecure = true
"""


def test_mirrors_come_first(tmp_path):
    configuration = configured(tmp_path, MIRRORED.format(only="false"))
    assert places(configuration, "example.com/x:t") == [
        "one.test/mirror/x:t",
        "two.test/x:t insecure",
        "example.com/x:t",
    ]
    configuration = configured(tmp_path, MIRRORED.format(only="true"))
    assert places(configuration, "example.com/x:t") == ["example.com/x:t"]
    assert len(places(configuration, f"example.com/x@{DIGEST}")) == 3


@pytest.mark.parametrize(("pulls", "by_tag", "by_digest"), [("all", 2, 2), ("digest-only", 1, 2), ("tag-only", 2, 1)])
def test_a_mirror_may_serve_tags_or_digests_alone(tmp_path, pulls, by_tag, by_digest):
    text = (
        f'[[registry]]\nlocation = "a.test"\n[[registry.mirror]]\nlocation = "b.test"\npull-from-mirror = "{pulls}"\n'
    )
    configuration = configured(tmp_path, text)
    assert len(places(configuration, "a.test/x:t")) == by_tag
    assert len(places(configuration, f"a.test/x@{DIGEST}")) == by_digest


def test_files_in_their_order(tmp_path):
    system, home = tmp_path / "system", tmp_path / "home/.config/containers"
    for directory in (system / "registries.conf.d", home / "registries.conf.d"):
        directory.mkdir(parents=True)

    def write(path: Path, **locations: str) -> None:
        path.write_text("".join(f'[[registry]]\nprefix="{p}.test"\nlocation="{at}"\n' for p, at in locations.items()))

    write(system / "registries.conf", a="system", b="system", c="system")
    write(system / "registries.conf.d/1.conf", b="first", c="first")
    write(system / "registries.conf.d/2.conf", c="second")
    (system / "registries.conf.d/notes.txt").write_text("no TOML")

    def found(**environ: str) -> dict[str, str]:
        return {each.prefix: each.location for each in read(environ, system).namespaces}

    assert found() == {"a.test": "system", "b.test": "first", "c.test": "second"}
    write(home / "registries.conf", a="user")
    write(home / "registries.conf.d/1.conf", b="drop-in")
    home_of_user = {"HOME": str(tmp_path / "home")}
    assert found(**home_of_user) == {"a.test": "user", "b.test": "drop-in", "c.test": "second"}
    write(tmp_path / "named.conf", a="named")
    assert found(CONTAINERS_REGISTRIES_CONF=str(tmp_path / "named.conf"))["a.test"] == "named"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[[registry]", "at line 1"),
        ("[[registry]]\ninsecure = true", "neither prefix nor location"),
        ('[[registry]]\nprefix = "a.test"', "has no location"),
        ('[[registry]]\nlocation = "a.test"\ninsecure = "yes"', "insecure must be true or false"),
        ("[[registry]]\nlocation = 1", "location must be a text"),
        ('[[registry]]\nlocation = "a b"', "a b: "),
        ('[[registry]]\nlocation = "a.test"\n[[registry.mirror]]\ninsecure = true', "a mirror has no location"),
        (
            '[[registry]]\nlocation = "a"\n[[registry.mirror]]\nlocation = "b"\npull-from-mirror = "never"',
            "pull-from-mirror is 'never'",
        ),
        ("registry = 1", "it is no configuration of registries"),
        ("registry = [1]", "it is no configuration of registries"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, text, says):
    with pytest.raises(InputError) as raised:
        configured(tmp_path, text)
    (problem,) = raised.value.problems
    assert problem.where == str(tmp_path / "registries.conf")
    assert says in problem.message


def test_a_file_that_the_variable_names_must_be_there(tmp_path):
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read({"CONTAINERS_REGISTRIES_CONF": str(tmp_path / "none")}, system=tmp_path)


PART = st.from_regex(r"[a-z0-9]{1,5}", fullmatch=True)
HOST = st.builds(lambda name, port: f"{name}.test{port}", PART, st.sampled_from(["", ":5000"]))
PATH = st.lists(PART, min_size=1, max_size=3).map("/".join)


@given(HOST, PATH, PATH, HOST, PATH, st.sampled_from(["t", None]), st.sampled_from([DIGEST, None]))
def test_what_follows_the_prefix_is_kept(host, namespace, rest, other, place, tag, digest):
    configuration = Configuration((Namespace(f"{host}/{namespace}", f"{other}/{place}"),))
    (endpoint,) = configuration.endpoints(Reference(host, f"{namespace}/{rest}", tag, digest))
    assert endpoint.reference == Reference(other, f"{place}/{rest}", tag, digest)
