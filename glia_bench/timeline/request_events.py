"""Requests as asynchronous spans of a Chrome trace: held at the router, then waiting, prefill, decode on a replica."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from glia_bench.case import Case
from glia_bench.cluster import PS_PER_S
from glia_bench.timeline.events import FIRST_REPLICA_PID, ROUTER_PID, Event, us
from glia_bench.timeline.lives import OUTCOMES, RequestLives, Span
from glia_bench.timeline.window import Window
from glia_bench.types import RunResult


class RequestEvents:
    """The requests of a window as asynchronous spans."""

    def __init__(self, case: Case, result: RunResult, lives: RequestLives, window: Window) -> None:
        self.case, self.result, self.lives, self.window = case, result, lives, window
        self.rows = lives.within(window)
        dispatched_ps, left_ps = lives.dispatched_ps[self.rows], lives.left_ps[self.rows]
        is_shown = (dispatched_ps < window.end_ps) & (left_ps > np.maximum(dispatched_ps, window.start_ps))
        self.shown = set(self.rows[is_shown & (dispatched_ps >= 0)].tolist())
        following = case.trace.next_row
        self.next_row = {int(row): int(following[row]) for row in self.rows if int(following[row]) in self.shown}
        self.has_turn_before = {following for row, following in self.next_row.items() if row in self.shown}

    def of_router(self) -> Iterator[Event]:
        """Yield the time that each request was held; rejections, whose time is not recorded, at the arrival."""
        lives = self.lives
        for row in self.rows.tolist():
            end_ps = lives.dispatched_ps[row] if lives.dispatched_ps[row] >= 0 else lives.left_ps[row]
            span = Span("held", int(lives.arrival_ps[row]), int(end_ps))
            common = {"cat": "held", "pid": ROUTER_PID, "tid": ROUTER_PID, "id2": {"local": f"{row}"}}
            cut = span.cut(self.window)
            if cut is not None:
                flow = {"bind_id": _held_flow(row), "flow_out": True} if row in self.shown else {}
                yield {"ph": "b", "name": "held", **common, **flow, "ts": us(cut.start_ps), "args": self._args(row)}
                yield {"ph": "e", "name": "held", **common, "ts": us(cut.end_ps)}
            elif row not in self.shown and span.start_ps == span.end_ps >= self.window.start_ps:
                args = self._args(row)
                yield {"ph": "n", "name": args["outcome"], **common, "ts": us(span.start_ps), "args": args}

    def of_replica(self, replica: int) -> Iterator[Event]:
        """Yield the requests that ran on a replica, each with its phases."""
        lives, pid = self.lives, FIRST_REPLICA_PID + replica
        is_here = (self.result.records.replica[self.rows] == replica) & (lives.dispatched_ps[self.rows] >= 0)
        for row in self.rows[is_here].tolist():
            name = "request (moved)" if lives.has_moved[row] else "request"
            whole = Span(name, int(lives.dispatched_ps[row]), int(lives.left_ps[row])).cut(self.window)
            if whole is None:
                continue
            common = {"cat": "request", "pid": pid, "tid": pid, "id2": {"local": f"{row}"}}
            flow = self._session_flow(row)
            yield {"ph": "b", "name": name, **common, **flow, "ts": us(whole.start_ps), "args": self._args(row)}
            was_held = max(lives.arrival_ps[row], self.window.start_ps) < lives.dispatched_ps[row]
            flow = {"bind_id": _held_flow(row), "flow_in": True} if was_held else {}
            for span in self._phases(row):
                cut = span.cut(self.window)
                if cut is not None:
                    yield {"ph": "b", "name": span.name, **common, **flow, "ts": us(cut.start_ps)}
                    yield {"ph": "e", "name": span.name, **common, "ts": us(cut.end_ps)}
                    flow = {}
            yield {"ph": "e", "name": name, **common, "ts": us(whole.end_ps)}

    def _phases(self, row: int) -> list[Span]:
        """Return "waiting", "prefill" and "decode", as far as it came; restarts are within them."""
        lives = self.lives
        columns = (lives.dispatched_ps, lives.scheduled_ps, lives.first_token_ps, lives.left_ps)
        marks = [int(column[row]) for column in columns if column[row] >= 0]
        names = ("waiting", "prefill", "decode")
        return [Span(name, *ends) for name, ends in zip(names, itertools.pairwise(marks), strict=False)]

    def _session_flow(self, row: int) -> Event:
        """Return the fields that tie a turn to those before and after it."""
        session = self.case.trace.session
        ends = {"flow_in": row in self.has_turn_before, "flow_out": row in self.next_row}
        if session is None or not any(ends.values()):
            return {}
        return {"bind_id": hex(1 + int(session[row])), **{name: True for name, is_set in ends.items() if is_set}}

    def _args(self, row: int) -> dict[str, Any]:
        """Return what is known of a request; absent columns and events are left out."""
        trace, records, lives = self.case.trace, self.result.records, self.lives
        args: dict[str, Any] = {
            "request": f"request {row}",
            "outcome": OUTCOMES[int(records.outcome[row])],
            "replica": int(records.replica[row]),
            "prompt_tokens": int(trace.prompt_tokens[row]),
            "cached_tokens": int(self.result.cached_tokens[row]),
            "output_tokens": int(trace.output_tokens[row]),
            "restarts": int(records.restarts[row]),
            "arrival_s": int(lives.arrival_ps[row]) / PS_PER_S,
        }
        for name, time_ps in (
            ("dispatched_after_s", records.dispatched_ps[row]),
            ("scheduled_after_s", records.scheduled_ps[row]),
            ("ttft_s", records.first_token_ps[row]),
            ("e2e_s", records.finished_ps[row]),
        ):
            if time_ps >= 0:
                args[name] = int(time_ps - lives.arrival_ps[row]) / PS_PER_S
        for name in ("tenant", "session", "turn", "priority", "slo_class"):
            column = getattr(trace, name)
            if column is not None:
                args[name] = int(column[row])
        return args


def _held_flow(row: int) -> str:
    """Return the id of the arrow from where a request was held to where it ran; sessions have those below."""
    return hex(2**32 + row)
