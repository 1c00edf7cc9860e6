"""Recorded traces as people have them: every public format, ours, pieces of files, and each way to be wrong."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from glia_bench.case import Trace
from glia_bench.errors import InvalidTraceError
from glia_bench.workloads import traces
from glia_bench.workloads.sessions import Sessions, session_trace
from glia_bench.workloads.traces import read_recording, read_trace, trace_chunks, write_trace

AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
BURST = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
MOONCAKE = "timestamp,input_length,output_length,hash_ids\n"
VIDUR = "arrived_at,num_prefill_tokens,num_decode_tokens\n"
OURS = "arrival_s,prompt_tokens,output_tokens\n"
SESSIONS = "arrival_s,prompt_tokens,output_tokens,session,turn,think_s\n"


def written(folder: Path, content: str | bytes, name: str = "trace.csv") -> Path:
    """Write a file and return its path."""
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def requests_of(trace: Trace) -> list[tuple[float, int, int]]:
    """Return (arrival in seconds, prompt, output) of every request."""
    return list(
        zip((trace.arrival_ps / 1e12).tolist(), trace.prompt_tokens.tolist(), trace.output_tokens.tolist(), strict=True)
    )


@pytest.mark.parametrize(
    ("content", "name", "requests"),
    [
        (
            AZURE + "2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:50.9951690,396,109\n",
            "azure",
            [(0.0, 374, 44), (4.314579, 396, 109)],
        ),
        (
            AZURE + "2024-05-12 00:00:00+00:00,200,20\n2024-05-12 00:00:10.003948+00:00,300,30\n",
            "azure",
            [(0.0, 200, 20), (10.003948, 300, 30)],
        ),
        (
            BURST + "5,ChatGPT,472,18,490,Conversation log\n118.5,GPT-4,417,276,693,API log\n",
            "burstgpt",
            [(0.0, 472, 18), (113.5, 417, 276)],
        ),
        (
            "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
            "19440110.0,1722ac82-0a46,43,GPT-4,906,446,1352,Conversation log\n19440161.0,,2,ChatGPT,36,29,65,API log\n",
            "burstgpt",
            [(0.0, 906, 446), (51.0, 36, 29)],
        ),
        (MOONCAKE + '0,600,52,"[4, 5]"\n3000,601,53,4 6\n', "mooncake", [(0.0, 600, 52), (3.0, 601, 53)]),
        (VIDUR + "0.5,43,7\n1.5,100,200\n", "vidur", [(0.0, 43, 7), (1.0, 100, 200)]),
        (OURS + "0.5,43,7\n1.5,100,200\n", "table", [(0.5, 43, 7), (1.5, 100, 200)]),
        (
            "output_tokens, Arrival_S ,prompt_tokens,note\n7,0.5,43,x\n200,1.5,100.0,y\n",
            "table",
            [(0.5, 43, 7), (1.5, 100, 200)],
        ),
        (
            "\ufeff" + OURS.replace("\n", "\r\n") + "0.5,43,7\r\n\r\n1.5,100,200",
            "table",
            [(0.5, 43, 7), (1.5, 100, 200)],
        ),
    ],
    ids=["azure 2023", "azure 2024", "burstgpt", "burstgpt 3", "mooncake", "vidur", "ours", "any order", "BOM, CRLF"],
)
def test_each_format_is_known_by_its_columns(
    tmp_path: Path, content: str, name: str, requests: list[tuple[float, int, int]]
) -> None:
    """Times become picoseconds, in public formats from the first row; plain, gzipped and as Parquet alike."""
    plain = read_recording(written(tmp_path, content))
    assert (plain.format, plain.num_rows, plain.left_out) == (name, 2, {})
    assert requests_of(plain.trace) == requests
    assert plain.trace.arrival_ps.dtype == np.int64
    # what the client allows tells nothing about the output
    assert (plain.trace.max_tokens + plain.trace.prompt_tokens).tolist() == [traces.MAX_REQUEST_TOKENS] * 2
    packed = read_recording(written(tmp_path, gzip.compress(content.encode()), "no_ending"))
    assert packed.trace.sha256 == plain.trace.sha256
    assert packed.sha256 != plain.sha256
    pd.read_csv(tmp_path / "trace.csv").to_parquet(tmp_path / "trace.parquet")
    assert read_trace(tmp_path / "trace.parquet").sha256 == plain.trace.sha256


def test_dates_of_a_parquet_file_need_no_parsing(tmp_path: Path) -> None:
    """A column of instants is read like the same dates as text."""
    content = AZURE + "2024-05-12 00:00:00+00:00,200,20\n2024-05-12 00:00:10.003948+00:00,300,30\n"
    frame = pd.read_csv(written(tmp_path, content), parse_dates=["TIMESTAMP"])
    frame.to_parquet(tmp_path / "trace.parquet")
    assert read_trace(tmp_path / "trace.parquet").sha256 == read_trace(tmp_path / "trace.csv").sha256


def test_instants_where_seconds_belong_are_refused(tmp_path: Path) -> None:
    """Their number of microseconds since 1970 would pass for seconds."""
    frame = pd.DataFrame({"arrival_s": pd.to_datetime([0, 1]), "prompt_tokens": [1, 2], "output_tokens": [1, 2]})
    frame.to_parquet(tmp_path / "trace.parquet")
    with pytest.raises(InvalidTraceError, match=r"row 1 .*arrival_s must be a number of seconds .*'1970-01-01"):
        read_trace(tmp_path / "trace.parquet")


def test_rows_that_failed_when_recorded_are_left_out_and_counted(tmp_path: Path) -> None:
    """BurstGPT's requests without an answer are no requests; a format without such a meaning refuses them."""
    rows = "5,ChatGPT,472,18,490,API log\n6,ChatGPT,100,0,100,API log\n8,GPT-4,417,276,693,API log\n"
    recording = read_recording(written(tmp_path, BURST + rows))
    assert requests_of(recording.trace) == [(0.0, 472, 18), (3.0, 417, 276)]
    assert (recording.num_rows, recording.left_out) == (3, {"failed": 1})


def test_mooncake_blocks_become_blocks_of_the_cluster(tmp_path: Path) -> None:
    """A 512-token block is 32 of 16 tokens; what two prompts share stays shared; only whole blocks have ids."""
    rows = [
        {"timestamp": 27482, "input_length": 1100, "output_length": 52, "hash_ids": [46, 47, 2353]},
        {"timestamp": 30535, "input_length": 1030, "output_length": 26, "hash_ids": [46, 47, 2366]},
    ]
    path = written(tmp_path, "".join(json.dumps(row) + "\n" for row in rows), "trace.jsonl")
    trace = read_trace(path)
    assert requests_of(trace) == [(0.0, 1100, 52), (3.053, 1030, 26)]
    assert trace.block_start is not None
    assert trace.block_ids is not None
    assert trace.block_start.tolist() == [0, 68, 132]  # floor(1100 / 16), floor(1030 / 16)
    first, second = trace.block_ids[:68], trace.block_ids[68:]
    assert first[:64].tolist() == second[:64].tolist() == list(range(46 * 32, 48 * 32))
    assert first[64:].tolist() == [2353 * 32 + k for k in range(4)]
    assert read_trace(path, block_size_tokens=512).block_ids.tolist() == [46, 47, 46, 47]  # type: ignore[union-attr]
    without = read_recording(path, block_size_tokens=None)
    assert (without.trace.block_ids, without.unused) == (None, ("hash_ids",))


def test_a_prefix_tree_gives_the_blocks_that_it_stands_for(tmp_path: Path) -> None:
    """`parent` and `shared_blocks` share as many leading blocks as they say, also across tables of one file."""
    content = OURS.strip() + ",parent,shared_blocks\n0,1024,1,-1,0\n1,1536,1,0,2\n2,600,1,1,1\n3,512,1,-1,0\n"
    path = written(tmp_path, content)
    trace = read_trace(path, block_size_tokens=512)
    assert trace.block_ids is not None
    assert trace.block_ids.tolist() == [0, 1, 0, 1, 2, 0, 4]  # the tail of row 2 is no whole block, but has an id
    pieces = list(trace_chunks(path, 1, block_size_tokens=512))
    assert [piece.block_ids.tolist() for piece in pieces] == [[0, 1], [0, 1, 2], [0], [4]]  # type: ignore[union-attr]


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "parquet"])
@pytest.mark.parametrize("has_sessions", [False, True])
def test_a_trace_written_is_the_trace_read(tmp_path: Path, ending: str, has_sessions: bool) -> None:
    """All columns survive, sessions with their turns and blocks too; equal hashes."""
    if has_sessions:
        sessions = Sessions(horizon_s=100, warm_up_s=50, max_request_tokens=8192, system_tokens=64, mean_gap_s=20)
        trace = session_trace(sessions, np.arange(0, 150_000_000, 1_500_007), "round trip", 3)
        assert trace.num_clock < len(trace)
    else:
        generator = np.random.default_rng(5)
        trace = Trace(
            arrival_ps=np.cumsum(generator.integers(0, 10**7, 300)) * 10**6,
            **{
                name: generator.integers(low, 900, 300)
                for name, low in {"prompt_tokens": 1, "output_tokens": 1, "max_tokens": 1, "tenant": 0}.items()
            },
            priority=generator.integers(-3, 3, 300),
            slo_class=generator.integers(0, 2, 300),
        )
    path = tmp_path / f"trace.{ending}"
    write_trace(trace, path)
    assert read_trace(path).sha256 == trace.sha256


def test_sessions_wait_for_answers_only_where_think_times_are_given(tmp_path: Path) -> None:
    """With think_s the later turns follow; without, every row arrives by the clock, and that is said."""
    rows = "0,10,1,70,0,0\n1,5,5,9,0,0\n1.5,6,6,-1,0,0\n2,40,4,70,1,1.5\n"
    trace = read_trace(written(tmp_path, SESSIONS + rows))
    assert trace.session is not None
    assert trace.think_ps is not None
    assert (trace.num_clock, trace.session.tolist()) == (3, [0, 1, -1, 0])
    assert trace.think_ps.tolist() == [0, 0, 0, 15 * 10**11]
    header = SESSIONS.replace(",think_s", "")
    open_loop = read_recording(written(tmp_path, header + "0,10,1,70,0\n2,40,4,70,1\n"))
    assert (open_loop.trace.num_clock, open_loop.unused) == (2, ("session", "turn"))


def test_classes_may_go_by_name(tmp_path: Path) -> None:
    """Names are looked up among the cluster's classes; numbers are taken as they are."""
    path = written(tmp_path, OURS.strip() + ",slo_class,tenant\n0,1,1,batch,0\n1,2,2,chat,7\n")
    trace = read_trace(path, slo_classes=["chat", "batch"])
    assert trace.slo_class is not None
    assert trace.slo_class.tolist() == [1, 0]
    assert trace.tenant is not None
    assert trace.tenant.tolist() == [0, 7]
    with pytest.raises(InvalidTraceError, match=r"row 1 .*slo_class must be one of the cluster's classes, chat"):
        read_trace(path, slo_classes=["chat"])


def many_rows(number: int) -> str:
    """Return a table of requests, some too long and some empty."""
    rows = (f"{k * 0.25},{1 + k * 37 % 900},{k % 50}\n" for k in range(number))
    return OURS + "".join(rows)


def test_pieces_are_the_whole_cut_up(tmp_path: Path) -> None:
    """Consecutive traces of bounded size; times go on; what is left out of the whole is left out of the pieces."""
    path = written(tmp_path, many_rows(1000))
    options: dict[str, Any] = {"max_request_tokens": 800, "skip_unfit": True}
    recording = read_recording(path, **options)
    assert recording.left_out.keys() == {"without tokens", "too long"}
    assert len(recording.trace) + sum(recording.left_out.values()) == recording.num_rows == 1000
    pieces = list(trace_chunks(path, 64, **options))
    assert max(len(piece) for piece in pieces) <= 64
    for name in ("arrival_ps", "prompt_tokens", "output_tokens", "max_tokens"):
        joined = np.concatenate([getattr(piece, name) for piece in pieces])
        assert np.array_equal(joined, getattr(recording.trace, name))
    with pytest.raises(InvalidTraceError, match="cannot be read in pieces"):
        next(trace_chunks(written(tmp_path, SESSIONS + "0,1,1,0,0,0\n", "s.csv")))


def test_faults_are_named_by_row_wherever_tables_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row numbers, order and time zones are those of the file, not of the table that was being read."""
    monkeypatch.setattr(traces, "ROWS", 2)
    rows = "0,1,1\n1,1,1\n2,1,1\n"
    with pytest.raises(InvalidTraceError, match=r"^row 4 of .*prompt_tokens .*'-1'"):
        read_trace(written(tmp_path, OURS + rows + "3,-1,1\n"))
    with pytest.raises(InvalidTraceError, match=r"^row 5 of .*arrival_s must be no earlier .*by 2\.5 s"):
        read_trace(written(tmp_path, OURS + rows + "3,1,1\n0.5,1,1\n"))
    dates = "2024-05-12 00:00:00+00:00,2,2\n2024-05-12 00:00:01+00:00,2,2\n2024-05-12 00:00:02,2,2\n"
    with pytest.raises(InvalidTraceError, match=r"^row 3 of .*time zone of the rows above it \(\+00:00\)"):
        read_trace(written(tmp_path, AZURE + dates))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty; it needs a header"),
        ("\n\n", "is empty; it needs a header"),
        (OURS, r"must hold a request that can be run \(it has no rows\)"),
        ("a,b,c\n1,2,3\n", r"first line .* must name the columns of a known trace.*\(got: a, b, c\)"),
        ("0.5,12,5\n1,2,3\n", r"first line .*\(got: 0\.5, 12, 5\)"),
        (OURS.replace(",", ";") + "1;2;3\n", r"got: arrival_s;prompt_tokens;output_tokens"),
        ("arrival_s,prompt_tokens,output_token\n1,2,3\n", r"'output_tokens' is missing .*did you mean 'output_token'"),
        (
            "num_prefill_tokens,num_decode_tokens\n1,2\n",
            r"look like Vidur, but 'arrived_at' is missing .*lengths alone",
        ),
        ("prompt_tokens,arrival_s,prompt_tokens,output_tokens\n1,2,3,4\n", "must name 'prompt_tokens' once"),
        (OURS + "0,1,1\n1,nan,4\n", r"row 2 .*prompt_tokens must be a whole number of tokens from 1 .*NaN.*correct"),
        (OURS + "0,1,1\n1,,4\n", r"row 2 .*prompt_tokens .*got nothing"),
        (OURS + "0,1,1\n1,5,-3\n", r"row 2 .*output_tokens .*'-3'"),
        (OURS + "0,1,1\n1,5,0\n", r"row 2 .*output_tokens must be .* from 1 .*'0'.*--skip-unfit"),
        (OURS + "0,1,1\n1,5.5,3\n", r"row 2 .*prompt_tokens .*'5\.5'"),
        (OURS + "0,1,1\n1,many,3\n", r"row 2 .*prompt_tokens .*'many'"),
        (OURS + "0,1,1\n1,True,3\n", r"row 2 .*prompt_tokens .*'True'"),
        (OURS + f"0,1,1\n1,{'9' * 60},3\n", r"row 2 .*prompt_tokens .*'9{40}…'"),
        (OURS + "0,1,1\n1,1e300,3\n", r"row 2 .*prompt_tokens .*'1e\+300'"),
        (OURS + "0,1,1\n-1,1,3\n", r"row 2 .*arrival_s must be a number of seconds .*'-1'"),
        (OURS + "0,1,1\ninf,1,3\n", r"row 2 .*arrival_s .*'inf'"),
        (OURS + "0,1,1\n1e13,1,3\n", r"row 2 .*arrival_s must be a number of seconds from 0 to 5,000,000,000"),
        (OURS + "0,1,1\n1e8,1,3\n", r"row 2 .*arrival_s must be at most 9,000,000 s after .*cut the file"),
        (
            OURS + "0,1,1\n1,2,3\n0.5,4,4\n",
            r"row 3 .*no earlier than the row above it \(it is, by 0\.5 s\).*sort the file",
        ),
        (
            OURS + "0,1,1\n1,140000,3\n2,150000,3\n",
            r"2 of 3 requests .*131,072 .*\(the first: row 2, 140,000 \+ 3 tokens\)",
        ),
        (OURS + "0,1,1\n1,2\n", r"row 2 .*output_tokens .*got nothing"),
        (OURS + "0,1,1,9\n1,2,3,9\n", r"after row 0 has more fields than the header"),
        (OURS + "0,1,1\n1,2,3,9\n", r"Expected 3 fields in line 3, saw 4"),
        (OURS + '0,1,1\n"1,2,3\n', "must be a CSV file: EOF inside string"),
        (AZURE + "2023-11-16 18:15:46,1,1\n16/11/2023 18:15,1,1\n", r"row 2 .*TIMESTAMP must be a date such as"),
        (AZURE + "2023-11-16 18:15:46,1,1\n17.5,1,1\n", r"row 2 .*TIMESTAMP must be a date .*'17\.5'"),
        (
            AZURE + "2023-11-16 18:15:46Z,1,1\n2023-11-16 18:15:47,1,1\n",
            r"row 2 .*time zone .*\(Z\).*convert all to UTC",
        ),
        (AZURE + "2023-11-16 18:15:46+00:00,1,1\n2023-11-16 19:15:47+01:00,1,1\n", r"row 2 .*time zone .*\(\+00:00\)"),
        (MOONCAKE + '0,600,52,"[4, 5, 6]"\n', r"row 1 .*hash_ids must be at most 2 ids.*'3 ids'"),
        (MOONCAKE + '0,600,52,"[4, 4]"\n', r"row 1 .*hash_ids must be a list of different whole numbers"),
        (MOONCAKE + '0,600,52,"[4, x]"\n', r"row 1 .*hash_ids must be a list .*'\[4, x\]'"),
        (
            '{"timestamp": 1, "input_length": 6, "output_length": 5}\n{"timestamp": 2}\n',
            r"row 2 .*must have 'input_length'",
        ),
        (
            '{"timestamp": 1, "input_length": 6, "output_length": 5}\n{"time',
            r"row 2 .*must be one JSON object on a line",
        ),
        ('[{"timestamp": 1}]', r"row 1 .*must be one JSON object on a line .*jq"),
        (
            '{"timestamp": NaN, "input_length": 6, "output_length": 5}\n',
            r"row 1 .*timestamp must be .*milliseconds.*NaN",
        ),
        ('{"arrival_s": 0, "prompt_tokens": "x", "output_tokens": 1}', r"row 1 .*prompt_tokens .*'x'"),
        ('{"arrival_s": 0, "prompt_tokens": [1], "output_tokens": 1}', r"row 1 .*prompt_tokens .*'\[1\]'"),
        (
            '{"arrival_s": 0, "prompt_tokens": 1' + "0" * 400 + ', "output_tokens": 1}',
            r"row 1 .*prompt_tokens .*'10*…'",
        ),
        ('{"arrival_s": true, "prompt_tokens": 1, "output_tokens": 1}', r"row 1 .*arrival_s .*'True'"),
        (
            '{"arrival_s": 0, "prompt_tokens": 9, "output_tokens": 1, "hash_ids": [[1]]}',
            r"row 1 .*hash_ids .*'\[\[1\]\]'",
        ),
        ('{"arrival_s": 0, "prompt_tokens": 9, "output_tokens": 1, "hash_ids": 7}', r"row 1 .*hash_ids .*'7'"),
        (OURS.strip() + ",parent,shared_blocks\n0,9,1,0,0\n", r"row 1 .*parent must be -1 or an earlier row"),
        (OURS.strip() + ",parent,shared_blocks\n0,9,1,-1,0\n1,9,1,0,2\n", r"row 2 .*shared_blocks must be at most 1"),
        (OURS.strip() + ",slo_class\n0,9,1,gold\n", r"row 1 .*slo_class must be a class's number"),
        (OURS.strip() + ",think_s\n0,9,1,2\n", "think_s, which needs session and turn"),
        (SESSIONS + "0,1,1,7,1,0\n", "every session .* must have one row of turn 0"),
        (SESSIONS + "0,1,1,7,0,0\n0,1,1,7,2,0\n", "every follow-up turn must follow the turn before it"),
        (b"\x89PNG\r\n\x1a\n" + bytes(200), "must be a CSV, JSON Lines or Parquet file"),
        (OURS.encode() + b"0,1,1\n" + bytes(100), "holds NUL bytes"),
        (OURS.encode() + b"0,1,1\n1,\xe9,3\n", "must be UTF-8 text"),
        (OURS.encode() + b"1" * 9_000_000, "lines of at most 4,194,304 bytes"),
        (b"x" * 1_000_000, "its first line exceeds 65536 bytes"),
        (b"PAR1 and nothing more", "cannot read the trace .*[Pp]arquet"),
        (gzip.compress(many_rows(9000).encode())[:-200], "is cut short: its gzip stream has no end"),
        (b"\x1f\x8bnot gzip after all", "cannot read the trace"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(tmp_path: Path, content: str | bytes, message: str) -> None:
    """Each way to be wrong has a line that names the file, the place and what was found there."""
    path = written(tmp_path, content)
    with pytest.raises(InvalidTraceError, match=message) as caught:
        read_trace(path)
    assert path.name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_absent_files_and_folders_are_refused(tmp_path: Path) -> None:
    """A path with nothing there, or with something else than a file, is named as such."""
    for path, message in (
        (tmp_path / "no.csv", "no trace at .*no.csv"),
        (tmp_path, "got the folder"),
        ("/dev/null", "regular file"),
    ):
        with pytest.raises(InvalidTraceError, match=message):
            read_trace(path)


def test_nothing_left_is_refused_too(tmp_path: Path) -> None:
    """A file all of whose rows are left out makes no trace; the reasons are counted."""
    path = written(tmp_path, OURS + "0,140000,3\n1,2,0\n")
    with pytest.raises(InvalidTraceError, match="1 without tokens, 1 too long"):
        read_trace(path, skip_unfit=True)


def test_measured_files_are_read(shared_dir: Path) -> None:
    """The measured files have their published size and rate; Mooncake's endless cache hits 35.8 % of prompt tokens."""
    folder = shared_dir / "data" / "workloads"
    trace = read_trace(folder / "azure23_conv_dev.csv.gz")
    assert (len(trace), round(len(trace) / (trace.arrival_ps[-1] / 1e12), 2)) == (14_176, 5.91)
    assert round(trace.prompt_tokens.mean()) == 1195
    trace = read_trace(folder / "mooncake_conv_dev.csv.gz")
    assert trace.block_ids is not None
    assert trace.block_start is not None
    seen: set[int] = set()
    hits = 0
    for start, end in zip(trace.block_start[:-1], trace.block_start[1:], strict=True):
        ids = trace.block_ids[start:end].tolist()
        hits += 16 * next((place for place, block in enumerate(ids) if block not in seen), len(ids))
        seen.update(ids)
    assert hits / trace.prompt_tokens.sum() == pytest.approx(0.358, abs=0.001)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["whole", "pieces"])
def test_ten_million_rows_need_little_more_than_their_result(
    tmp_path: Path, way: str, peak_of: Callable[[str], int]
) -> None:
    """A fresh process that reads 10 million rows peaks below 300 MB beyond the result's arrays, in pieces below 150."""
    path = tmp_path / "big.csv"
    with path.open("w") as file:
        file.write(OURS)
        block = "".join(f"{{}}{k:05d},{1 + k % 4000},{1 + k % 500}\n" for k in range(100_000))
        for number in range(100):
            file.write(block.replace("{}", f"{number}."))
    use = f"read_trace({str(path)!r})" if way == "whole" else f"sum(len(t) for t in trace_chunks({str(path)!r}))"
    peak = peak_of(f"kept = {use}")
    result = 10_000_000 * 4 * 8 if way == "whole" else 0
    assert peak - result < (300 if way == "whole" else 150) * 10**6


@pytest.fixture
def peak_of() -> Callable[[str], int]:
    """Return a function from a statement to the bytes that running it adds to a fresh process at its peak."""
    import subprocess
    import sys

    def measure(statement: str) -> int:
        code = (
            "import resource, numpy, pandas, pyarrow\n"
            "from glia_bench.workloads.traces import read_trace, trace_chunks\n"
            "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024\n"
            f"before = peak()\n{statement}\nprint(peak() - before)"
        )
        return int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)

    return measure
