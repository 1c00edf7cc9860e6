"""`glia-bench verify`, `compare` and `cite`, and `run --sign` and `--split`, as their users meet them."""

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from records import LOAD, TASK, well_forged

from glia_bench.cli import main
from glia_bench.evaluation import sealed
from glia_bench.scoring.record import canonical, read_record

SMALL = ["--task", TASK, "--loads", str(LOAD), "--seeds", "2", "--no-report", "--policy", "llq", "--policy", "expert"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with keys, a signed result `r` with decision logs, and one of another policy, `s`."""
    folder = tmp_path_factory.mktemp("results")
    key = Ed25519PrivateKey.generate()
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (folder / "key.pub.pem").write_bytes(public)
    assert main(["run", *SMALL, "--out", str(folder / "r"), "--sign", str(folder / "key.pem"), "--decisions"]) == 0
    assert main(["run", *SMALL, "--policy", "hra", "--out", str(folder / "s")]) == 0
    return folder


@pytest.fixture(autouse=True)
def _in_the_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths on the command line are short."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "100")


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Run a command line here; return exit code, stdout and stderr."""
    code = main(arguments)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_a_signed_result_is_verified(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    """The verdict comes first; ids and signer are printed; the exit code is 0; replay says that it is one."""
    record = read_record(folder / "r")
    code, out, err = call(capsys, "verify", "r", "--key", "key.pub.pem")
    assert (code, err) == (0, "")
    num = len(record["trials"])
    assert out.startswith(f"verified: {num} of {num} trials gave the same again, bit for bit\n")
    assert record["id"] in out
    assert f"signed by   {record['signature']['public_key']}  (the key that you gave)" in out
    code, out, _ = call(capsys, "verify", "r", "--replay")
    assert code == 0
    assert out.startswith("verified: the recorded decisions of")
    assert "give --key to be sure whose that is" in out


def test_verify_prints_json_only(capsys: pytest.CaptureFixture[str]) -> None:
    """With --json, one object with the verdict."""
    code, out, err = call(capsys, "verify", "r/result.json", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["verified"] is True


def test_a_forged_result_is_not_verified(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    """The first difference is printed with both values and a reason; the exit code is 1."""

    def improve(record: dict[str, Any]) -> None:
        record["trials"][0]["cost"] /= 2.0

    forgery = well_forged(read_record(folder / "r"), improve)
    Path("forged.json").write_bytes(canonical(forgery))
    code, out, _ = call(capsys, "verify", "forged.json")
    assert code == 1
    first = forgery["trials"][0]
    assert out.startswith("NOT verified: ")
    assert f"first difference: cost of the trial of {first['policy']} on {TASK}, load {LOAD:g}, seed 0" in out
    assert f"recorded  {first['cost']}" in out
    assert f"here      {2 * first['cost']}" in out
    assert "the record was altered" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["verify", "nowhere"], "no result at nowhere"),
        (["verify", "s", "--key", "key.pem"], "must be a public key in PEM"),
        (["verify", "s", "--lengths", "nowhere.csv"], "nowhere.csv"),
        (["verify", "s", "--trace", "nowhere.csv"], "nowhere.csv cannot be read"),
        (["run", *SMALL, "--sign", "key.pub.pem", "--out", "t"], "must be an ed25519 private key in PEM"),
        (["compare", "r", "nowhere"], "no result at nowhere"),
        (["cite", "key.pem"], "must be a result record in JSON"),
    ],
)
def test_what_is_wrong_is_one_line(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    """Exit code 1 and one line on stderr; a wrong key is said before anything runs."""
    code, out, err = call(capsys, *arguments)
    assert (code, out) == (1, "")
    assert message in err
    assert err.count("\n") == 1
    assert not Path("t").exists()


def test_an_unsigned_result_has_no_signature_to_check(capsys: pytest.CaptureFixture[str]) -> None:
    """Asked for a key, it is refused; without one it is verified with a note."""
    code, out, _ = call(capsys, "verify", "s", "--key", "key.pub.pem")
    assert code == 1
    assert "wrong: the record must be signed" in out
    code, out, _ = call(capsys, "verify", "s")
    assert code == 0
    assert "note: the record is not signed" in out


def test_compare_pairs_two_results(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    """What both have is compared, what only one has is named; as text and as JSON."""
    code, out, err = call(capsys, "compare", "r", "s")
    assert (code, err) == (0, "")
    assert f"A {read_record(folder / 'r')['id'][:12]}" in out
    assert "1.000 [1.00, 1.00]" in out
    assert f"only in B: hra on {TASK} (2 cells)" in out
    code, out, _ = call(capsys, "compare", "r", "s", "--json")
    assert code == 0
    rows = {row["policy"]: row for row in json.loads(out)["rows"]}
    assert rows["llq"]["ratio"] == 1.0
    assert rows["llq"]["num_equal"] == rows["llq"]["num_cells"] == 2


def test_cite_prints_an_entry(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    """BibTeX on stdout, the same in JSON."""
    code, out, _ = call(capsys, "cite", "r")
    assert code == 0
    assert out.startswith("@misc{glia_bench_" + read_record(folder / "r")["id"][:12])
    _, as_json, _ = call(capsys, "cite", "r", "--json")
    assert json.loads(as_json)["bibtex"] + "\n" == out


def test_the_sealed_split_on_the_command_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a season one line says what is missing; with it the run prints its gaps."""
    monkeypatch.delenv(sealed.VARIABLE, raising=False)
    sealed.season_of_environment.cache_clear()
    code, _, err = call(capsys, "run", *SMALL, "--split", "sealed", "--out", "t")
    assert (code, err.count("\n")) == (1, 1)
    assert "GLIA_BENCH_SEALED" in err
    file = tmp_path / "season.json"
    sealed.main(["new", str(file), "--season", "autumn", "--task", TASK])
    monkeypatch.setenv(sealed.VARIABLE, str(file))
    sealed.season_of_environment.cache_clear()
    code, out, _ = call(capsys, "run", *SMALL, "--split", "both", "--out", "both")
    assert code == 0
    assert "gap to fresh seeds" in out
    assert "gap to perturbed seeds" in out
    sealed.season_of_environment.cache_clear()
