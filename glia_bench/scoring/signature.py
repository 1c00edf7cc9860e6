"""Who vouches for a result: an ed25519 signature over its `id`, and so over every byte of the record.

The signature and the public key stand in the record beside the `id`, which does not cover them: a result can be signed
after it was made, or by another key, and stays the same result. Who holds a key, and how it came to the reader, is not
modelled: publish the public key where readers of your results find it. Keys are PEM files, as OpenSSL writes them:

    openssl genpkey -algorithm ed25519 -out key.pem
    openssl pkey -in key.pem -pubout -out key.pub.pem
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from glia_bench.errors import GliaBenchError
from glia_bench.scoring.record import ResultRecord, record_id

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

ALGORITHM = "ed25519"


def read_private_key(path: Path) -> "Ed25519PrivateKey":
    """Read a signer's key from an unencrypted PEM file.

    Raises:
        GliaBenchError: If it is not there, or holds something else.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(_read(path), password=None)
    except (ValueError, TypeError) as error:
        raise GliaBenchError(
            f"{path} must be an ed25519 private key in PEM without a password ({type(error).__name__}); "
            f"`openssl genpkey -algorithm ed25519 -out {path}` makes one"
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise GliaBenchError(f"{path} must be an ed25519 key (got {type(key).__name__.strip('_')})")
    return key


def read_public_key(path: Path) -> "Ed25519PublicKey":
    """Read a signer's public key from a PEM file.

    Raises:
        GliaBenchError: If it is not there, or holds something else.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(_read(path))
    except ValueError:
        raise GliaBenchError(
            f"{path} must be a public key in PEM; `openssl pkey -in KEY -pubout -out {path}` makes one"
        ) from None
    if not isinstance(key, Ed25519PublicKey):
        raise GliaBenchError(f"{path} must be an ed25519 key (got {type(key).__name__.strip('_')})")
    return key


def sign_record(record: ResultRecord, key: "Ed25519PrivateKey") -> ResultRecord:
    """Return the record with a signature in place of any that it had."""
    signature = {
        "algorithm": ALGORITHM,
        "public_key": key.public_key().public_bytes_raw().hex(),
        "value": key.sign(record_id(record).encode()).hex(),
    }
    return {**record, "signature": signature}


def verify_signature(record: ResultRecord, key: "Ed25519PublicKey | None" = None) -> str:
    """Return the public key, in hexadecimal, that signed a record.

    Args:
        record: A signed record; its `id` is computed anew.
        key: Whose signature it must be; left out, that of the key in the record, whoever holds it.

    Raises:
        GliaBenchError: If there is no signature, it is by another key, or it does not hold.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    fields: Any = record.get("signature")
    if fields is None:
        raise GliaBenchError("the record must be signed (it has no signature); `glia-bench run --sign KEY` signs")
    try:
        if fields["algorithm"] != ALGORITHM:
            raise ValueError(fields["algorithm"])
        signer = Ed25519PublicKey.from_public_bytes(bytes.fromhex(fields["public_key"]))
        value = bytes.fromhex(fields["value"])
    except (TypeError, ValueError, KeyError):
        raise GliaBenchError(
            f"signature must hold algorithm {ALGORITHM}, public_key and value in hexadecimal"
        ) from None
    named: str = fields["public_key"]
    if key is not None and key.public_bytes_raw().hex() != named:
        wanted = key.public_bytes_raw().hex()
        raise GliaBenchError(f"signature must be by the key given ({wanted[:12]}…); it is by {named[:12]}…")
    try:
        signer.verify(value, record_id(record).encode())
    except InvalidSignature:
        raise GliaBenchError(
            f"signature by {named[:12]}… must be over this record's id (it is not): "
            f"the record was altered after it was signed, or the signature belongs to another"
        ) from None
    return named


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise GliaBenchError(f"key file {path} cannot be read ({error.strerror})") from None
