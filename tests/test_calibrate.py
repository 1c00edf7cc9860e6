"""Calibration: a known machine is found again from its log, errors are on unseen rows, and bad logs are refused."""

import csv
import json
import random
from pathlib import Path

import numpy as np
import pytest

from glia_bench.calibrate import COLUMNS, MIN_ROWS, calibrate_file
from glia_bench.errors import InvalidSpecError
from glia_bench.sim.latency import latency_table


def machine_s(tokens: int, decodes: int, context: int, chunks: int, pairs: int) -> float:
    """Seconds of an invented machine: flat to 128 tokens, then linear, plus attention."""
    return 8e-3 + 60e-6 * max(0, tokens - 128) + 5e-6 * decodes + 80e-9 * context + 300e-6 * chunks + 2e-9 * pairs


def rows(num: int, noise: float = 0.0) -> list[list[float]]:
    """A log of random iterations; seed 7."""
    draw = random.Random(7)
    log = []
    for _ in range(num):
        decodes = draw.choice([0, 1, 4, 16, 60, 120])
        chunks = draw.choice([0, 0, 1, 2]) if decodes else 1
        sizes = [draw.randint(1, 700) for _ in range(chunks)]
        cached = [draw.choice([0, 512]) for _ in sizes]
        context = sum(draw.randint(1, 3000) for _ in range(decodes))
        pairs = sum(2 * c * k + c * c for c, k in zip(sizes, cached, strict=True))
        batch = (decodes + sum(sizes), decodes, context, chunks, pairs)
        log.append([*batch, machine_s(*batch) * draw.uniform(1 - noise, 1 + noise)])
    return log


def write(path: Path, log: list[list[float]], columns: tuple[str, ...] = COLUMNS) -> Path:
    """Write a log."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(log)
    return path


def test_a_machine_of_the_fitted_form_is_found_again(tmp_path: Path) -> None:
    """Without noise the errors vanish, and the preset file gives the machine's times within 0.1 %."""
    report = calibrate_file(write(tmp_path / "log.csv", rows(300)))
    assert report.mape_percent < 0.01
    assert (report.num_fitted, report.num_held_back) == (200, 100)
    report.write(tmp_path / "preset.json")
    table = latency_table(tmp_path / "preset.json", token_budget=1024)
    for tokens, decodes, context, chunks, pairs in ((1, 1, 500, 0, 0), (64, 64, 90_000, 0, 0), (600, 0, 0, 1, 360_000)):
        fixed, slope = table.decode_terms(decodes) if decodes else (0, 0)
        ps = table.token_ps[tokens] + fixed + slope * context + table.chunk_ps * chunks + table.pair_ps * pairs
        assert ps * 1e-12 == pytest.approx(machine_s(tokens, decodes, context, chunks, pairs), rel=1e-3)


def test_errors_are_those_of_rows_held_back(tmp_path: Path) -> None:
    """Every third row is held back: spoiling only those leaves the preset as it is and shows in every error."""
    log = rows(300, noise=0.02)
    honest = calibrate_file(write(tmp_path / "log.csv", log))
    for row in log[2::3]:
        row[-1] *= 2
    spoiled = calibrate_file(write(tmp_path / "log.csv", log))
    assert spoiled.preset == honest.preset
    assert 0.5 < honest.mape_percent < 2
    assert honest.mape_percent < honest.p95_percent < 5
    assert spoiled.mape_percent == pytest.approx(50, abs=2)
    assert spoiled.total_percent == pytest.approx(-50, abs=2)


def test_nothing_becomes_negative(tmp_path: Path) -> None:
    """What gets faster with context is no machine: the coefficient stays at 0 and the rest is still fitted."""
    log = rows(120)
    for row in log:
        row[-1] -= 90e-9 * row[2] * 0.99
    report = calibrate_file(write(tmp_path / "log.csv", [row for row in log if row[-1] > 0]))
    assert report.preset["context_fs"] == 0
    assert min(ps for _, ps in report.preset["points"]) > 0


def test_columns_may_come_in_any_order(tmp_path: Path) -> None:
    """Columns are found by name and others ignored."""
    log = rows(60)
    expected = calibrate_file(write(tmp_path / "log.csv", log)).preset
    mixed = [[row[5], 9.0, *row[:5]] for row in log]
    assert calibrate_file(write(tmp_path / "log.csv", mixed, ("time_s", "other", *COLUMNS[:5]))).preset == expected


def test_reports_are_lines_and_json(tmp_path: Path) -> None:
    """The terminal sees errors, costs and notes; JSON holds the same, and no path of the machine."""
    log = [row for row in rows(400) if row[3] == 0]
    report = calibrate_file(write(tmp_path / "log.csv", log))
    text = "\n".join(report.lines())
    assert f"checked on {report.num_held_back} others" in text
    assert "no iteration has a prefill chunk: prefill attention is taken as free" in text
    assert "over iterations with prefill" not in text
    data = json.loads(json.dumps(report.to_dict()))
    assert (data["rows_held_back"], data["held_back_prefill_mape_percent"]) == (report.num_held_back, None)
    assert str(tmp_path) not in json.dumps(data)


def test_a_constant_machine_is_constant(tmp_path: Path) -> None:
    """With one time for everything, nothing but the fixed time is found."""
    log = [[*row[:5], 0.25] for row in rows(90)]
    preset = calibrate_file(write(tmp_path / "log.csv", log)).preset
    assert {ps for _, ps in preset["points"]} == {250_000_000_000}
    assert [preset[key] for key in ("decode_ps", "context_fs", "chunk_ps", "pair_fs")] == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (5, -0.1, r"time_s in .*log.csv, line 4 must be a number of seconds \(got '-0.1'\)"),
        (5, 0, r"time_s in .*, line 4 must be above 0"),
        (5, "nan", "time_s in .* must be a number of seconds"),
        (0, 1.5, "tokens in .* must be a whole number"),
        (2, "many", r"context in .* must be a whole number, at least 0 \(got 'many'\)"),
        (0, 0, "tokens in .* must be at least 1"),
        (4, 0, "needs context for its decodes, pairs for its chunks"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, column: int, value: object, message: str) -> None:
    """The message names the column, the line and what was found there."""
    log: list[list[object]] = [list(row) for row in rows(40)]
    log[2] = [700, 0, 0, 1, 490_000, 0.1]
    log[2][column] = value
    with pytest.raises(InvalidSpecError, match=message):
        calibrate_file(write(tmp_path / "log.csv", log))  # type: ignore[arg-type]


def test_unusable_logs_are_refused(tmp_path: Path) -> None:
    """A missing column, too few rows and a missing file are told apart."""
    with pytest.raises(InvalidSpecError, match="lacks the column 'time_s'; it needs tokens, decodes"):
        calibrate_file(write(tmp_path / "log.csv", rows(40), (*COLUMNS[:5], "seconds")))
    with pytest.raises(InvalidSpecError, match=rf"needs at least {MIN_ROWS} rows \(got 3 in"):
        calibrate_file(write(tmp_path / "log.csv", rows(3)))
    with pytest.raises(InvalidSpecError, match=r"cannot read an iteration log from .*absent.csv"):
        calibrate_file(tmp_path / "absent.csv")


def test_fits_repeat(tmp_path: Path) -> None:
    """The same log gives the same preset: the split is by row number."""
    path = write(tmp_path / "log.csv", rows(90, noise=0.1))
    first, second = calibrate_file(path), calibrate_file(path)
    assert first == second
    assert np.isfinite(first.p95_percent)
