"""Recorded traces: from files in public formats, or in ours, to `Trace`, whole or piece by piece; and to our format.

Files are read in blocks, so that what is held beside the result does not grow with the file. Nothing is left out in
silence: what cannot be run is refused, or with `skip_unfit` left out and counted; requests that failed when they were
recorded (BurstGPT's rows without output) are left out and counted.

Not recorded in any public format, and so not replayed: what the clients would have done had answers come sooner or
later. Requests arrive at their recorded times, whatever their sessions; only a table of ours that has `think_s` holds
sessions whose turns wait for answers.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from glia_bench.case import Trace
from glia_bench.cluster import PS_PER_S, Ints
from glia_bench.errors import InvalidTraceError
from glia_bench.workloads.arrivals import PS_PER_US
from glia_bench.workloads.trace_files import TraceFile
from glia_bench.workloads.trace_formats import (
    MAX_NUMBER,
    MAX_TOKENS,
    TOKENS_RULE,
    Place,
    dates_us,
    names_or_numbers,
    recognise,
    seconds_us,
    whole_numbers,
)
from glia_bench.workloads.trace_prefixes import HASH_TOKENS, PREFIX_COLUMNS, Blocks, PrefixReader

if TYPE_CHECKING:
    import pandas as pd

MAX_REQUEST_TOKENS = 131_072
"""Longest prompt plus output where no cluster says otherwise: the context of Llama 3.1."""
MAX_SPAN_S = 9_000_000
"""Longest time from the first request to the last: 104 days, which is what 64-bit picoseconds hold."""
ROWS = 262_144
"""Rows of a file that are read at a time."""

Columns: TypeAlias = dict[str, Ints]

_INTEGER_COLUMNS = {
    "tenant": (0, 1_000_000),
    "priority": (-1_000_000, 1_000_000),
    "session": (-1, MAX_NUMBER),
    "turn": (0, 1_000_000),
}
"""Optional columns of whole numbers, with their bounds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A trace and what there is to know about the file that it came from.

    Attributes:
        trace: The requests.
        sha256: Hash of the file's bytes.
        format: Name of its format.
        num_rows: Rows of the file.
        left_out: Rows that are not in the trace, by reason.
        unused: Columns that say something about requests which is not replayed.
    """

    trace: Trace
    sha256: str
    format: str
    num_rows: int
    left_out: dict[str, int]
    unused: tuple[str, ...]


@dataclass(slots=True)
class _Tally:
    """What has been seen of a file so far: rows, those left out by reason, those too long and the first of them."""

    num_rows: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    num_long: int = 0
    first_long: str = ""


def read_recording(
    path: str | Path,
    *,
    max_request_tokens: int = MAX_REQUEST_TOKENS,
    block_size_tokens: int | None = 16,
    slo_classes: Sequence[str] = (),
    skip_unfit: bool = False,
) -> Recording:
    """Read a whole file.

    Args:
        path: CSV, JSON Lines or Parquet in one of `trace_formats.FORMATS`; CSV and JSON Lines also gzipped.
        max_request_tokens: Longest prompt plus output that the cluster can hold; clients allow what a prompt leaves
            of it, where the file does not say what they allow.
        block_size_tokens: Of the cluster's KV memory, a power of two up to 512; None: prefixes are not read.
        slo_classes: Names of the cluster's classes, for files that name rather than number them.
        skip_unfit: Leave out requests that are longer than that or have no tokens, instead of refusing the file.

    Raises:
        InvalidTraceError: If the file cannot be read as that; the message names row, column, rule and value.
    """
    file = TraceFile(path)
    reader = _Reader(file, max_request_tokens, block_size_tokens, slo_classes, skip_unfit)
    pieces: dict[str, list[Ints]] = {}
    block_pieces: list[Blocks | None] = []
    for part, part_blocks in reader.pieces(ROWS):
        for name, values in part.items():
            pieces.setdefault(name, []).append(values)
        block_pieces.append(part_blocks)
    reader.check_lengths()
    blocks = Blocks.joined(block_pieces)
    block_pieces.clear()
    columns = {name: np.concatenate(pieces.pop(name)) for name in list(pieces)}  # one by one: never all of them twice
    if not columns or not len(columns["arrival_us"]):
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in reader.tally.left_out.items())
        raise InvalidTraceError(f"{file} must hold a request that can be run (it has {reasons or 'no rows'})")
    if "think_us" in columns:
        columns, blocks = _by_turn(file, columns, blocks)
    return Recording(
        trace=_trace(file, columns, blocks, max_request_tokens),
        sha256=file_sha256(file.path),
        format=reader.format.name,
        num_rows=reader.tally.num_rows,
        left_out=reader.tally.left_out,
        unused=reader.unused,
    )


def read_trace(path: str | Path, **options: Any) -> Trace:
    """Return the requests of a whole file; arguments and errors as those of `read_recording`."""
    return read_recording(path, **options).trace


def trace_chunks(
    path: str | Path,
    rows: int = ROWS,
    *,
    max_request_tokens: int = MAX_REQUEST_TOKENS,
    block_size_tokens: int | None = 16,
    slo_classes: Sequence[str] = (),
    skip_unfit: bool = False,
) -> Iterator[Trace]:
    """Yield a file's requests as consecutive traces of at most `rows` of them; the file is never held as a whole.

    Arrival times and block ids are those of the whole: pieces put one after the other are what `read_trace` returns.
    Arguments as those of `read_recording`.

    Raises:
        InvalidTraceError: As `read_recording`, but when its row is reached; or if turns wait for answers (`think_s`):
            a session may go on in a later piece.
    """
    file = TraceFile(path)
    reader = _Reader(file, max_request_tokens, block_size_tokens, slo_classes, skip_unfit)
    if "think_s" in reader.names:
        raise InvalidTraceError(f"{file} holds sessions (think_s) and cannot be read in pieces; read it whole")
    for columns, blocks in reader.pieces(rows):
        reader.check_lengths()
        if len(columns["arrival_us"]):
            yield _trace(file, columns, blocks, max_request_tokens)


def write_trace(trace: Trace, path: str | Path) -> None:
    """Write a trace as a request table of ours: Parquet where the name ends so, else CSV (gzipped if it ends in .gz).

    Arrival and think times are written in seconds and read back to the microsecond.
    """
    import pandas as pd

    columns: dict[str, Any] = {
        "arrival_s": trace.arrival_ps / PS_PER_S,
        "prompt_tokens": trace.prompt_tokens,
        "output_tokens": trace.output_tokens,
        "max_tokens": trace.max_tokens,
    }
    columns |= {
        name: getattr(trace, name)
        for name in ("tenant", "priority", "slo_class", "session", "turn")
        if getattr(trace, name) is not None
    }
    if trace.think_ps is not None:
        columns["think_s"] = trace.think_ps / PS_PER_S
    path = Path(path)
    is_parquet = path.suffix == ".parquet"
    if trace.block_start is not None and trace.block_ids is not None:
        lists = np.split(trace.block_ids, trace.block_start[1:-1])
        columns["block_ids"] = lists if is_parquet else [" ".join(map(str, ids.tolist())) for ids in lists]
    frame = pd.DataFrame(columns).sort_values("arrival_s", kind="stable")
    if is_parquet:
        frame.to_parquet(path, index=False, compression="zstd")
    else:
        frame.to_csv(path, index=False)


def file_sha256(path: Path) -> str:
    """Return the hash of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Reader:
    """One pass over a file, table by table.

    Attributes:
        format: The file's format.
        names: Columns that are read: the format's names to the file's.
        unused: Columns that are not, though they say something about requests.
        tally: What has been seen so far.
    """

    def __init__(
        self,
        file: TraceFile,
        max_request_tokens: int,
        block_size_tokens: int | None,
        slo_classes: Sequence[str],
        skip_unfit: bool,
    ) -> None:
        self._file = file
        self._limit = max_request_tokens
        self._classes = slo_classes
        self._skips = skip_unfit
        self.tally = _Tally()
        self.format, self.names = recognise(file)
        ignored: set[str] = set()
        if "think_s" not in self.names:
            ignored |= {"session", "turn"}
        elif missing := {"session", "turn"} - set(self.names):
            raise InvalidTraceError(f"{file} has think_s, which needs {' and '.join(sorted(missing))} beside it")
        if block_size_tokens is None:
            ignored |= set(PREFIX_COLUMNS)
        self.unused = tuple(name for name in self.names if name in ignored)
        self.names = {name: own for name, own in self.names.items() if name not in ignored}
        self._prefixes = PrefixReader(tuple(self.names), block_size_tokens or HASH_TOKENS)
        self._origin_us = 0
        self._last_us: int | None = None
        self._zone: str | None = None

    def pieces(self, rows: int) -> Iterator[tuple[Columns, Blocks | None]]:
        """Yield the columns and blocks of the requests in consecutive tables of `rows` rows; those may come out empty.

        Columns: arrival_us, prompt_tokens, output_tokens, and what else the file has.
        """
        for table in self._file.tables(list(self.names.values()), rows):
            if not len(table):
                continue
            table = table.set_axis(list(self.names), axis="columns")
            place = Place(file=self._file, names=self.names, first_row=self.tally.num_rows + 1)
            columns = {"arrival_us": self._arrivals(table, place)}
            for name, own in (("prompt_tokens", self.format.prompt), ("output_tokens", self.format.output)):
                columns[name] = whole_numbers(table, own, place, low=0, high=MAX_TOKENS, rule=TOKENS_RULE)
            columns |= self._options(table, place)
            blocks = self._prefixes.read(table, place, columns["prompt_tokens"], columns["output_tokens"])
            keeps = self._fit(columns, place)
            self.tally.num_rows += len(table)
            if not keeps.all():
                columns = {name: values[keeps] for name, values in columns.items()}
                blocks = blocks and blocks.taken(keeps)
            yield columns, blocks

    def check_lengths(self) -> None:
        """Raise the error of requests seen so far that no replica can hold."""
        tally = self.tally
        if tally.num_long:
            raise InvalidTraceError(
                f"{tally.num_long:,} of {tally.num_rows:,} requests of {self._file} need more than the "
                f"{self._limit:,} tokens that one replica can hold (the first: {tally.first_long}); use a cluster "
                f"with more memory (--task), or leave them out (--skip-unfit)"
            )

    def _arrivals(self, table: "pd.DataFrame", place: Place) -> Ints:
        """Return arrival times in microseconds, in public formats from the first row's."""
        column = self.format.arrival
        if self.format.clock == "date":
            times, zone = dates_us(table, column, place)
            if self._zone not in (None, zone):
                rule = f"a date with the time zone of the rows above it ({self._zone or 'none'})"
                place.refuse(column, 0, table[column].iloc[0], rule, "convert all to UTC")
            self._zone = zone
        else:
            times = seconds_us(table, column, place, per_second=1000 if self.format.clock == "ms" else 1)
        if self._last_us is None:
            self._last_us = int(times[0])
            self._origin_us = 0 if self.format.is_ours else self._last_us
        before = np.concatenate(([self._last_us], times[:-1]))
        if (is_early := times < before).any():
            index = int(is_early.argmax())
            by_s = (int(before[index]) - int(times[index])) / 1e6
            rule = f"no earlier than the row above it (it is, by {by_s:g} s)"
            place.refuse(column, index, table[column].iloc[index], rule, "sort the file by it")
        self._last_us = int(times[-1])
        times = times - self._origin_us
        if times[-1] > MAX_SPAN_S * 1_000_000:
            index = int((times > MAX_SPAN_S * 1_000_000).argmax())
            rule = f"at most {MAX_SPAN_S:,} s after the beginning"
            place.refuse(column, index, table[column].iloc[index], rule, "cut the file there")
        return times

    def _options(self, table: "pd.DataFrame", place: Place) -> Columns:
        columns: Columns = {}
        if "max_tokens" in self.names:
            columns["max_tokens"] = whole_numbers(table, "max_tokens", place, low=1, high=MAX_TOKENS, rule=TOKENS_RULE)
        for name, (low, high) in _INTEGER_COLUMNS.items():
            if name in self.names:
                columns[name] = whole_numbers(table, name, place, low=low, high=high)
        if "slo_class" in self.names:
            columns["slo_class"] = names_or_numbers(table, "slo_class", place, self._classes)
        if "think_s" in self.names:
            columns["think_us"] = seconds_us(table, "think_s", place, longest_s=MAX_SPAN_S)
        return columns

    def _fit(self, columns: Columns, place: Place) -> npt.NDArray[np.bool_]:
        """Return which rows become requests; count the others, or refuse them."""
        prompt, output = columns["prompt_tokens"], columns["output_tokens"]
        has_failed = (output == 0) & self.format.has_failures
        is_empty = ((prompt == 0) | (output == 0)) & ~has_failed
        is_long = (prompt + output > self._limit) & ~has_failed & ~is_empty
        if is_empty.any() and not self._skips:
            index = int(is_empty.argmax())
            column = self.format.prompt if prompt[index] == 0 else self.format.output
            place.refuse(column, index, 0, TOKENS_RULE, "correct the row, or leave such rows out (--skip-unfit)")
        if is_long.any() and not self._skips:
            if not self.tally.num_long:
                index = int(is_long.argmax())
                self.tally.first_long = f"row {place.first_row + index}, {prompt[index]:,} + {output[index]:,} tokens"
            self.tally.num_long += int(is_long.sum())
        reasons = {"failed": has_failed, "without tokens": is_empty, "too long": is_long}
        for reason, is_one in reasons.items():
            if count := int(is_one.sum()):
                self.tally.left_out[reason] = self.tally.left_out.get(reason, 0) + count
        fits: npt.NDArray[np.bool_] = ~(has_failed | is_empty | is_long)
        return fits


def _by_turn(file: TraceFile, columns: Columns, blocks: Blocks | None) -> tuple[Columns, Blocks | None]:
    """Return rows in the order of `Trace`: first turns by arrival, then the others by session; sessions numbered."""
    import pandas as pd

    is_first = columns["turn"] == 0
    known = pd.Index(columns["session"][is_first & (columns["session"] >= 0)])
    numbers = known.get_indexer(pd.Index(columns["session"])).astype(np.int64) if known.is_unique else None
    if numbers is None or np.any(numbers[~is_first] < 0):
        raise InvalidTraceError(f"every session of {file} must have one row of turn 0 (-1 is no session)")
    later = np.flatnonzero(~is_first)
    rows = np.concatenate((np.flatnonzero(is_first), later[np.lexsort((columns["turn"][later], numbers[later]))]))
    columns = {name: values[rows] for name, values in (columns | {"session": numbers}).items()}
    return columns, blocks and blocks.taken(rows)


def _trace(file: TraceFile, columns: Columns, blocks: Blocks | None, max_request_tokens: int) -> Trace:
    """Return columns, which are used up, as a trace."""
    columns["arrival_ps"] = columns.pop("arrival_us") * PS_PER_US
    if "think_us" in columns:
        columns["think_ps"] = columns.pop("think_us") * PS_PER_US
    columns.setdefault("max_tokens", max_request_tokens - columns["prompt_tokens"])
    try:
        return Trace(**columns, block_start=blocks.starts if blocks else None, block_ids=blocks.ids if blocks else None)
    except InvalidTraceError as error:
        raise InvalidTraceError(f"{file}: {error}") from None
