"""Weights beside a policy: bound to its text by their hash, read without pickle and within limits, part of a run."""

import hashlib
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from glia_bench.cli import main
from glia_bench.errors import InvalidPolicyError
from glia_bench.loading import load_policy
from glia_bench.weights import MAX_WEIGHTS_BYTES, arrays_of

SOURCE = '''"""Linear score of what waits on a replica."""

from glia_bench.features import Cluster, FloatArray, Memory, Replicas, Request

WEIGHTS = "{sha256}"
factors: FloatArray


def route(request: Request, replicas: Replicas, cluster: Cluster, memory: Memory) -> int:
    best = 0
    for i in range(1, cluster.num_replicas):
        if factors[0] * replicas.waiting[i] < factors[0] * replicas.waiting[best]:
            best = i
    return best
'''


def saved(**arrays: object) -> bytes:
    """Return an .npz file."""
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


def written(folder: Path, weights: bytes, sha256: str | None = None) -> Path:
    """Write the policy with its weights; return its path."""
    path = folder / "linear.py"
    path.write_text(SOURCE.format(sha256=sha256 or hashlib.sha256(weights).hexdigest()))
    path.with_suffix(".npz").write_bytes(weights)
    return path


def test_annotated_names_are_arrays_of_the_file(tmp_path: Path) -> None:
    """Hooks find them under their names: float64, read-only."""
    policy = load_policy(str(written(tmp_path, saved(factors=np.array([2.0, 3.0], np.float32)))))
    factors = policy.routing["route"].__globals__["factors"]
    assert (factors.tolist(), factors.dtype, factors.flags.writeable) == ([2.0, 3.0], np.float64, False)


def test_a_run_takes_them_along(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In a process of its own, compiled; the record holds them, so that the run can be verified without the file."""
    path = written(tmp_path, saved(factors=np.ones(1)))
    out = tmp_path / "out"
    small = ["--task", "routing/paper-v0", "--loads", "0.01", "--seeds", "2", "--no-report", "--out", str(out)]
    assert main(["run", *small, "--policy", str(path), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert {t["tier"] for t in record["trials"] if t["policy"] == "linear"} == {"compiled"}
    assert (out / "policies" / "linear.npz").read_bytes() == path.with_suffix(".npz").read_bytes()
    path.unlink()
    path.with_suffix(".npz").unlink()
    assert main(["verify", str(out)]) == 0


def test_other_weights_are_another_design(tmp_path: Path) -> None:
    """A file that was changed after the text is refused, with the hash that it should name."""
    path = written(tmp_path, saved(factors=np.ones(1)))
    other = saved(factors=np.zeros(1))
    path.with_suffix(".npz").write_bytes(other)
    with pytest.raises(InvalidPolicyError, match=f"must be the SHA-256 .* {hashlib.sha256(other).hexdigest()}"):
        load_policy(str(path))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """The message says which file must lie where."""
    path = written(tmp_path, b"")
    path.with_suffix(".npz").unlink()
    with pytest.raises(InvalidPolicyError, match=r"so linear.npz must lie beside it"):
        load_policy(str(path))


def test_a_large_file_is_not_read(tmp_path: Path) -> None:
    """Nor is more than the limit ever in memory."""
    with pytest.raises(InvalidPolicyError, match="weights may have"):
        load_policy(str(written(tmp_path, bytes(MAX_WEIGHTS_BYTES + 1))))


def bomb() -> bytes:
    """Return a small file that says it holds much."""
    return saved(factors=np.zeros(1 << 20))


def named(name: str) -> bytes:
    """Return a file with an array of some name."""
    file, array = io.BytesIO(), io.BytesIO()
    np.save(array, np.ones(1))
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, array.getvalue())
    return file.getvalue()


@pytest.mark.parametrize(
    ("weights", "rule"),
    [
        (b"", "must be an .npz file"),
        (b"PK\x03\x04 and no more", "must be an .npz file"),
        (saved(factors=np.array([{}], dtype=object)), "must be an .npz file without pickled objects"),
        (saved(factors=np.array([np.nan])), "must be finite"),
        (saved(factors=np.array([1])), "must be finite float32 or float64 .got int64"),
        (bomb(), "weights may be"),
        (named("../up.npy"), "plain name"),
        (named("__builtins__.npy"), "plain name"),
        (named("factors.npy")[:-30], "must be an .npz file"),
    ],
)
def test_what_is_no_weights_file(weights: bytes, rule: str) -> None:
    """Neither pickle, nor more than the limit, nor what could be no name is ever used."""
    with pytest.raises(InvalidPolicyError, match=rule):
        arrays_of(weights, "policy.py")
