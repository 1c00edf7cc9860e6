"""Results made up for tests of the report, and pages as a browser would see them."""

import math
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pandas as pd
from catalogue import TASKS

from glia_bench.scoring.metrics import METRICS
from glia_bench.scoring.record import build_record, write_record
from glia_bench.scoring.summary import summarise

TASK, SWEEP = "routing/paper-v0", "routing/paper-sweep-v0"
MEANS = {
    "hra": 24.2,
    "expert": 25.6,
    "spt_hold": 27.3,
    "llq": 54.6,
    "lor": 58.1,
    "round_robin": 63.3,
    "random_pick": 65.5,
}
KINDS = {"hra": "published_ai", "random_pick": "null"}
NUM_REQUESTS, NUM_REPLICAS = 300, 4


def trial(task: str, policy: str, load: float, seed: int | str, **changed: Any) -> dict[str, Any]:
    """Return one trial's record, its cost a known function of policy, load and seed."""
    cost = (
        MEANS.get(policy, 40.0)
        * load**3
        * (1 + 0.04 * math.sin((seed if isinstance(seed, int) else len(seed)) + len(policy)))
    )
    metrics = dict.fromkeys(METRICS, 0.0) | {
        "e2e_mean_s": cost,
        "e2e_p99_s": 4 * cost,
        "ttft_mean_s": cost / 5,
        "restarted_fraction": 0.26,
        "slo_attainment": 1.0,
    }
    return {
        "task": task,
        "policy": policy,
        "kind": KINDS.get(policy, "human"),
        "policy_sha256": "ab" * 32,
        "load": load,
        "seed": seed,
        "status": "ok",
        "message": "",
        "tier": "compiled",
        "cost": cost,
        "metrics": metrics,
        "num_decisions": 10,
        "decision_hash": "0" * 16,
        "records_sha256": "cd" * 32,
        "workload_sha256": "ef" * 32,
        "sim_s": 0.1,
        "notes": [],
        "records": None,
        "samples": None,
    } | changed


def failed(task: str, policy: str, load: float, seed: int, message: str, **changed: Any) -> dict[str, Any]:
    """Return the record of a trial that a policy failed."""
    gone = {"cost": None, "metrics": dict.fromkeys(METRICS), "status": "bad_decision", "message": message}
    return trial(task, policy, load, seed, **{**gone, **changed})


def with_tables(folder: Path, record: dict[str, Any], name: str | None = None) -> dict[str, Any]:
    """Write a trial's request table and samples under its policy's name or another, and return its record with both."""
    rng = np.random.default_rng(len(record["policy"]))
    prompts = np.random.default_rng(record["seed"]).integers(43, 4000, NUM_REQUESTS)
    latencies = rng.lognormal(math.log(record["cost"]), 1.0, NUM_REQUESTS)
    frame = pd.DataFrame(
        {
            "arrival_s": np.arange(NUM_REQUESTS) * 0.1,
            "prompt_tokens": prompts,
            "outcome": "finished",
            "restarts": rng.binomial(2, prompts / 8000),
            "ttft_s": latencies / 5,
            "e2e_s": latencies,
        },
        index=pd.RangeIndex(NUM_REQUESTS, name="request_id"),
    )
    samples = pd.DataFrame({"time_s": np.arange(500) * 2.0, "held": rng.integers(0, 90, 500)})
    for replica in range(NUM_REPLICAS):
        samples[f"waiting_{replica}"] = rng.integers(0, 20, 500)
        samples[f"allocated_blocks_{replica}"] = rng.integers(0, 2240, 500)
    base = f"records/{record['task']}/{name or record['policy']}/load={record['load']},seed={record['seed']}"
    (folder / base).parent.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(folder / f"{base}.parquet")
    samples.to_parquet(folder / f"{base}.samples.parquet")
    return {**record, "records": f"{base}.parquet", "samples": f"{base}.samples.parquet"}


def result(folder: Path, trials: list[dict[str, Any]], **environment: Any) -> Path:
    """Write a result of these trials into a folder and return the folder."""
    sealed = [trial for trial in trials if trial.get("split") == "sealed"]
    summary = summarise(sealed or trials, TASKS.values())
    write_record(folder, build_record(suite="quick", trials=trials, summary=summary, environment=environment))
    return folder


class Page(HTMLParser):
    """What a browser would see of a page: elements with attributes, tables as text, and all text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.tables: dict[str, list[dict[str, str]]] = {}
        self.text = ""
        self._rows: list[list[str]] = []
        self._caption = ""
        self._open: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element; a row or a cell begins."""
        self.elements.append((tag, dict(attrs)))
        if tag in ("caption", "tr", "td", "th", "style"):
            self._open.append(tag)
        if tag == "table":
            self._rows, self._caption = [], ""
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        """End what was begun; a finished table is kept by its caption."""
        if self._open and self._open[-1] == tag:
            self._open.pop()
        if tag == "table":
            head, *rows = self._rows
            head = [f"{title} of {head[place - 1]}" if title == "95 %" else title for place, title in enumerate(head)]
            self.tables[self._caption] = [dict(zip(head, row, strict=True)) for row in rows]

    def handle_data(self, data: str) -> None:
        """Add text to the page and to the open cell."""
        inside = self._open[-1] if self._open else ""
        if inside != "style":
            self.text += data
        if inside == "caption":
            self._caption += data
        elif inside in ("td", "th"):
            self._rows[-1][-1] += data

    def row(self, caption: str, policy: str) -> dict[str, str]:
        """Return a policy's row of the first table whose caption begins so."""
        found = next(rows for title, rows in self.tables.items() if title.startswith(caption))
        return next(row for row in found if row["policy"] == policy)

    def attributes(self, name: str) -> list[str]:
        """Return all values of an attribute."""
        return [value or "" for _, attrs in self.elements for key, value in attrs.items() if key == name]

    @property
    def headings(self) -> list[int]:
        """Return the levels of the headings, in order."""
        return [int(tag[1]) for tag, _ in self.elements if tag in ("h1", "h2", "h3", "h4")]


def pages_of(folder: Path) -> dict[str, Page]:
    """Return every page of a report by its file."""
    files = [folder / "report.html", *sorted((folder / "report").glob("*.html"))]
    return {path.relative_to(folder).as_posix(): Page(path) for path in files}


def broken_links(folder: Path) -> list[str]:
    """Return the links of a report that lead to no file, or to no place in it; those out of the folder too."""
    pages, broken = pages_of(folder), []
    ids = {(folder / name).resolve(): set(page.attributes("id")) for name, page in pages.items()}
    for name, page in pages.items():
        for target in page.attributes("href"):
            file, _, anchor = target.partition("#")
            where = ((folder / name).parent / unquote(file)).resolve() if file else (folder / name).resolve()
            is_there = where.is_file() and where.is_relative_to(folder.resolve())
            if not is_there or (anchor and where in ids and anchor not in ids[where]):
                broken.append(f"{name}: {target}")
    return broken
