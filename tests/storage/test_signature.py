"""What terp signs ssh-keygen verifies, and the other way round; a key that others can read is not used."""

import os
import subprocess
from pathlib import Path

import pytest

from terp.storage.errors import BadKey
from terp.storage.signature import SigningKey, signer

DATA = b"0123  index.zarr.zip\n"


def call(*words: object, data: bytes | None = None) -> str:
    done = subprocess.run([str(word) for word in words], input=data, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def openssh(folder: Path, kind: str = "ed25519", passphrase: str = "") -> Path:
    call("ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "", "-f", folder / "key")
    return folder / "key"


def pem(folder: Path, kind: str = "ed25519") -> Path:
    call("openssl", "genpkey", "-algorithm", kind, "-out", folder / "key.pem")
    (folder / "key.pem").chmod(0o600)
    return folder / "key.pem"


def verified(folder: Path, data: bytes, signature: bytes) -> subprocess.CompletedProcess[bytes]:
    """What ssh-keygen says of a signature, where a reader knows the maker's key."""
    (folder / "allowed").write_text(f"maker@example.org {(folder / 'key.pub').read_text()}")
    (folder / "sums.sig").write_bytes(signature)
    words = ["ssh-keygen", "-Y", "verify", "-f", "allowed", "-I", "maker@example.org", "-n", "file", "-s", "sums.sig"]
    return subprocess.run(words, cwd=folder, input=data, capture_output=True)


def test_ssh_keygen_verifies_what_is_signed(tmp_path: Path) -> None:
    key = SigningKey.load(openssh(tmp_path))
    assert verified(tmp_path, DATA, key.sign(DATA)).returncode == 0
    assert verified(tmp_path, DATA + b"\n", key.sign(DATA)).returncode != 0
    assert signer(DATA, key.sign(DATA)) in call("ssh-keygen", "-l", "-f", tmp_path / "key.pub")


def test_it_is_what_ssh_keygen_itself_would_sign(tmp_path: Path) -> None:
    key = openssh(tmp_path)
    theirs = call("ssh-keygen", "-q", "-Y", "sign", "-f", key, "-n", "file", data=DATA)
    assert SigningKey.load(key).sign(DATA).decode() == theirs


def test_a_pem_key_of_openssl_signs_too(tmp_path: Path) -> None:
    key = SigningKey.load(pem(tmp_path))
    der = subprocess.run(
        ["openssl", "pkey", "-in", tmp_path / "key.pem", "-pubout", "-outform", "DER"], capture_output=True, check=True
    ).stdout
    import base64

    wire = b"\0\0\0\x0bssh-ed25519\0\0\0 " + der[-32:]
    (tmp_path / "key.pub").write_text(f"ssh-ed25519 {base64.b64encode(wire).decode()}\n")
    assert verified(tmp_path, DATA, key.sign(DATA)).returncode == 0


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620])
def test_a_key_that_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    key = openssh(tmp_path)
    key.chmod(mode)
    with pytest.raises(BadKey, match=f"can be read by others \\(mode {mode:04o}\\): chmod 600"):
        SigningKey.load(key)


def test_a_key_that_cannot_sign_is_refused_with_its_reason(tmp_path: Path) -> None:
    for name, kind in (("rsa", "rsa"), ("ecdsa", "ecdsa")):
        (tmp_path / name).mkdir()
        with pytest.raises(BadKey, match="is of another type"):
            SigningKey.load(openssh(tmp_path / name, kind))
    with pytest.raises(BadKey, match="is of another type"):
        SigningKey.load(pem(tmp_path, "x25519"))
    (tmp_path / "secret").mkdir()
    with pytest.raises(BadKey, match="has a passphrase"):
        SigningKey.load(openssh(tmp_path / "secret", passphrase="a long one"))
    key = openssh(tmp_path)
    (tmp_path / "key.pub").chmod(0o600)
    with pytest.raises(BadKey, match="is no private key"):
        SigningKey.load(tmp_path / "key.pub")
    key.write_bytes(key.read_bytes()[:100])
    with pytest.raises(BadKey, match="is no private key"):
        SigningKey.load(key)
    with pytest.raises(BadKey, match="cannot be read"):
        SigningKey.load(tmp_path)
    with pytest.raises(BadKey, match=r"cannot be read \(No such file"):
        SigningKey.load(tmp_path / "none")


def test_the_environment_names_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TERP_SIGNING_KEY", raising=False)
    assert SigningKey.here() is None
    monkeypatch.setenv("TERP_SIGNING_KEY", str(openssh(tmp_path)))
    assert SigningKey.here() is not None
    assert os.environ["TERP_SIGNING_KEY"]


@pytest.mark.parametrize("change", [b"", b"no signature", "cut", "flipped", "of others"])
def test_a_signature_that_is_none_is_told(tmp_path: Path, change: bytes | str) -> None:
    good = SigningKey.load(openssh(tmp_path)).sign(DATA)
    whole = good.decode().replace("\n", "")
    bad = {
        "cut": good[:150],
        "flipped": whole.replace(whole[200], "A" if whole[200] != "A" else "B").encode(),
        "of others": good,
    }
    with pytest.raises(BadKey):
        signer(DATA + b"x" * (change == "of others"), bad[change] if isinstance(change, str) else change)
