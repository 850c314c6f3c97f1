"""Signatures are checked by the programs that made their formats, and ours checks theirs."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from diskimage_create.errors import HostError, InputError
from diskimage_create.provenance import checking, dsse, signing

pytestmark = pytest.mark.subprocess("minisign, openssl and gpg make keys, and check signatures")

DATA = b"of this\n"
Ask = Callable[[], str | None]
NOBODY: Ask = lambda: None  # noqa: E731


def run(*argv: str | Path, input: str = "") -> str:
    done = subprocess.run(argv, input=input, text=True, capture_output=True, check=False)
    assert done.returncode == 0, f"{argv}: {done.stderr}"
    return done.stdout


def need(program: str) -> None:
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")


def signed(directory: Path, signer: signing.Signer) -> tuple[Path, Path]:
    file = directory / "file"
    file.write_bytes(DATA)
    signature = directory / f"file{signer.extension}"
    signature.write_bytes(signer.sign("file", DATA))
    return file, signature


def require_only_ours(checker: checking.Checker, signature: bytes, foreign: bytes) -> None:
    """The key accepts a signature, and neither another one nor other data."""
    checker.check(DATA, signature)
    for data, other in (
        (DATA + b"x", signature),
        (DATA, foreign),
        (DATA, b""),
        (DATA, signature[: len(signature) // 2]),
    ):
        with pytest.raises(checking.BadSignature):
            checker.check(data, other)


def minisign_keys(directory: Path, name: str, password: str | None = None) -> tuple[Path, Path]:
    need("minisign")
    secret, public = directory / f"{name}.key", directory / f"{name}.pub"
    how = ["-W"] if password is None else []
    run("minisign", "-G", *how, "-p", public, "-s", secret, input=f"{password}\n{password}\n" if password else "")
    return secret, public


def pem_keys(directory: Path, name: str, *how: str) -> tuple[Path, Path]:
    need("openssl")
    secret, public = directory / f"{name}.pem", directory / f"{name}.pub.pem"
    run("openssl", "genpkey", "-algorithm", "ed25519", "-out", secret, *how)
    passin = ["-passin", "pass:s3cret"] if how else []
    run("openssl", "pkey", "-in", secret, *passin, "-pubout", "-out", public)
    return secret, public


@pytest.fixture
def gpg_home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A keyring of its own, in a directory whose name is short enough for the agent's socket."""
    need("gpg")
    need("gpg-agent")
    home = Path(tempfile.mkdtemp(prefix="gpg-"))
    monkeypatch.setenv("GNUPGHOME", str(home))
    yield home
    subprocess.run(["gpgconf", "--kill", "all"], check=False, capture_output=True)
    shutil.rmtree(home)


def gpg_key(user: str, password: str = "") -> str:
    how = ["--batch", "--pinentry-mode", "loopback", "--passphrase-fd", "0", "--quick-generate-key", user, "ed25519"]
    run("gpg", *how, "sign", "never", input=f"{password}\n")
    (fingerprint,) = signing.gpg_fingerprints(["--list-keys", user])
    return fingerprint


def test_minisign_checks_our_signature(tmp_path: Path) -> None:
    secret, public = minisign_keys(tmp_path, "ours")
    file, signature = signed(tmp_path, signing.load(str(secret)))
    assert "file:file" in run("minisign", "-V", "-p", public, "-m", file, "-x", signature)


def test_we_check_signatures_of_minisign(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(DATA)
    signatures = []
    for name in ("ours", "theirs"):
        secret, _ = minisign_keys(tmp_path, name)
        run("minisign", "-S", "-s", secret, "-m", tmp_path / "file", "-x", tmp_path / name)
        signatures.append((tmp_path / name).read_bytes())
    public = tmp_path / "ours.pub"
    for key in (str(public), public.read_text().splitlines()[1]):
        checker = checking.load(key)
        require_only_ours(checker, *signatures)
        assert checker.identifier in public.read_text()


@pytest.mark.full
def test_a_key_of_minisign_with_a_passphrase(tmp_path: Path) -> None:
    """It takes a gigabyte of memory to open one, as in minisign itself."""
    secret, public = minisign_keys(tmp_path, "locked", "s3cret")
    file, signature = signed(tmp_path, signing.load(str(secret), lambda: "s3cret"))
    run("minisign", "-V", "-p", public, "-m", file, "-x", signature)
    with pytest.raises(InputError, match="its passphrase is another"):
        signing.load(str(secret), lambda: "another")
    with pytest.raises(InputError, match="nobody is here to be asked"):
        signing.load(str(secret), NOBODY)


@pytest.mark.parametrize("how", [(), ("-aes256", "-pass", "pass:s3cret")], ids=["plain", "with a passphrase"])
def test_openssl_checks_our_signature(tmp_path: Path, how: tuple[str, ...]) -> None:
    secret, public = pem_keys(tmp_path, "ours", *how)
    file, signature = signed(tmp_path, signing.load(str(secret), lambda: "s3cret"))
    verify = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", public, "-rawin", "-in", file]
    assert "Successfully" in run(*verify, "-sigfile", signature)
    foreign = signing.load(str(pem_keys(tmp_path, "theirs")[0])).sign("file", DATA)
    require_only_ours(checking.load(str(public)), signature.read_bytes(), foreign)


def test_we_check_signatures_of_openssl(tmp_path: Path) -> None:
    secret, public = pem_keys(tmp_path, "ours")
    (tmp_path / "file").write_bytes(DATA)
    run("openssl", "pkeyutl", "-sign", "-inkey", secret, "-rawin", "-in", tmp_path / "file", "-out", tmp_path / "sig")
    checking.load(str(public)).check(DATA, (tmp_path / "sig").read_bytes())


def test_a_pem_key_needs_its_passphrase(tmp_path: Path) -> None:
    secret, _ = pem_keys(tmp_path, "ours", "-aes256", "-pass", "pass:s3cret")
    with pytest.raises(InputError, match="nobody is here to be asked"):
        signing.load(str(secret))
    with pytest.raises(InputError, match="its passphrase is another"):
        signing.load(str(secret), lambda: "another")


@pytest.mark.parametrize("password", ["", "s3cret"])
def test_gpg_checks_our_signature(tmp_path: Path, gpg_home: Path, password: str) -> None:
    fingerprint = gpg_key("Builder <builder@example.org>", password)
    other = gpg_key("Another <another@example.org>")
    ask = (lambda: password) if password else NOBODY
    file, signature = signed(tmp_path, signing.load("gpg:builder@example.org", ask))
    run("gpg", "--batch", "--verify", signature, file)
    foreign = signing.load(f"gpg:{other}").sign("file", DATA)
    require_only_ours(checking.load(f"gpg:{fingerprint}"), signature.read_bytes(), foreign)
    with pytest.raises(checking.BadSignature, match="of another key"):
        checking.load(f"gpg:{other}").check(DATA, signature.read_bytes())


def test_a_gpg_key_with_another_passphrase(gpg_home: Path) -> None:
    gpg_key("Builder <builder@example.org>", "s3cret")
    with pytest.raises(InputError, match="cannot be used"):
        signing.load("gpg:builder@example.org", lambda: "another").sign("file", DATA)


def test_a_gpg_key_that_nobody_has(gpg_home: Path) -> None:
    for load in (signing.load, checking.load):
        with pytest.raises(InputError, match="GnuPG has no"):
            load("gpg:nobody@example.org")


@pytest.mark.parametrize("keys", [minisign_keys, pem_keys])
def test_both_kinds_of_ed25519_keys_sign_an_envelope(tmp_path: Path, keys: Callable[..., tuple[Path, Path]]) -> None:
    secret, public = keys(tmp_path, "ours")
    payload = b'{"_type": "x"}'
    made = signing.load(str(secret)).sign_raw(dsse.signed_bytes(payload))
    assert made is not None
    envelope = dsse.parse(dsse.Envelope(payload, (made,)).as_line())
    checker = checking.load(str(public))
    ((key, signature),) = envelope.signatures
    assert (envelope.payload, key) == (payload, checker.identifier)
    checker.check_raw(dsse.signed_bytes(payload), signature)
    with pytest.raises(checking.BadSignature):
        checker.check_raw(dsse.signed_bytes(payload + b" "), signature)


def test_what_an_envelope_signs() -> None:
    """The example of the protocol's description, with our type of payload."""
    assert dsse.signed_bytes(b"hello world") == b"DSSEv1 28 application/vnd.in-toto+json 11 hello world"


def test_keys_that_are_none(tmp_path: Path) -> None:
    need("openssl")
    rsa, public_rsa = tmp_path / "rsa.pem", tmp_path / "rsa.pub"
    run("openssl", "genpkey", "-algorithm", "rsa", "-pkeyopt", "rsa_keygen_bits:2048", "-out", rsa)
    run("openssl", "pkey", "-in", rsa, "-pubout", "-out", public_rsa)
    broken = {
        "empty": b"",
        "text": b"hello",
        "minisign": b"untrusted comment: x\nAAAA\n",
        "one-line": b"untrusted comment: x",
        "pem": b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
    }
    for name, content in broken.items():
        (tmp_path / name).write_bytes(content)
    for load in (signing.load, checking.load):
        for name in (*broken, "missing", "", "rsa.pem", "rsa.pub"):
            with pytest.raises(InputError, match=r"the key .* cannot be (used|read)"):
                load(str(tmp_path / name))
    with pytest.raises(InputError):
        checking.load("RW" + "A" * 53)


@pytest.mark.parametrize("keys", [minisign_keys, pem_keys])
def test_the_other_half_of_a_key(tmp_path: Path, keys: Callable[..., tuple[Path, Path]]) -> None:
    secret, public = keys(tmp_path, "ours")
    with pytest.raises(InputError, match="it is a secret key"):
        checking.load(str(secret))
    with pytest.raises(InputError, match=r"it is (a public|no secret) key"):
        signing.load(str(public))


@pytest.mark.parametrize("keys", [minisign_keys, pem_keys])
def test_a_key_instead_of_its_file_is_not_shown(tmp_path: Path, keys: Callable[..., tuple[Path, Path]]) -> None:
    secret, _ = keys(tmp_path, "ours")
    for text in (secret.read_text(), secret.read_text().strip(), max(secret.read_text().splitlines(), key=len)):
        for load in (signing.load, checking.load):
            with pytest.raises(InputError) as caught:
                load(text)
            assert "and not the key itself" in str(caught.value)
            assert text.splitlines()[-1] not in str(caught.value)


def test_no_key_is_named() -> None:
    """As with ``--key "$KEY"``: nothing was checked, where a signature was wanted."""
    for load in (signing.load, checking.load):
        with pytest.raises(InputError, match="no key is named"):
            load("")


def test_gpg_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing.process, "which", lambda name: None)
    for load in (signing.load, checking.load):
        with pytest.raises(HostError, match="GnuPG is not installed"):
            load("gpg:somebody")


def test_a_secret_key_is_in_no_text(tmp_path: Path) -> None:
    secret, _ = pem_keys(tmp_path, "ours")
    signer = signing.load(str(secret))
    text = base64.b64decode(secret.read_text().splitlines()[1])[-32:]
    assert text.hex() not in repr(signer)
    assert "object at" not in repr(signer)


def test_where_a_passphrase_comes_from(tmp_path: Path) -> None:
    file = tmp_path / "passphrase"
    file.write_text("from the file\n")
    named = {signing.PASSPHRASE_FILE: str(file)}
    assert signing.passphrase({signing.PASSPHRASE: "", **named})() == ""
    assert signing.passphrase(named)() == "from the file"
    assert signing.passphrase({}, lambda: "typed")() == "typed"
    assert signing.passphrase({})() is None
    with pytest.raises(InputError, match="cannot be read"):
        signing.passphrase({signing.PASSPHRASE_FILE: str(tmp_path / "none")})()


def test_no_passphrase_is_on_a_command_line(gpg_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gpg_key("Builder <builder@example.org>", "s3cret")
    seen: list[str] = []
    start = subprocess.Popen.__init__

    def note(self: subprocess.Popen[str], args: list[str], *rest: object, **named: object) -> None:
        seen.extend([*args, *(f"{key}={value}" for key, value in os.environ.items())])
        start(self, args, *rest, **named)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess.Popen, "__init__", note)
    signing.load("gpg:builder@example.org", lambda: "s3cret").sign("file", DATA)
    assert any("--detach-sign" in word for word in seen)
    assert not any("s3cret" in word for word in seen)
