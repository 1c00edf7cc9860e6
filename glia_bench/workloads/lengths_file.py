"""Reading prompt and output lengths from a user's CSV, plain or gzipped: one request per row, checked row by row.

The file is streamed: memory holds the accepted numbers only, at most MAX_ROWS of them. Arrival times in it are ignored.
"""

import csv
import gzip
import hashlib
import zlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from glia_bench.cluster import Ints
from glia_bench.errors import InvalidTraceError

MAX_ROWS = 1_000_000
MAX_TOTAL_TOKENS = 8192
COLUMN_NAMES = (("num_prefill_tokens", "num_decode_tokens"), ("prompt_tokens", "output_tokens"))
"""Accepted pairs of column names: Vidur's, and ours."""

AUTHORS_ROWS = 3973
AUTHORS_SHA256 = "d840ea39537147c3d01162ba59766546dfa73d92cac3735349089350b8b1da26"
"""Hash of the first 3,973 (prompt, output) pairs of the Glia authors' sequence: sharegpt_12.0.csv of
github.com/pouyahmdn/vidur@0209d484; their files of other rates begin with the same pairs."""

_MAX_LINE_BYTES = 4096
_MAX_DIGITS = 9


@dataclass(frozen=True, slots=True, eq=False)
class Lengths:
    """Known requests in file order.

    Attributes:
        prompt_tokens: int64, shape (num_requests,), at least 1.
        output_tokens: int64, shape (num_requests,), at least 1.
        sha256: Hash of the pairs, little-endian; the file's other columns do not matter.
        is_authors: Whether the sequence begins with the Glia authors' 3,973 pairs.
    """

    prompt_tokens: Ints
    output_tokens: Ints
    sha256: str
    is_authors: bool

    def __len__(self) -> int:
        return len(self.prompt_tokens)


def read_lengths(path: str | Path) -> Lengths:
    """Read the lengths of known requests.

    Args:
        path: A CSV (or gzipped CSV) with a header that names num_prefill_tokens and num_decode_tokens, or
            prompt_tokens and output_tokens; other columns are ignored.

    Raises:
        InvalidTraceError: If the file cannot be read as that; the message names the row and what was found there.
    """
    path = Path(path)
    if path.is_dir():
        raise InvalidTraceError(f"a lengths file must be a CSV file (got the folder {str(path)!r})")
    if not path.exists():
        raise InvalidTraceError(f"no lengths file at {str(path)!r}; give the path of a CSV with {_wanted()}")
    if not path.is_file():
        raise InvalidTraceError(f"a lengths file must be a regular file (got {str(path)!r})")
    try:
        with path.open("rb") as raw:
            is_gzip = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            if is_gzip:
                with gzip.open(raw, "rb") as unpacked:
                    pairs = _read_pairs(unpacked, path)  # type: ignore[arg-type]
            else:
                pairs = _read_pairs(raw, path)
    except (OSError, EOFError, zlib.error) as error:
        raise InvalidTraceError(f"cannot read the lengths file {str(path)!r}: {error}") from error
    return Lengths(
        prompt_tokens=np.ascontiguousarray(pairs[:, 0]),
        output_tokens=np.ascontiguousarray(pairs[:, 1]),
        sha256=_hash(pairs),
        is_authors=len(pairs) >= AUTHORS_ROWS and _hash(pairs[:AUTHORS_ROWS]) == AUTHORS_SHA256,
    )


def _read_pairs(file: BinaryIO, path: Path) -> Ints:
    rows = csv.reader(_lines(file, path), strict=True)
    try:
        header = [name.strip() for name in next(rows, [])]
        if not any(header):
            raise InvalidTraceError(f"the lengths file {str(path)!r} is empty; it needs a header and {_wanted()}")
        prompt_column, output_column = _columns(header, path)
        numbers = array("q")
        for row in rows:
            if not row:
                continue
            line = rows.line_num
            if len(row) != len(header):
                raise InvalidTraceError(
                    f"line {line} of {str(path)!r} must have {len(header)} fields as its header has (got {len(row)})"
                )
            if len(numbers) >= 2 * MAX_ROWS:
                raise InvalidTraceError(f"{str(path)!r} has more than {MAX_ROWS} rows; cut it")
            prompt = _tokens(row[prompt_column], header[prompt_column], line, path)
            output = _tokens(row[output_column], header[output_column], line, path)
            if prompt + output > MAX_TOTAL_TOKENS:
                raise InvalidTraceError(
                    f"line {line} of {str(path)!r}: prompt plus output must be at most {MAX_TOTAL_TOKENS} tokens "
                    f"(got {prompt} + {output})"
                )
            numbers.extend((prompt, output))
    except csv.Error as error:
        raise InvalidTraceError(f"{str(path)!r} is not a CSV file: {error} (line {rows.line_num})") from error
    if len(numbers) < 4:
        raise InvalidTraceError(f"a lengths file needs at least 2 rows ({str(path)!r} has {len(numbers) // 2})")
    return np.array(numbers, dtype=np.int64).reshape(-1, 2)


def _lines(file: BinaryIO, path: Path) -> Iterator[str]:
    """Yield text lines of bounded length; a file of one endless line never fills the memory."""
    number = 0
    while raw := file.readline(_MAX_LINE_BYTES + 1):
        number += 1
        if len(raw) > _MAX_LINE_BYTES:
            raise InvalidTraceError(
                f"{str(path)!r} is not a CSV file of lengths: line {number} is longer than {_MAX_LINE_BYTES} bytes"
            )
        try:
            text = raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            text = "\0"
        if "\0" in text:
            raise InvalidTraceError(f"{str(path)!r} is not a CSV file: line {number} is not UTF-8 text")
        yield text


def _columns(header: list[str], path: Path) -> tuple[int, int]:
    for prompt_name, output_name in COLUMN_NAMES:
        if header.count(prompt_name) == 1 and header.count(output_name) == 1:
            return header.index(prompt_name), header.index(output_name)
    found = ", ".join(header)
    found = found if len(found) <= 200 else f"{found[:200]}…"
    raise InvalidTraceError(f"the header of {str(path)!r} must name {_wanted()}, each once (got: {found})")


def _tokens(text: str, column: str, line: int, path: Path) -> int:
    text = text.strip()
    if text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS and int(text) >= 1:
        return int(text)
    shown = text if len(text) <= 40 else f"{text[:40]}…"
    raise InvalidTraceError(
        f"line {line} of {str(path)!r}: {column} must be a whole number of tokens, at least 1 (got {shown!r})"
    )


def _wanted() -> str:
    return " or ".join(f"the columns {prompt} and {output}" for prompt, output in COLUMN_NAMES)


def _hash(pairs: Ints) -> str:
    return hashlib.sha256(pairs.astype("<i8").tobytes()).hexdigest()
