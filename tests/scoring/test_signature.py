"""Signatures over a record's id: who signed, what it covers, and keys that are none."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from glia_bench.errors import GliaBenchError
from glia_bench.scoring.record import read_record, record_id, write_record
from glia_bench.scoring.signature import read_private_key, read_public_key, sign_record, verify_signature

RECORD: dict[str, Any] = {"schema": 1, "results_id": "", "trials": [], "summary": [], "environment": {"numpy": "2"}}
RECORD = {**RECORD, "id": record_id(RECORD)}
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))


def test_a_signature_names_its_key_and_leaves_the_id_alone() -> None:
    """Signed twice the record is the same, and its id does not cover the signature."""
    signed = sign_record(RECORD, KEY)
    public = KEY.public_key().public_bytes_raw().hex()
    assert verify_signature(signed) == verify_signature(signed, KEY.public_key()) == public
    assert signed["signature"]["algorithm"] == "ed25519"
    assert record_id(signed) == RECORD["id"]
    assert sign_record(signed, KEY) == signed
    assert verify_signature(sign_record(signed, OTHER)) != public


def test_the_signature_is_over_the_id_in_hexadecimal() -> None:
    """Any tool that knows ed25519 can check it: the message is the 64 characters of the id."""
    signed = sign_record(RECORD, KEY)
    KEY.public_key().verify(bytes.fromhex(signed["signature"]["value"]), RECORD["id"].encode())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"environment": {"numpy": "1"}}, "was altered after it was signed"),
        ({"signature": None}, "must be signed"),
        ({"signature": {"algorithm": "none"}}, "must hold algorithm ed25519"),
        ({"signature": "yes"}, "must hold algorithm ed25519"),
    ],
)
def test_what_does_not_hold_is_refused(changes: dict[str, Any], message: str) -> None:
    """An altered record, no signature, and what only looks like one."""
    with pytest.raises(GliaBenchError, match=message):
        verify_signature({**sign_record(RECORD, KEY), **changes})


def test_a_signature_by_another_key_is_refused() -> None:
    """A good signature by a stranger is not that of the key asked for; nor can a stranger name that key."""
    theirs = sign_record(RECORD, OTHER)
    with pytest.raises(GliaBenchError, match="must be by the key given"):
        verify_signature(theirs, KEY.public_key())
    theirs["signature"]["public_key"] = KEY.public_key().public_bytes_raw().hex()
    with pytest.raises(GliaBenchError, match="must be over this record's id"):
        verify_signature(theirs, KEY.public_key())


def test_a_signed_record_is_read_back(tmp_path: Path) -> None:
    """Writing and reading keeps the signature."""
    from glia_bench.scoring.record import build_record

    signed = sign_record(build_record(suite=None, trials=[], summary=[], environment={}), KEY)
    write_record(tmp_path, signed)
    assert verify_signature(read_record(tmp_path), KEY.public_key())


def test_keys_are_read_from_pem_files(tmp_path: Path) -> None:
    """Private and public halves as written by any library."""
    private, public = tmp_path / "key.pem", tmp_path / "key.pub.pem"
    private.write_bytes(KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    signed = sign_record(RECORD, read_private_key(private))
    assert verify_signature(signed, read_public_key(public))


def test_the_documented_commands_make_keys(tmp_path: Path) -> None:
    """OpenSSL's two lines, where it is installed."""
    lines = (
        ("openssl", "genpkey", "-algorithm", "ed25519", "-out", "key.pem"),
        ("openssl", "pkey", "-in", "key.pem", "-pubout", "-out", "key.pub.pem"),
    )
    try:
        for line in lines:
            subprocess.run(line, cwd=tmp_path, check=True, capture_output=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("no OpenSSL with ed25519")
    signed = sign_record(RECORD, read_private_key(tmp_path / "key.pem"))
    assert verify_signature(signed, read_public_key(tmp_path / "key.pub.pem"))


def test_what_is_no_key_is_said_plainly(tmp_path: Path) -> None:
    """Absent, garbage, the wrong half, the wrong kind, and one with a password."""
    file = tmp_path / "key.pem"
    with pytest.raises(GliaBenchError, match="cannot be read"):
        read_private_key(file)
    file.write_text("key")
    with pytest.raises(GliaBenchError, match="must be an ed25519 private key in PEM"):
        read_private_key(file)
    with pytest.raises(GliaBenchError, match="must be a public key in PEM"):
        read_public_key(file)
    file.write_bytes(KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(GliaBenchError, match="must be a public key in PEM"):
        read_public_key(file)
    file.write_bytes(KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")))
    with pytest.raises(GliaBenchError, match="without a password"):
        read_private_key(file)
    curve = ec.generate_private_key(ec.SECP256R1())
    file.write_bytes(curve.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(GliaBenchError, match=r"must be an ed25519 key \(got "):
        read_private_key(file)
    file.write_bytes(curve.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(GliaBenchError, match=r"must be an ed25519 key \(got "):
        read_public_key(file)
