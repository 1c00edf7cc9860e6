"""What the columns of recorded traces mean: the public formats, told apart by the names of their columns, and ours.

A format gives a table of raw values its arrival times in microseconds and its tokens as whole numbers, or the one line
that says which row, column and value break which rule. What a row's neighbours say about it (order, prefixes, sessions)
belongs to `traces`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeAlias

import numpy as np

from glia_bench.cluster import Ints
from glia_bench.errors import InvalidTraceError, did_you_mean
from glia_bench.workloads.trace_files import TraceFile

if TYPE_CHECKING:
    import pandas as pd

    Column: TypeAlias = pd.Series[Any]
    Table: TypeAlias = pd.DataFrame

MAX_TOKENS = 100_000_000
MAX_CLOCK_S = 5_000_000_000
"""Largest time of a clock: whole microseconds of it are exact in a float, and seconds since 1970 have room."""
MAX_NUMBER = 1 << 53

TOKENS_RULE = f"a whole number of tokens from 1 to {MAX_TOKENS:,}"

Clock: TypeAlias = Literal["date", "s", "ms"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceFormat:
    """A format of recorded requests; names of columns in lower case.

    Attributes:
        name: For records.
        title: For people.
        arrival, prompt, output: Its columns of arrival time, prompt tokens and output tokens.
        clock: Arrival times as dates, or as seconds or milliseconds from the trace's beginning.
        options: Further columns that are read where the file has them.
        has_failures: Whether a request without output tokens is one that failed, as the format says; else a fault.
    """

    name: str
    title: str
    arrival: str
    prompt: str
    output: str
    clock: Clock
    options: tuple[str, ...] = ()
    has_failures: bool = False

    @property
    def is_ours(self) -> bool:
        """Whether it is our request table, whose times count from 0; those of public formats, from the first row's."""
        return self.name == "table"

    @property
    def required(self) -> tuple[str, str, str]:
        """Columns that tell the format."""
        return self.arrival, self.prompt, self.output


FORMATS = (
    TraceFormat(
        name="azure",
        title="Azure LLM inference trace (2023, 2024)",
        arrival="timestamp",
        prompt="contexttokens",
        output="generatedtokens",
        clock="date",
    ),
    TraceFormat(
        name="burstgpt",
        title="BurstGPT",
        arrival="timestamp",
        prompt="request tokens",
        output="response tokens",
        clock="s",
        has_failures=True,
    ),
    TraceFormat(
        name="mooncake",
        title="Mooncake",
        arrival="timestamp",
        prompt="input_length",
        output="output_length",
        clock="ms",
        options=("hash_ids",),
    ),
    TraceFormat(
        name="vidur",
        title="Vidur",
        arrival="arrived_at",
        prompt="num_prefill_tokens",
        output="num_decode_tokens",
        clock="s",
    ),
    TraceFormat(
        name="table",
        title="Glia-Bench request table",
        arrival="arrival_s",
        prompt="prompt_tokens",
        output="output_tokens",
        clock="s",
        options=(
            *("max_tokens", "tenant", "priority", "slo_class", "session", "turn", "think_s"),
            *("hash_ids", "block_ids", "parent", "shared_blocks"),
        ),
    ),
)
"""Azure: github.com/Azure/AzurePublicDataset. BurstGPT: github.com/HPMLL/BurstGPT. Mooncake:
github.com/kvcache-ai/Mooncake (FAST25-release). Vidur: github.com/microsoft/vidur."""


def recognise(file: TraceFile) -> tuple[TraceFormat, dict[str, str]]:
    """Return a file's format, and the columns to read: the format's names to the file's.

    Raises:
        InvalidTraceError: If its columns are those of no format, or one is there twice.
    """
    names = [name.strip().lower() for name in file.names]
    for known in FORMATS:
        if set(known.required) <= set(names):
            wanted = [name for name in (*known.required, *known.options) if name in names]
            for name in wanted:
                if names.count(name) > 1:
                    raise InvalidTraceError(f"the header of {file} must name {name!r} once (got it twice)")
            return known, {name: file.names[names.index(name)] for name in wanted}
    found = ", ".join(name.strip() for name in file.names)
    found = found if len(found) <= 150 else f"{found[:150]}…"
    nearest = max(FORMATS, key=lambda known: len(set(known.required) & set(names)))
    missing = [name for name in nearest.required if name not in names]
    if len(missing) > 1:
        formats = "; ".join(f"{known.title}: {', '.join(known.required)}" for known in FORMATS)
        raise InvalidTraceError(
            f"the first line of {file} must name the columns of a known trace, {formats} (got: {found})"
        )
    hint = "" if missing[0] != nearest.arrival else "; a file of lengths alone, without arrival times, is no trace"
    raise InvalidTraceError(
        f"the columns of {file} look like {nearest.title}, but {missing[0]!r} is missing (got: {found})"
        f"{did_you_mean(missing[0], set(names) - set(nearest.required)) or hint}"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a table lies in its file, for messages.

    Attributes:
        file: The file.
        names: The format's names of columns to the file's.
        first_row: Number of the table's first row.
    """

    file: TraceFile
    names: dict[str, str]
    first_row: int

    def refuse(
        self, column: str, index: int, value: Any, rule: str, way_out: str = "correct or remove the row"
    ) -> NoReturn:
        """Raise the error of one value."""
        text = str(value)
        text = text if len(text) <= 40 else f"{text[:40]}…"
        shown = {"": "nothing", "nan": "NaN", "NaT": "nothing", "None": "nothing"}.get(text, repr(text))
        name = self.names.get(column, column).strip()
        raise InvalidTraceError(
            f"row {self.first_row + index} of {self.file}: {name} must be {rule} (got {shown}); {way_out}"
        )


def whole_numbers(table: "Table", column: str, place: Place, *, low: int, high: int, rule: str = "") -> Ints:
    """Return a column of whole numbers; int64, shape (num_rows,).

    Args:
        table: Raw values.
        column: Its column.
        place: Where it lies.
        low: Smallest.
        high: Largest.
        rule: What to say of others instead of these bounds.

    Raises:
        InvalidTraceError: At the first value that is none, or outside [low, high].
    """
    values = table[column]
    if values.dtype.kind == "i":
        numbers = values.to_numpy(np.int64)
        is_bad = (numbers < low) | (numbers > high)
    else:
        exact = _floats(values)
        is_bad = ~((exact == np.rint(exact)) & (exact >= low) & (exact <= high))
        numbers = np.where(is_bad, 0, exact).astype(np.int64)
    if is_bad.any():
        index = int(is_bad.argmax())
        place.refuse(column, index, values.iloc[index], rule or f"a whole number from {low:,} to {high:,}")
    return numbers


def seconds_us(table: "Table", column: str, place: Place, *, per_second: int = 1, longest_s: int = MAX_CLOCK_S) -> Ints:
    """Return a column of times as whole microseconds, the nearest; int64, shape (num_rows,).

    Args:
        table: Raw values.
        column: Its column.
        place: Where it lies.
        per_second: What the file counts in: 1 for seconds, 1000 for milliseconds.
        longest_s: Largest time.

    Raises:
        InvalidTraceError: At the first value that is no number from 0 to `longest_s`.
    """
    values = table[column]
    exact = _floats(values)
    is_bad = ~((exact >= 0) & (exact <= longest_s * per_second))
    if is_bad.any():
        index = int(is_bad.argmax())
        unit = {1: "seconds", 1000: "milliseconds"}[per_second]
        place.refuse(column, index, values.iloc[index], f"a number of {unit} from 0 to {longest_s * per_second:,}")
    times_us: Ints = np.rint(exact * (1_000_000 // per_second)).astype(np.int64)
    return times_us


def dates_us(table: "Table", column: str, place: Place) -> tuple[Ints, str]:
    """Return a column of dates as microseconds since 1970, cut to whole ones, and their common time zone ("" for none).

    Raises:
        InvalidTraceError: At the first value that is no date, or one of another zone than the row above it.
    """
    import pandas as pd

    values = table[column]
    if values.dtype.kind != "M":
        texts = values.astype(str)
        zones = texts.str.extract(_ZONE, expand=False).fillna("")
        is_other = (zones != zones.iloc[0]).to_numpy()
        if is_other.any():
            index = int(is_other.argmax())
            rule = f"a date with the time zone of the rows above it ({zones.iloc[0] or 'none'})"
            place.refuse(column, index, values.iloc[index], rule, "convert all to UTC")
        moments = pd.to_datetime(texts, format="ISO8601", errors="coerce", utc=True)
        is_bad = (moments.isna() | ~texts.str.match(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d")).to_numpy()
        zone = str(zones.iloc[0])
    else:
        moments, is_bad = values, values.isna().to_numpy()
        zone = str(getattr(values.dtype, "tz", None) or "")
    if is_bad.any():
        index = int(is_bad.argmax())
        place.refuse(column, index, values.iloc[index], "a date such as 2023-11-16 18:15:46.6805900")
    return np.asarray(moments.dt.as_unit("us").astype("int64"), dtype=np.int64), zone


_ZONE = r"\d\d:\d\d.*?(Z|[+-]\d\d:?\d\d)$"
"""A zone at the end of a date with a time of day."""


def names_or_numbers(table: "Table", column: str, place: Place, known: Sequence[str]) -> Ints:
    """Return a column of numbers, or of names as their places in `known`; int64, shape (num_rows,).

    Raises:
        InvalidTraceError: At the first name that is not known, or a number that is no index.
    """
    values = table[column]
    texts = values.astype(str).str.strip()
    if values.dtype.kind in "if" or texts.str.fullmatch(r"\d+").all():
        return whole_numbers(table, column, place, low=0, high=1000)
    places = {name: index for index, name in enumerate(known)}
    found = texts.map(places)
    if found.isna().any():
        index = int(found.isna().to_numpy().argmax())
        rule = (
            f"one of the cluster's classes, {', '.join(known)}"
            if known
            else "a class's number, as its names are unknown"
        )
        place.refuse(column, index, values.iloc[index], rule)
    return np.asarray(found, dtype=np.int64)


def number_lists(table: "Table", column: str, place: Place) -> tuple[Ints, Ints]:
    """Return a column of lists of whole numbers as starts, shape (num_rows + 1,), and the numbers one after the other.

    A list is an array, or in text: numbers with spaces or commas between them, in brackets or not.

    Raises:
        InvalidTraceError: At the first value that is no such list, or repeats a number.
    """
    rule = "a list of different whole numbers, none below 0"
    lists = []
    for index, value in enumerate(table[column]):
        try:
            numbers = _SEPARATORS.sub(" ", value).split() if isinstance(value, str) else value
            array = np.asarray([] if numbers is None else numbers)
            if array.ndim != 1 or (len(array) and array.dtype.kind not in "iuU"):
                raise ValueError
            lists.append(array.astype(np.int64))
        except (TypeError, ValueError, OverflowError):
            place.refuse(column, index, value, rule)
    sizes = np.array([len(one) for one in lists])
    starts = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
    flat = np.concatenate([*lists, np.zeros(0, dtype=np.int64)])
    rows = np.repeat(np.arange(len(lists)), sizes)
    order = np.lexsort((flat, rows))
    is_repeated = (np.diff(flat[order]) == 0) & (np.diff(rows[order]) == 0)
    bad = rows[order][1:][is_repeated] if is_repeated.any() else rows[(flat < 0) | (flat > MAX_NUMBER)]
    if len(bad):
        place.refuse(column, int(bad[0]), lists[int(bad[0])].tolist(), rule)
    return starts, flat


_SEPARATORS = re.compile(r"[\[\],;\s]+")


def _floats(values: "Column") -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return a column as numbers, NaN for what is none."""
    import pandas as pd

    if values.dtype.kind in "bMm":  # truth values, dates and durations would pass for numbers
        return np.full(len(values), np.nan)
    try:
        return pd.to_numeric(values, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    except OverflowError:  # a whole number that no float reaches
        return pd.to_numeric(values.astype(str), errors="coerce").to_numpy(np.float64, na_value=np.nan)
