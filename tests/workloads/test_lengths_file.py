"""Length files as users have them: good ones in every accepted form, and each way to be wrong."""

import gzip
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from glia_bench.errors import InvalidTraceError
from glia_bench.workloads import lengths_file
from glia_bench.workloads.lengths_file import read_lengths

GOOD = "arrived_at,num_prefill_tokens,num_decode_tokens\n0.0,43,7\n1.5,100,200\n"


def written(folder: Path, content: str | bytes, name: str = "lengths.csv") -> Path:
    """Write a file and return its path."""
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    "content",
    [
        GOOD,
        GOOD.rstrip("\n"),
        GOOD.replace("\n", "\r\n"),
        "\ufeff" + GOOD,
        GOOD + "\n\n",
        "prompt_tokens,output_tokens\n43,7\n100,200\n",
        "output_tokens, prompt_tokens \n7, 43\n200,100\n",
        'num_prefill_tokens,num_decode_tokens,note\n43,7,"a, b"\n100,200,\n',
        gzip.compress(GOOD.encode()),
    ],
)
def test_accepted_forms_are_read_alike(tmp_path: Path, content: str | bytes) -> None:
    """Both header styles, any column order, BOM, CRLF, blank ends, quotes and gzip give the same requests and hash."""
    lengths = read_lengths(written(tmp_path, content))
    assert lengths.prompt_tokens.tolist() == [43, 100]
    assert lengths.output_tokens.tolist() == [7, 200]
    assert lengths.prompt_tokens.dtype == np.int64
    assert len(lengths) == 2
    assert lengths.sha256 == read_lengths(written(tmp_path, GOOD, "plain.csv")).sha256
    assert not lengths.is_authors


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty; it needs a header"),
        ("\n\n", "is empty; it needs a header"),
        ("a,b\n1,2\n3,4\n", r"must name the columns num_prefill_tokens and num_decode_tokens or .* \(got: a, b\)"),
        ("prompt_tokens,num_decode_tokens\n1,2\n3,4\n", r"got: prompt_tokens, num_decode_tokens"),
        ("prompt_tokens,output_tokens,prompt_tokens\n1,2,3\n4,5,6\n", "each once"),
        ("prompt_tokens,output_tokens\n", "at least 2 rows .* has 0"),
        ("prompt_tokens,output_tokens\n1,2\n", "at least 2 rows .* has 1"),
        ("prompt_tokens,output_tokens\n1,2\n1.5,2\n", r"line 3 .*prompt_tokens must be a whole number.*'1.5'"),
        ("prompt_tokens,output_tokens\n1,2\n1,nan\n", r"line 3 .*output_tokens must be a whole number.*'nan'"),
        ("prompt_tokens,output_tokens\n1,2\n1,\n", r"line 3 .*output_tokens .*''"),
        ("prompt_tokens,output_tokens\n1,2\n-4,2\n", r"line 3 .*'-4'"),
        ("prompt_tokens,output_tokens\n0,2\n1,2\n", r"line 2 .*at least 1 \(got '0'\)"),
        ("prompt_tokens,output_tokens\n1,2\n1_0,2\n", r"line 3 .*'1_0'"),
        ("prompt_tokens,output_tokens\n1,2\n\u0664,2\n", r"line 3 .*'\u0664'"),
        (f"prompt_tokens,output_tokens\n1,2\n{'9' * 3000},2\n", r"line 3 .*'9{40}…'"),
        ("prompt_tokens,output_tokens\n1,2\n5000,3193\n", r"line 3 .*at most 8192 tokens \(got 5000 \+ 3193\)"),
        ("prompt_tokens,output_tokens\n1,2\n1\n", r"line 3 .*must have 2 fields .*got 1"),
        ("prompt_tokens,output_tokens\n1,2\n1,2,3\n", r"line 3 .*must have 2 fields .*got 3"),
        ('prompt_tokens,output_tokens\n1,2\n"1,2\n', r"is not a CSV file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(200), "is not a CSV file: line 1 is not UTF-8 text"),
        (b"prompt_tokens,output_tokens\n1,2\n1,\x002\n", "line 3 is not UTF-8 text"),
        ("x" * 1_000_000, "line 1 is longer than 4096 bytes"),
        (gzip.compress(GOOD.encode())[:-10], "cannot read the lengths file"),
        (b"\x1f\x8bnot gzip after all", "cannot read the lengths file"),
    ],
)
def test_a_wrong_file_is_refused_with_place_and_value(tmp_path: Path, content: str | bytes, message: str) -> None:
    """Each way to be wrong has a message that names the file, the line and what was found there."""
    path = written(tmp_path, content)
    with pytest.raises(InvalidTraceError, match=message) as caught:
        read_lengths(path)
    assert path.name in str(caught.value)


def test_absent_files_and_folders_are_refused(tmp_path: Path) -> None:
    """A path with nothing there, or with a folder, is named as such."""
    with pytest.raises(InvalidTraceError, match=r"no lengths file at .*nothing.csv.*num_prefill_tokens"):
        read_lengths(tmp_path / "nothing.csv")
    with pytest.raises(InvalidTraceError, match="got the folder"):
        read_lengths(tmp_path)
    with pytest.raises(InvalidTraceError, match="regular file"):
        read_lengths("/dev/null")


def test_too_many_rows_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One row above the limit is refused; at the limit it is read."""
    monkeypatch.setattr(lengths_file, "MAX_ROWS", 2)
    assert len(read_lengths(written(tmp_path, GOOD))) == 2
    with pytest.raises(InvalidTraceError, match="more than 2 rows"):
        read_lengths(written(tmp_path, GOOD + "2,3,4\n"))


def test_a_huge_file_does_not_fill_the_memory(tmp_path: Path) -> None:
    """Reading 200 MB of one endless line, packed into 200 kB, takes less than 2 MB."""
    bomb = b"prompt_tokens,output_tokens\n" + bytes(200_000_000)
    path = written(tmp_path, gzip.compress(bomb, compresslevel=1))
    del bomb
    tracemalloc.start()
    try:
        with pytest.raises(InvalidTraceError, match="longer than 4096 bytes"):
            read_lengths(path)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_the_authors_file_is_recognised(shared_dir: Path, tmp_path: Path) -> None:
    """The authors' 3,973 pairs are known by hash, also at the head of a longer file, and not after one change."""
    path = shared_dir / "data" / "glia_paper" / "sharegpt_12.csv.gz"
    assert read_lengths(path).is_authors
    text = gzip.decompress(path.read_bytes()).decode()
    assert read_lengths(written(tmp_path, text + "999,5,5\n")).is_authors
    assert not read_lengths(written(tmp_path, text.replace(",43,43\n", ",43,44\n", 1))).is_authors
