"""Arrays that a design brings beside its text: `policy.npz` beside `policy.py`, bound to it by the constant WEIGHTS.

A name that the text annotates without giving it a value (`w1: FloatArray`) is an array of that file. WEIGHTS is the
file's SHA-256, so the hash of the text is the hash of the whole design. The file is read without pickle, within limits.
"""

import hashlib
import io
import re
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from glia_bench.errors import InvalidPolicyError

MAX_WEIGHTS_BYTES = 256 * 1024
"""Of the file, and of its arrays as they were saved."""
MAX_ARRAYS = 64
_DECLARED = re.compile(r"^WEIGHTS\s*[:=]", re.MULTILINE)


def declares_weights(source: str) -> bool:
    """Return whether a policy's text says that it comes with weights; executes nothing."""
    return _DECLARED.search(source) is not None


def read_weights(path: Path, source: str) -> bytes:
    """Return the content of the weights file of a policy file, empty if its text declares none.

    Args:
        path: The policy file; its weights are the .npz file of the same stem.
        source: Its text.

    Raises:
        InvalidPolicyError: If it declares weights and there is no such file, or it is too large or unreadable.
    """
    if not declares_weights(source):
        return b""
    file = path.with_suffix(".npz")
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_WEIGHTS_BYTES + 1)
    except OSError as error:
        raise InvalidPolicyError(
            f"{path}: it declares WEIGHTS, so {file.name} must lie beside it ({error.strerror})"
        ) from None
    if len(content) > MAX_WEIGHTS_BYTES:
        raise InvalidPolicyError(
            f"{file}: weights may have {MAX_WEIGHTS_BYTES} bytes (got more); use a smaller network"
        )
    return content


def arrays_of(weights: bytes, path: str) -> dict[str, npt.NDArray[np.float64]]:
    """Return the arrays of a weights file by name: read-only, float64, in C order.

    Args:
        weights: The file's content.
        path: How messages call the policy.

    Raises:
        InvalidPolicyError: If it is no .npz file, or an array has a name that Python has not, is none of float32 or
            float64, is not finite, or all are too many or too large.
    """
    arrays: dict[str, npt.NDArray[np.float64]] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(weights)) as archive:
            members = archive.infolist()
            if len(members) > MAX_ARRAYS or sum(member.file_size for member in members) > MAX_WEIGHTS_BYTES:
                raise InvalidPolicyError(
                    f"{path}: weights may be {MAX_ARRAYS} arrays of {MAX_WEIGHTS_BYTES} bytes together "
                    f"(got {len(members)} of {sum(member.file_size for member in members)})"
                )
            for member in members:
                name = member.filename.removesuffix(".npy")
                found = np.lib.format.read_array(io.BytesIO(archive.read(member)), allow_pickle=False)
                if not name.isidentifier() or name.startswith("__"):
                    raise InvalidPolicyError(f"{path}: an array of its weights must have a plain name (got {name!r})")
                if found.dtype not in (np.float32, np.float64) or not np.isfinite(found).all():
                    raise InvalidPolicyError(
                        f"{path}: array {name} of its weights must be finite float32 or float64 (got {found.dtype})"
                    )
                arrays[name] = np.ascontiguousarray(found, dtype=np.float64)
                arrays[name].flags.writeable = False
    except (
        zipfile.BadZipFile,
        ValueError,
        EOFError,
        OSError,
        NotImplementedError,
        RuntimeError,
        OverflowError,
    ) as error:
        raise InvalidPolicyError(
            f"{path}: its weights must be an .npz file without pickled objects ({type(error).__name__})"
        ) from None
    return arrays


def check_bound(declared: object, weights: bytes, path: str) -> None:
    """Check that the constant WEIGHTS is the hash of the weights.

    Raises:
        InvalidPolicyError: If it is not.
    """
    found = hashlib.sha256(weights).hexdigest()
    if declared != found:
        raise InvalidPolicyError(f"{path}: WEIGHTS must be the SHA-256 of its weights file, {found} (got {declared!r})")
