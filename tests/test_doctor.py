"""`glia-bench doctor`: what it finds here, and what it calls a problem."""

import json
from pathlib import Path

import pytest

from glia_bench import doctor
from glia_bench.cli import main


def test_it_says_what_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    """Versions, cache, processor, memory and extras, as JSON and as short text; this machine has no problem."""
    assert main(["doctor", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["packages"]["numba"] == facts["build"]["numba"]
    assert {"dask", "dev"} <= facts["extras"].keys()
    assert facts["extras"]["dev"] == []
    assert facts["cache"]["kernels"].keys() == doctor.KERNELS.keys()
    assert facts["memory"]["total_bytes"] > facts["memory"]["available_bytes"] > 0
    assert facts["cpu"]["num"] >= facts["cpu"]["num_usable"] >= 1
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert facts["cache"]["folder"] in text
    assert len(text.splitlines()) < 15


def test_it_says_what_is_wrong(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache that cannot be written, too little memory, missing packages: a line each, and exit code 1."""
    there = doctor._version
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/proc/cache")
    monkeypatch.setattr(doctor, "_version", lambda name: None if name in ("rich", "distributed") else there(name))
    monkeypatch.setattr(doctor, "_memory", lambda: {"total_bytes": 1 << 31, "available_bytes": 1 << 28})
    assert main(["doctor"]) == 1
    text = capsys.readouterr().out
    assert "dask (missing: distributed)" in text
    assert "/proc/cache" in text
    assert "(not writable)" in text
    assert "compiled    nothing; not yet: plain engine" in text
    for problem in ("package rich is missing", "the cache folder must be writable", "0.2 GiB of memory is available"):
        assert f"problem     {problem}" in text


def test_it_sees_which_kernels_are_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Index files of Numba in this build's folder name the kernels; looking makes no folder."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    cache = doctor._cache()
    assert list(tmp_path.iterdir()) == []
    assert not any(cache["kernels"].values())
    folder = Path(cache["folder"]) / "sim_0"
    folder.mkdir(parents=True)
    (folder / "compiled.run_plain-20.py311.nbi").touch()
    assert doctor._cache()["kernels"] == {"run_plain": True, "run_full": False, "run_outside": False}
