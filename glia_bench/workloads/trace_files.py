"""A file of recorded requests as tables of raw values: CSV, JSON Lines or Parquet, the first two plain or gzipped.

The container is told by its content, not by its name, and read a block of rows at a time. What columns mean is decided
in `trace_formats`; here a value is whatever the file says, and a fault is one of the container: no file, cut short,
binary, ragged. Rows are counted from 1, the header not among them.
"""

import csv
import gzip
import io
import json
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

from glia_bench.errors import InvalidTraceError

if TYPE_CHECKING:
    import pandas as pd

    Table: TypeAlias = pd.DataFrame

MAX_LINE_BYTES = 4 << 20
"""Of a line: room for the block ids of a prompt of a million tokens; a file of one endless line never fills memory."""

_HEADER_BYTES = 64 << 10
_READ_BYTES = 1 << 20
_PARQUET = b"PAR1"


class TraceFile:
    """A file on the disk, its container and the names of its columns.

    Attributes:
        path: Where it is.
        names: Its columns, as written.
    """

    def __init__(self, path: str | Path) -> None:
        """Look at a file's beginning.

        Raises:
            InvalidTraceError: If there is no such file, or it is none of the containers.
        """
        self.path = Path(path)
        if self.path.is_dir():
            raise InvalidTraceError(f"a trace must be a file (got the folder {str(path)!r})")
        if not self.path.exists():
            raise InvalidTraceError(f"no trace at {str(path)!r}; give the path of a CSV, JSON Lines or Parquet file")
        if not self.path.is_file():
            raise InvalidTraceError(f"a trace must be a regular file (got {str(path)!r})")
        with self._faults():
            with self.path.open("rb") as file:
                start = file.read(len(_PARQUET))
            self._is_gzip = start[:2] == b"\x1f\x8b"
            self._is_parquet = start == _PARQUET
            self._is_json = False
            self.names = self._read_names()

    def __str__(self) -> str:
        return repr(str(self.path))

    def tables(self, names: Sequence[str], rows: int) -> Iterator["Table"]:
        """Yield tables of at most `rows` consecutive rows with the named columns, in their order.

        Raises:
            InvalidTraceError: Where the file cannot be read on; the message says how far it could be.
        """
        if self._is_parquet:
            yield from self._parquet_tables(names, rows)
        elif self._is_json:
            yield from self._json_tables(names, rows)
        else:
            yield from self._csv_tables(names, rows)

    def _read_names(self) -> list[str]:
        if self._is_parquet:
            import pyarrow.parquet

            return list(pyarrow.parquet.ParquetFile(self.path).schema_arrow.names)
        with self._open() as file:
            line = file.readline(_HEADER_BYTES + 1)
            while line and not line.strip():
                line = file.readline(_HEADER_BYTES + 1)
        if not line:
            raise InvalidTraceError(f"the trace {self} is empty; it needs a header and at least one row")
        text = self._text(line)
        self._is_json = text.lstrip()[:1] in ("{", "[")
        if self._is_json:
            return list(self._json_row(text, 1))
        if len(line) > _HEADER_BYTES:
            raise InvalidTraceError(f"{self} is no table of requests: its first line exceeds {_HEADER_BYTES} bytes")
        return next(csv.reader([text]))

    def _csv_tables(self, names: Sequence[str], rows: int) -> Iterator["Table"]:
        import pandas as pd

        places = [self.names.index(name) for name in names]
        done = 0
        with self._faults(), self._open() as file, warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # a row longer than the header
            tables = pd.read_csv(
                io.BufferedReader(_CheckedBytes(file, self), _READ_BYTES),
                chunksize=rows,
                index_col=False,  # all columns, though few are used: else a row too long would be cut in silence
                na_filter=False,  # an empty field stays one, so that the message can show it
                skipinitialspace=True,
                low_memory=False,
                encoding="utf-8-sig",
            )
            with tables:
                while True:
                    try:
                        table = next(tables)
                    except StopIteration:
                        break
                    except pd.errors.ParserWarning:
                        raise InvalidTraceError(
                            f"a row of {self} after row {done} has more fields than the header; quote what has commas"
                        ) from None
                    yield table.iloc[:, places].set_axis(list(names), axis="columns")
                    done += len(table)

    def _json_tables(self, names: Sequence[str], rows: int) -> Iterator["Table"]:
        import pandas as pd

        columns: dict[str, list[Any]] = {name: [] for name in names}
        number = 0
        with self._faults(), self._open() as file:
            for line in io.BufferedReader(_CheckedBytes(file, self), _READ_BYTES):
                text = self._text(line)
                if not text.strip():
                    continue
                number += 1
                row = self._json_row(text, number)
                for name, values in columns.items():
                    if name not in row:
                        raise InvalidTraceError(f"row {number} of {self} must have {name!r} as the first row does")
                    values.append(row[name])
                if number % rows == 0:
                    yield pd.DataFrame(columns)
                    columns = {name: [] for name in names}
        if number % rows:
            yield pd.DataFrame(columns)

    def _parquet_tables(self, names: Sequence[str], rows: int) -> Iterator["Table"]:
        import pyarrow.parquet

        with self._faults(), pyarrow.parquet.ParquetFile(self.path) as file:
            for batch in file.iter_batches(batch_size=rows, columns=list(names)):
                yield batch.to_pandas()[list(names)]

    def _json_row(self, text: str, number: int) -> dict[str, Any]:
        try:
            row = json.loads(text)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise InvalidTraceError(
                f"row {number} of {self} must be one JSON object on a line of its own (got {_short(text)}); "
                f"`jq -c .` writes objects so, `jq -c '.[]'` a JSON array"
            )
        return row

    def _text(self, line: bytes) -> str:
        try:
            text = line.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = "\0"
        if "\0" in text:
            raise InvalidTraceError(f"{self} must be a CSV, JSON Lines or Parquet file (it is no UTF-8 text)")
        return text

    def _open(self) -> IO[bytes]:
        return gzip.open(self.path, "rb") if self._is_gzip else self.path.open("rb")  # type: ignore[return-value]

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """Turn what reading the container raises into one line."""
        import pandas as pd
        import pyarrow

        try:
            yield
        except UnicodeDecodeError as error:
            raise InvalidTraceError(f"{self} must be UTF-8 text ({error.reason}); convert it") from None
        except EOFError:
            raise InvalidTraceError(f"{self} is cut short: its gzip stream has no end; fetch it again") from None
        except (OSError, zlib.error, pyarrow.ArrowException) as error:
            raise InvalidTraceError(f"cannot read the trace {self}: {_short(str(error))}; fetch it again") from None
        except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
            reason = str(error).removeprefix("Error tokenizing data. C error: ")
            raise InvalidTraceError(f"{self} must be a CSV file: {_short(reason)}") from None


class _CheckedBytes(io.RawIOBase):
    """Bytes of a text file on their way to a parser, which itself would take a line of any length and NUL bytes."""

    def __init__(self, file: IO[bytes], source: TraceFile) -> None:
        self._file = file
        self._source = source
        self._line_bytes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(len(buffer))
        if b"\0" in data:
            raise InvalidTraceError(f"{self._source} must be text (it holds NUL bytes); fetch it again")
        end = data.rfind(b"\n")
        self._line_bytes = self._line_bytes + len(data) if end < 0 else len(data) - end - 1
        if self._line_bytes > MAX_LINE_BYTES:
            raise InvalidTraceError(f"{self._source} must have lines of at most {MAX_LINE_BYTES:,} bytes")
        buffer[: len(data)] = data
        return len(data)


def _short(text: str) -> str:
    """Return a text that may come from a broken file so that it fits into a line."""
    shown = " ".join(
        "".join(c if c.isprintable() or c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in text).split()
    )
    return shown if len(shown) <= 120 else f"{shown[:120]}…"
