"""Queries to the tables of a simulation: hand-made frames, every wrong query, and what an analyst is shown."""

import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from glia_bench.designer.telemetry import column_of, percentile, run_query, standard_tables
from glia_bench.designer.telemetry_query import QUERY_HELP, REQUEST_COLUMNS, STATISTICS, Query
from glia_bench.errors import GliaBenchError
from glia_bench.evaluation.samples import sample_frame, sample_interval_s
from glia_bench.loading import load_policy
from glia_bench.scoring.metrics import request_frame, trial_metrics
from glia_bench.sim.engine import simulate
from glia_bench.tasks.catalog import get_task


def requests(**columns: Any) -> pd.DataFrame:
    """Return a table of four requests, with other columns where they are given."""
    given: dict[str, Any] = {
        "arrival_s": [0.0, 1.0, 3.0, 7.0],
        "prompt_tokens": [10, 20, 30, 40],
        "output_tokens": [1, 3, 2, 4],
        "tenant": [0, 0, 1, 1],
        "slo_class": pd.Categorical(["chat", "chat", "batch", "chat"]),
        "session": [-1, -1, -1, -1],
        "turn": [0, 0, 0, 0],
        "outcome": pd.Categorical(["finished", "finished", "finished", "unfinished"]),
        "replica": [0, 1, 0, 1],
        "restarts": [0, 0, 2, 0],
        "cached_tokens": [0, 0, 0, 0],
        "held_s": [0.0] * 4,
        "queueing_s": [1.0, 1.0, 2.0, 10.0],
        "ttft_s": [2.0, 2.0, 4.0, 10.0],
        "tpot_s": [np.nan, 1.0, 2.0, 10 / 3],
        "e2e_s": [2.0, 4.0, 6.0, 10.0],
        "unloaded_s": [1.0, 2.0, 2.0, 4.0],
        "slo_met": [True, True, False, False],
    }
    return pd.DataFrame({**given, **columns})


def ask(frame: pd.DataFrame | None = None, **fields: Any) -> list[tuple[Any, ...]]:
    """Return the rows of the answer to a query to a table of requests."""
    return list(run_query({"requests": requests() if frame is None else frame}, Query.from_json(fields)).rows)


def test_statistics_are_those_that_paper_gives() -> None:
    """Of e2e 2, 4, 6, 10: mean 5.5, population std sqrt(35 / 4), median the 2nd of 4, p99 the largest."""
    stats = [["count"], *(["e2e_s", name] for name in ("mean", "std", "sum", "min", "max", "p50", "p99"))]
    assert ask(stats=stats) == [("all", 4, 5.5, math.sqrt(35 / 4), 22.0, 2.0, 10.0, 4.0, 10.0)]
    assert ask(stats=[["slo_met", "share"]]) == [("all", 0.5)]


def test_correlation_is_pearsons_and_absent_where_nothing_varies() -> None:
    """Prompts 10 to 40 and their doubles correlate fully, reversed fully the other way, constants not at all."""
    asked = [["prompt_tokens", "corr", "e2e_s"], ["prompt_tokens", "corr", "held_s"]]
    rising, flat = ask(requests(e2e_s=[1.0, 2.0, 3.0, 4.0]), stats=asked)[0][1:]
    assert rising == pytest.approx(1.0, abs=1e-12)  # rounding of two square roots
    assert flat is None
    assert ask(requests(e2e_s=[4.0, 3.0, 2.0, 1.0]), stats=asked[:1])[0][1] == pytest.approx(-1.0, abs=1e-12)


def test_derived_columns_are_as_described() -> None:
    """Slowdown, queue share, time since the last arrival (not by row), and decode time."""
    frame = requests(arrival_s=[7.0, 1.0, 3.0, 0.0])
    assert column_of(frame, "slowdown").tolist() == [2.0, 2.0, 3.0, 2.5]
    assert column_of(frame, "queue_share").tolist() == [0.5, 0.25, 2 / 6, 1.0]
    assert column_of(frame, "interarrival_s")[:3].tolist() == [4.0, 1.0, 2.0]
    assert np.isnan(column_of(frame, "interarrival_s")[3])
    assert column_of(frame, "decode_s").tolist() == [0.0, 2.0, 2.0, 10.0]  # the last never had a first token
    assert np.isnan(column_of(requests(unloaded_s=[0.0] * 4), "slowdown")).all()


def test_requests_of_one_token_have_no_tpot_to_average() -> None:
    """NaN stands in no statistic; where all are NaN the cell is empty, and as a group they are left out and noted."""
    assert ask(stats=[["tpot_s", "mean"], ["count"]], where=[["output_tokens", "<=", 2]]) == [("all", 2.0, 2)]
    nothing = run_query({"requests": requests(tpot_s=[np.nan] * 4)}, Query.from_json({"stats": [["tpot_s", "p99"]]}))
    assert nothing.rows == (("all", None),)
    assert nothing.to_markdown().endswith("|all|-|")
    assert nothing.to_json()["rows"] == [["all", None]]
    by = run_query({"requests": requests()}, Query.from_json({"by": "tpot_s"}))
    assert sum(row[1] for row in by.rows) == 3
    assert by.note == "1 rows have no tpot_s"
    assert ask(where=[["tpot_s", "!=", 5.0]]) == [("all", 3)]


def test_outputs_that_never_ended_are_unknown() -> None:
    """How many tokens an unfinished request would have made is in no statistic, condition or table."""
    frame = requests(output_tokens=[1, 3, 2, 98765], e2e_s=[2.0, 4.0, 6.0, 1000.0])
    assert ask(frame, stats=[["output_tokens", "max"], ["count"]]) == [("all", 3.0, 4)]
    assert ask(frame, where=[["output_tokens", ">", 100]]) == [("all", 0)]
    text = standard_tables(frame)
    assert "98765" not in text
    assert "\n|3|7|40|-|1|0|10|10|1000|250|" in text


def test_help_names_every_column_and_statistic_and_its_example_is_a_query() -> None:
    """What a designer is told of queries is true of them."""
    assert all(name in QUERY_HELP for name in (*REQUEST_COLUMNS, *STATISTICS))
    example = json.loads(QUERY_HELP.partition("Example: ")[2])
    assert ask(**example) == [("30", 1, 6.0)]


def test_conditions_must_all_hold() -> None:
    """Numbers, words and flags; none that fit is one row of nothing, or no row at all by groups."""
    assert ask(where=[["prompt_tokens", ">=", 20], ["slo_class", "==", "chat"]]) == [("all", 2)]
    assert ask(where=[["slo_met", "!=", True], ["outcome", "!=", "finished"]]) == [("all", 1)]
    empty = {"where": [["turn", ">", 5]], "stats": [["count"], ["e2e_s", "mean"], ["slo_met", "share"]]}
    assert ask(**empty) == [("all", 0, None, None)]
    assert ask(by="prompt_tokens", **empty) == []
    assert ask(by="arrival_s", width=True, **empty) == []


def test_few_values_have_a_row_each_and_many_are_binned_by_count() -> None:
    """Four prompts give four rows; in two bins two and two; equal values stay together."""
    assert [row[0] for row in ask(by="prompt_tokens")] == ["10", "20", "30", "40"]
    assert ask(by="prompt_tokens", bins=2) == [("10 to 20", 2), ("30 to 40", 2)]
    assert ask(requests(prompt_tokens=[5, 5, 5, 9]), by="prompt_tokens", bins=1) == [("5 to 9", 4)]
    equal = requests(prompt_tokens=[5, 5, 5, 9], arrival_s=[5.0, 5.0, 5.0, 9.0], e2e_s=[1.0, 5.0, 5.0, 5.0])
    assert ask(equal, by="e2e_s", bins=2) == [("1", 1), ("5", 3)]
    assert ask(requests(e2e_s=[1.0, 5.0, 5.0, 6.0]), by="e2e_s", bins=2) == [("1 to 5", 3), ("6 to 6", 1)]


def test_bins_of_equal_width_may_be_empty() -> None:
    """Arrivals at 0, 1, 3, 7 in windows of 1.75 s: two, one, none, one; nothing in a window is no statistic."""
    rows = ask(by="arrival_s", bins=4, width=True, stats=[["count"], ["e2e_s", "mean"]])
    assert [row[1:] for row in rows] == [(2, 3.0), (1, 6.0), (0, None), (1, 10.0)]
    assert [row[0] for row in rows][::3] == ["0 to 1.75", "5.25 to 7"]
    assert ask(requests(arrival_s=[2.0] * 4), by="arrival_s", width=True) == [("2", 4)]


def test_groups_of_words_flags_and_ids_are_named_whole() -> None:
    """Ids are never rounded, and beyond twenty the largest groups remain, in order."""
    assert ask(by="slo_class") == [("batch", 1), ("chat", 3)]
    assert ask(by="slo_met") == [("false", 2), ("true", 2)]
    assert ask(requests(tenant=[123456, 123457, 7, 7]), by="tenant") == [("7", 2), ("123456", 1), ("123457", 1)]
    many = pd.concat([requests(tenant=[k, k, k, 99 - k]) for k in range(30)], ignore_index=True)
    table = run_query({"requests": many}, Query.from_json({"by": "tenant"}))
    assert [row[0] for row in table.rows] == [str(k) for k in range(20)]
    assert table.note == "the 20 largest of 60 groups"
    assert len(ask(many, by="tenant", bins=5)) == 5


def test_samples_are_asked_by_replica_or_summed() -> None:
    """Waiting is waiting_0 + waiting_1; a replica that is not there is an error that says what is."""
    samples = pd.DataFrame({"time_s": [0.0, 1.0], "held": [3, 0], "waiting_0": [1, 2], "waiting_1": [10, 20]})
    fields = {"table": "samples", "stats": [["waiting", "max"], ["waiting_1", "mean"], ["held", "sum"]]}
    table = run_query({"samples": samples}, Query.from_json(fields))
    assert table.rows == (("all", 22.0, 15.0, 3.0),)
    with pytest.raises(GliaBenchError, match="no column 'waiting_7'; did you mean"):
        run_query({"samples": samples}, Query.from_json({"table": "samples", "stats": [["waiting_7", "max"]]}))
    with pytest.raises(GliaBenchError, match="kept no samples; ask of requests"):
        run_query({"requests": requests()}, Query.from_json(fields))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ([], "must be a JSON object"),
        ({"tabel": "requests"}, "no field 'tabel'; did you mean 'table'"),
        ({"code": "import os"}, "no field 'code'; known are table, by"),
        ({"table": "records"}, "'requests' or 'samples' .got 'records'"),
        ({"table": ["requests"]}, "'requests' or 'samples'"),
        ({"by": "prompt_token"}, "by: requests have no column 'prompt_token'; did you mean 'prompt_tokens'"),
        ({"by": "seed"}, "no column 'seed'"),
        ({"by": "__class__"}, "no column '__class__'"),
        ({"by": {"x": 1}}, "no column"),
        ({"by": "waiting_0"}, "requests have no column"),
        ({"table": "samples", "by": "e2e_s"}, "samples have no column"),
        ({"table": "samples", "by": "waiting_\u0661"}, "samples have no column"),
        ({"bins": 0}, "from 1 to 20 .got 0"),
        ({"bins": 21}, "from 1 to 20"),
        ({"bins": True}, "from 1 to 20"),
        ({"bins": 2.5}, "from 1 to 20"),
        ({"width": 1}, "true or false"),
        ({"stats": []}, "1 to 8 statistics .got 0"),
        ({"stats": [["count"]] * 9}, "1 to 8 statistics .got 9"),
        ({"stats": "count"}, "list of lists"),
        ({"stats": ["count"]}, "list of lists"),
        ({"stats": [[]]}, "list of lists"),
        ({"stats": [["mean"]]}, "mean is of a column"),
        ({"stats": [["e2e_s"]]}, "no statistic None of e2e_s; known are"),
        ({"stats": [["e2e_s", "maen"]]}, "no statistic 'maen' of e2e_s; did you mean 'mean'"),
        ({"stats": [["e2e_s", ["mean"]]]}, "no statistic"),
        ({"stats": [["e2e_s", "mean", "ttft_s"]]}, "mean must be written as"),
        ({"stats": [["e2e_s", "corr"]]}, "corr must be written as"),
        ({"stats": [["e2e_s", "corr", "slo_met"]]}, "two columns of numbers .got 'slo_met'"),
        ({"stats": [["e2e_s", "share"]]}, "e2e_s has all but share"),
        ({"stats": [["slo_met", "mean"]]}, "slo_met has share alone"),
        ({"stats": [["slo_class", "max"]]}, "slo_class has no statistic"),
        ({"stats": [["tenant", "mean"]]}, "tenant has no statistic"),
        ({"where": {"turn": 1}}, "list of lists"),
        ({"where": [["turn", ">"]]}, "must be .column, operator, value."),
        ({"where": [["turn", ">", 1, 2]]}, "must be .column, operator, value."),
        ({"where": [["turn", "~", 1]]}, "operator must be one of < <= > >= == != .got '~'"),
        ({"where": [["turn", ">", "1"]]}, "a finite number .got '1'"),
        ({"where": [["turn", ">", True]]}, "a finite number"),
        ({"where": [["turn", ">", math.nan]]}, "a finite number"),
        ({"where": [["turn", ">", 10**400]]}, "a finite number"),
        ({"where": [["slo_met", "==", 1]]}, "true or false .got 1"),
        ({"where": [["outcome", "<", "finished"]]}, "compare it by == or !="),
        ({"where": [["outcome", "==", 1]]}, "a word"),
        ({"where": [["turn", ">", 0]] * 7}, "6 conditions .got 7"),
    ],
)
def test_wrong_queries_say_what_is_wrong(fields: Any, message: str) -> None:
    """Each rule of queries is told with what was found."""
    with pytest.raises(GliaBenchError, match=message):
        Query.from_json(fields)


def test_unknown_words_are_refused_rather_than_met_by_nothing() -> None:
    """A misspelt outcome or class would otherwise look like a result; long words are cut in messages."""
    with pytest.raises(GliaBenchError, match="outcome has no value 'finishd'; did you mean 'finished'"):
        ask(where=[["outcome", "==", "finishd"]])
    assert ask(where=[["outcome", "==", "rejected"]]) == [("all", 0)]
    with pytest.raises(GliaBenchError, match=r"slo_class has no value 'xxx.*; it has batch, chat") as caught:
        ask(where=[["slo_class", "==", "x" * 10_000]])
    assert len(str(caught.value)) < 200


def test_queries_survive_json() -> None:
    """What `to_json` gives is plain JSON and makes the same query."""
    fields = {"by": "turn", "bins": 3, "where": [["slo_met", "==", True]], "stats": [["count"], ["e2e_s", "p99"]]}
    query = Query.from_json(fields)
    assert Query.from_json(json.loads(json.dumps(query.to_json()))) == query
    assert Query.from_json({}) == Query()


def test_markdown_has_three_digits_and_cannot_be_broken() -> None:
    """A class called by pipes, newlines or links stays one cell; numbers are short, counts whole."""
    names = ["a|b", "a|b", "x\n|---|\n[y](z)", "n" * 99]
    frame = requests(slo_class=names, e2e_s=[12345.678, 12345.678, 0.00123456, 2.0e-7])
    fields = {"by": "slo_class", "stats": [["count"], ["e2e_s", "mean"]]}
    lines = run_query({"requests": frame}, Query.from_json(fields)).to_markdown().splitlines()
    assert lines[:3] == ["|slo_class|count|mean e2e_s|", "|---|---|---|", "|a\\|b|2|12300|"]
    assert len(lines) == 5
    assert lines[3].endswith("...|1|2e-07|")
    assert lines[4] == "|x \\|---\\| \\[y\\](z)|1|0.00123|"


def test_a_note_is_no_row_of_the_table() -> None:
    """Markdown takes a line right after a table for a row."""
    table = run_query({"requests": requests()}, Query.from_json({"by": "tpot_s"}))
    assert "|\n\n1 rows have no tpot_s" in table.to_markdown()


def test_percentiles_are_those_of_the_metrics() -> None:
    """The median and the 99th percentile of a real run are the record's, bit for bit, means too."""
    task = get_task("routing/paper-v0")
    case = task.case(0.02, 0)
    result = simulate(case, load_policy("llq"))
    metrics = trial_metrics(case, result, task)
    stats = [["e2e_s", "p50"], ["e2e_s", "p99"], ["ttft_s", "p90"], ["e2e_s", "max"], ["e2e_s", "p999"]]
    names = ("e2e_p50_s", "e2e_p99_s", "ttft_p90_s", "e2e_max_s", "e2e_p999_s")
    assert ask(request_frame(case, result), stats=stats)[0][1:] == tuple(metrics[name] for name in names)
    assert percentile([1.0, 2.0, 3.0], 0) == 1.0


def test_standard_tables_of_a_real_run_are_short_and_say_nothing_of_the_case() -> None:
    """All sections are there, equal for equal frames, under 6,000 characters, without seed, task or path."""
    task = get_task("routing/paper-v0")
    case = task.case(0.05, 73)
    result = simulate(case, load_policy("llq"), sample_interval_s=sample_interval_s(case))
    assert result.samples is not None
    frame, samples = request_frame(case, result), sample_frame(result.samples)
    text = standard_tables(frame, samples)
    assert standard_tables(frame.copy(), samples.copy()) == text
    assert text.count("### ") == 6
    assert len(text) < 6_000
    assert not any(word in text.lower() for word in ("paper", "seed", "73-", "/", ".parquet", "sealed"))
    assert standard_tables(frame.assign(seed=4242, workload="bursty"), samples) == text
    assert frame.shape[1] == len(REQUEST_COLUMNS) - 4  # a new column of frames should be offered here too


def test_standard_tables_show_what_paper_gives() -> None:
    """Of the four requests: the third is the slowest for its size, two restarts, half met the SLO, two tenants."""
    text = standard_tables(requests())
    assert "|e2e_s|5.5|4|10|10|" in text
    assert "|tpot_s|2.11|2|3.33|3.33|" in text
    assert "4 requests, 3 finished; share that met its SLO 0.5; 2 restarts of 1 requests" in text
    assert "### By tenant" in text
    assert "### By slo_class" in text
    assert "### By turn" not in text
    worst = text.partition("### Worst")[2].splitlines()[3]
    assert worst == "|2|3|30|2|0|2|2|4|6|3|"


def test_standard_tables_stay_short_with_many_groups_and_empty_ones() -> None:
    """Hundreds of replicas, tenants, classes with long names and turns are cut; no request at all is no error."""
    num = 600
    index = np.arange(num)
    big = pd.concat([requests()] * (num // 4), ignore_index=True).assign(
        tenant=index, replica=index, turn=index, arrival_s=index * 1.2345, prompt_tokens=index * 1717
    )
    big["slo_class"] = [f"{k:03}|" + "|" * 90 for k in index % 50]
    text = standard_tables(big)
    assert len(text) < 6_000
    assert "### Worst requests" in text
    assert "largest of" in text
    assert "0 requests" in standard_tables(requests().iloc[:0])
