"""From what the user said to a specification: the options table of docs/cli.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import HOST, VALID, read, request, values

from diskimage_create import config, elements
from diskimage_create.errors import InputError
from diskimage_create.model import Source


def problems(options: dict[str, Any] | None = None, environ: dict[str, str] | None = None, **more: Any) -> list[Any]:
    with pytest.raises(InputError) as caught:
        read(options, environ, **more)
    return list(caught.value.problems)


def test_defaults(tmp_path: Path) -> None:
    spec = read(cwd=tmp_path)
    assert (spec.profile, spec.backend, spec.size_gib, spec.types) == ("amphora", "haproxy-octavia", 5, ("qcow2",))
    assert (spec.os, spec.distribution, spec.release, spec.kernel) == (
        "ubuntu-minimal", "ubuntu", "noble", "linux-image-virtual",
    )  # fmt: skip
    assert spec.path_of("qcow2") == tmp_path / "amphora-x64-haproxy.qcow2"
    assert spec.cache_dir == Path("~/.cache/image-create").expanduser()
    assert (spec.arch, spec.sources["arch"]) == ("amd64", Source.HOST)
    assert (spec.enforce_mac, spec.cpu_pinning, spec.fips, spec.trace) == (False, False, False, 0)
    assert (spec.sshd, spec.tmpfs, spec.compressed) == (True, True, True)
    assert (spec.root_password, spec.work_dir, spec.logfile, spec.docker_target) == (None, None, None, None)
    assert (spec.packages, spec.sources["release"]) == ((), Source.PROFILE)


@pytest.mark.parametrize(
    ("option", "value", "attribute", "expected"),
    [
        ("arch", "armhf", "arch", "armhf"),
        ("backend", "haproxy", "backend", "haproxy-octavia"),
        ("cache_dir", "c", "cache_dir", Path("/tmp/c")),
        ("release", "jammy", "release", "jammy"),
        ("enforce_mac", True, "enforce_mac", True),
        ("no_tmpfs", True, "tmpfs", False),
        ("os", "rocky", "os", "rocky-container"),
        ("kernel", "linux-image-kvm", "kernel", "linux-image-kvm"),
        ("logfile", "b.log", "logfile", Path("/tmp/b.log")),
        ("cpu_pinning", True, "cpu_pinning", True),
        ("no_sshd", True, "sshd", False),
        ("output", "/tmp/mine", "output", Path("/tmp/mine")),
        ("root_password", "pw", "root_password", "pw"),
        ("size", "12", "size_gib", 12),
        ("type", "raw,tar,raw", "types", ("raw", "tar")),
        ("work_dir", "w", "work_dir", Path("/tmp/w")),
        ("trace", 2, "trace", 2),
        ("fips", True, "fips", True),
        ("uncompressed", True, "compressed", False),
        ("docker_target", "a:b", "docker_target", "a:b"),
        ("package", ("strace", "lsof,htop"), "packages", ("strace", "lsof", "htop")),
    ],
)
def test_every_option_says_something(option: str, value: Any, attribute: str, expected: Any) -> None:
    spec = read({option: value})
    assert getattr(spec, attribute) == expected
    assert expected != getattr(read(), attribute) or option == "backend"


@pytest.mark.parametrize(
    ("os", "arch", "kernel"),
    [
        ("debian", "amd64", "linux-image-cloud-amd64"),
        ("debian", "aarch64", "linux-image-cloud-arm64"),
        ("debian", "i386", "linux-image-686"),
        ("ubuntu", "ppc64le", "linux-image-virtual"),
        ("rocky", "amd64", None),
    ],
)
def test_kernel_by_default(os: str, arch: str, kernel: str | None) -> None:
    assert read({"os": os, "arch": arch}).kernel == kernel


@pytest.mark.parametrize("text", ["amphora.qcow2", "amphora", "./amphora.qcow2"])
def test_output_with_and_without_its_extension(text: str) -> None:
    assert read({"output": text}).path_of("qcow2") == Path("/tmp/amphora.qcow2")


def test_docker_target_is_named_after_the_output() -> None:
    assert read({"type": "docker", "output": "web"}).docker_target == "image:web"


def test_a_flag_wins_over_the_environment_and_that_over_the_profile() -> None:
    environ = {"DIB_RELEASE": "jammy", "DIB_UBUNTU_KERNEL": "linux-generic", "DIB_GRUB_TIMEOUT": "9"}
    spec = read({}, environ)
    assert (spec.release, spec.kernel) == ("jammy", "linux-generic")
    assert spec.sources["release"] is Source.ENVIRONMENT
    assert values(spec.environment)["DIB_GRUB_TIMEOUT"] == "9"
    spec = read({"release": "noble", "kernel": "linux-kvm", "env": ("DIB_GRUB_TIMEOUT=1",)}, environ)
    set_for_the_build = values(spec.environment)
    assert (spec.release, set_for_the_build["DIB_RELEASE"]) == ("noble", "noble")
    assert (spec.kernel, set_for_the_build["DIB_UBUNTU_KERNEL"]) == ("linux-kvm", "linux-kvm")
    assert set_for_the_build["DIB_GRUB_TIMEOUT"] == "1"
    assert spec.environment["DIB_GRUB_TIMEOUT"].source is Source.FLAG


def test_the_package_flag_wins_over_the_install_type_of_the_environment() -> None:
    environ = {"DIB_INSTALLTYPE_amphora_agent": "source"}
    assert values(read({}, environ).environment)["DIB_INSTALLTYPE_amphora_agent"] == "source"
    assert values(read({"package_agent": True}, environ).environment)["DIB_INSTALLTYPE_amphora_agent"] == "package"


def test_two_exceptions_as_in_octavia() -> None:
    """With -g and -n the environment wins over the flag."""
    environ = {"DIB_REPOREF_amphora_agent": "abc", "DIB_OCTAVIA_AMP_USE_SSH": "True"}
    built_with = values(read({"git_branch": "stable/2025.1", "no_sshd": True}, environ).environment)
    assert built_with["DIB_REPOREF_amphora_agent"] == "abc"
    assert built_with["DIB_OCTAVIA_AMP_USE_SSH"] == "True"
    assert "stable/2025.1" in built_with["DIB_REPOLOCATION_upper_constraints"]
    environ = {"DIB_REPOLOCATION_upper_constraints": "file:///c"}
    built_with = values(read({"git_branch": "master"}, environ).environment)
    assert built_with["DIB_REPOLOCATION_upper_constraints"] == "file:///c"
    assert built_with["DIB_REPOREF_amphora_agent"] == "master"


def test_a_password_in_the_environment_alone_means_nothing() -> None:
    spec = read({}, {"DIB_PASSWORD": "canary"})
    assert spec.root_password is None
    assert "root-passwd" not in spec.elements
    assert "canary" not in values(spec.environment).values()


@pytest.mark.parametrize(
    ("options", "what", "where", "hint"),
    [
        ({"arch": "amd46"}, "'amd46'", "--arch", "did you mean amd64?"),
        ({"arch": "sparc"}, "'sparc'", "--arch", "ppc64le"),
        ({"backend": "nginx"}, "'nginx'", "--backend", "haproxy"),
        ({"os": "debain"}, "'debain'", "--os", "did you mean debian?"),
        ({"type": "qcow2,qcow3"}, "'qcow3'", "--type", "did you mean qcow2?"),
        ({"type": ","}, "no image type", "--type", "qcow2"),
        ({"profile": "amfora"}, "'amfora'", "--profile", "did you mean amphora?"),
        ({"size": "0"}, "positive whole number", "--size", "5"),
        ({"size": "-1"}, "positive whole number", "--size", "5"),
        ({"size": "2.5"}, "positive whole number", "--size", "5"),
        ({"size": "five"}, "positive whole number", "--size", "5"),
        ({"size": "\u0665"}, "positive whole number", "--size", "5"),
        ({"size": "9" * 5000}, "positive whole number", "--size", "5"),
        ({"output": "/nowhere/image"}, "/nowhere does not exist", "--output", "mkdir -p /nowhere"),
        ({"output": "/tmp"}, "is a directory", "--output", "name a file"),
        ({"output": "/dev/null"}, "is a device or a pipe", "--output", "name a file"),
        ({"output": "a b"}, "characters", "--output", "letters"),
        ({"output": ".qcow2"}, None, None, None),
        ({"output": "x" * 300}, "too long", "--output", "characters"),
        ({"unexpected": ("debian",)}, "unexpected argument 'debian'", "command line", "--element"),
        ({"os": "fedora", "size": "2"}, "at least 3 GB, not 2", "--size", "--size 3"),
        ({"release": ""}, "release", "--release", "noble"),
        ({"release": "$(reboot)"}, "release", "--release", "noble"),
        ({"os": "rocky", "kernel": "x"}, "--kernel cannot be chosen", "--kernel", "leave"),
        ({"root_password": ""}, "empty", "--root-password", None),
        ({"root_password": "a\nb"}, "line break", "--root-password", None),
        ({"logfile": "/nowhere/l"}, "/nowhere does not exist", "--logfile", "mkdir"),
        ({"logfile": "/tmp"}, "is a directory", "--logfile", "file"),
        ({"work_dir": "/etc/passwd"}, "not a directory", "--work-dir", None),
        ({"work_dir": "/tmp/a b"}, "white space", "--work-dir", None),
        ({"env": ("FOO",)}, "'FOO' is not NAME=VALUE", "--env", "e.g."),
        ({"env": ("1-TOKEN=canary",)}, "is not NAME=VALUE", "--env", "e.g."),
        ({"env": ("DIB_PASSWORD=x",)}, "written into the image", "--env", "--root-password"),
        ({"env": ("DIB_RELEASE=x",)}, "DIB_RELEASE", "--env", "use --release"),
        ({"env": ("ELEMENTS_PATH=x",)}, "ELEMENTS_PATH", "--env", "export"),
    ],
)
def test_what_is_refused(options: dict[str, Any], what: str | None, where: str | None, hint: str | None) -> None:
    if what is None:
        assert read(options).output.name == next(iter(options.values()))
        return
    (problem,) = problems(options)
    assert what in problem.message
    assert problem.where == where
    assert hint is None or hint in (problem.hint or "")
    assert "canary" not in str(problem)


def test_the_problem_names_the_variable_that_the_value_came_from() -> None:
    (problem,) = problems({"size": "x"}, sources={"size": Source.ENVIRONMENT})
    assert problem.where == "DISKIMAGE_CREATE_SIZE"


def test_the_problem_names_a_variable_of_diskimage_builders() -> None:
    (problem,) = problems({}, {"DIB_RELEASE": "$(id)"})
    assert problem.where == "DIB_RELEASE"
    (problem,) = problems({}, {"TMPDIR": "/tmp/a b"})
    assert "white space" in problem.message
    assert problem.where == "TMPDIR"


def test_nothing_is_in_the_way_of_the_files_beside_an_image(tmp_path: Path) -> None:
    for name in ("x.log", "x.tar", "x.qcow2.json"):
        (tmp_path / name).mkdir()
    found = problems({"output": str(tmp_path / "x"), "type": "qcow2,tar"})
    assert [Path(problem.message.split()[0]).name for problem in found] == ["x.log", "x.qcow2.json", "x.tar"]


def test_a_current_directory_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tmp_path.rmdir()
    with pytest.raises(InputError, match="the current directory does not exist any more"):
        config.Request({}, {}, {}, HOST)


def test_rhel_needs_a_local_image() -> None:
    (problem,) = problems({"os": "rhel"})
    assert problem.where == "DIB_LOCAL_IMAGE"
    assert problem.hint
    assert read({"os": "rhel"}, {"DIB_LOCAL_IMAGE": "/srv/rhel.qcow2"}).release == "10"
    assert read({"os": "rhel", "env": ("DIB_LOCAL_IMAGE=/srv/rhel.qcow2",)}).os == "rhel"
    assert len(problems({"os": "rhel", "size": "2"})) == 2


def test_local_elements_need_a_path() -> None:
    (problem,) = problems({}, {"DIB_LOCAL_ELEMENTS": "mine"})
    assert problem.where == "DIB_LOCAL_ELEMENTS"
    assert "DIB_LOCAL_ELEMENTS_PATH" in problem.hint


def test_all_problems_at_once() -> None:
    options = {"arch": "x", "backend": "y", "os": "z", "type": "w", "size": "0", "output": "/nowhere/a", "env": ("=",)}
    found = problems({**options, "unexpected": ("a", "b")}, {"DIB_LOCAL_ELEMENTS": "mine"})
    assert {problem.where for problem in found} == {
        *("--arch", "--backend", "--os", "--type", "--size", "--output", "--env", "command line"),
        "DIB_LOCAL_ELEMENTS",
    }
    assert len(found) == 10


@given(options=st.fixed_dictionaries({}, optional={name: st.sampled_from(some) for name, some in VALID.items()}))
@settings(max_examples=150)
def test_any_combination_of_valid_options_is_a_specification(options: dict[str, Any]) -> None:
    spec = read(options, {"DIB_LOCAL_IMAGE": "/x"})
    assert spec.types
    assert spec.size_gib >= 3
    assert len(set(spec.elements)) == len(spec.elements)


texts = st.text(max_size=20) | st.sampled_from(["", "\0", ".qcow2", "{release}", "a" * 400, "/", "..", "~", "~x/y"])


@given(
    options=st.fixed_dictionaries(
        {},
        optional={
            name: st.lists(texts, max_size=2) if name in ("element", "package", "env") else texts
            for name in VALID.keys() - {"trace"}
        },
    ),
    environ=st.dictionaries(
        st.sampled_from(["DIB_RELEASE", "DIB_ELEMENTS", "DIB_LOCAL_ELEMENTS", "USE_PYTHON3", "AMP_element_sequence"])
        | st.from_regex(r"\ADIB_[A-Z]{1,4}\Z"),
        texts,
        max_size=3,
    ),
)
@settings(max_examples=250)
def test_garbage_is_refused_and_never_crashes(options: dict[str, Any], environ: dict[str, str]) -> None:
    found = ()
    try:
        assert read(options, environ).types
    except InputError as error:
        found = error.problems
    assert all(problem.message and problem.where for problem in found)


def test_elements_are_looked_for_in_the_order_of_the_specification(tmp_path: Path) -> None:
    for name in ("octavia/elements", "local", "one", "two", "tie/elements", "dib/diskimage_builder/elements", "ours"):
        (tmp_path / name).mkdir(parents=True)
    environ = {
        "OCTAVIA_REPO_PATH": str(tmp_path / "octavia"),
        "DIB_LOCAL_ELEMENTS_PATH": str(tmp_path / "local"),
        "ELEMENTS_PATH": f"{tmp_path}/one:{tmp_path}/two",
        "ELEMENTS_REPO_PATH": str(tmp_path / "tie"),
        "DIB_REPO_PATH": str(tmp_path / "dib"),
    }
    found = elements.search_path(environ, tmp_path / "ours", tmp_path / "builtin")
    assert [str(path.relative_to(tmp_path)) for path in found] == [
        *("octavia/elements", "local", "one", "two", "ours", "tie/elements", "dib/diskimage_builder/elements")
    ]
    gone = {**environ, "OCTAVIA_REPO_PATH": "/nowhere", "ELEMENTS_PATH": "/gone"}
    with pytest.raises(InputError) as caught:
        elements.search_path(gone, tmp_path / "ours", tmp_path)
    assert [problem.where for problem in caught.value.problems] == ["OCTAVIA_REPO_PATH", "ELEMENTS_PATH"]


def test_a_request_does_not_show_secrets() -> None:
    shown = repr(request({"root_password": "canary"}, {"A_TOKEN": "canary"}))
    assert "canary" not in shown
