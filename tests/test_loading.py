"""Finding, checking and executing policies: every refusal says subject, rule, value and way out."""

import inspect
import subprocess
import sys
from pathlib import Path
from typing import cast

import numba
import pytest
from moments import moment

from glia_bench.errors import GliaBenchError, InvalidPolicyError, UnknownPolicyError
from glia_bench.loading import facts_of, load_policy, policy_from_source, read_source, shipped_policies
from glia_bench.policy import TRACKS, Policy, Track
from glia_bench.static_check import MAX_SOURCE_BYTES

ROUTE = "def route(request, replicas, cluster, memory):\n"
GOOD = ROUTE + "    return 0\n"


SCALE = "def scale(window, cluster, memory):\n    return 1\n"
RANK = "def rank(request, replica, memory):\n    return 0.0\n"


def load(source: str, track: Track = "routing") -> Policy:
    """Load a policy from text, called policy.py."""
    return policy_from_source(source, name="policy", path="policy.py", track=track)


def refusal(source: str, track: Track = "routing") -> str:
    """Return the message with which a text is refused."""
    with pytest.raises(InvalidPolicyError) as error:
        load(source, track)
    return str(error.value)


def test_load_by_name() -> None:
    """A shipped policy is found by its name, which need not be its file's."""
    policy = load_policy("random")
    assert (policy.kind, policy.track, policy.is_shipped) == ("null", "routing", True)
    assert Path(policy.path).name == "random_pick.py"


def test_listing_by_track() -> None:
    """Every shipped policy has the one track that its hooks belong to."""
    by_track = {track: shipped_policies(track) for track in TRACKS}
    assert sorted(p.name for ps in by_track.values() for p in ps) == sorted(p.name for p in shipped_policies())
    for track, policies in by_track.items():
        parts = {part for p in policies for part in ("routing", "scheduling", "autoscaling") if getattr(p, part)}
        assert parts == ({track} if track != "cluster" else {"routing", "scheduling", "autoscaling"})


def test_load_from_path(tmp_path: Path) -> None:
    """A file is named by its stem, is a user's and not shipped, and declares what its constants say."""
    path = tmp_path / "mine.py"
    text = '"""My idea.\n\nMore."""\nSOURCE = "here"\nMEMORY = {"shared": 2}\nSKIP_BLOCKED = True\nTICK_S = 1\n' + GOOD
    path.write_text(text)
    policy = load_policy(str(path))
    assert (policy.name, policy.kind, policy.is_shipped, policy.source) == ("mine", "user", False, text)
    assert (policy.memory, policy.skip_blocked, policy.tick_s) == ({"shared": 2}, True, 1.0)
    assert (facts_of(policy).idea, facts_of(policy).public_source) == ("My idea.", "here")


def test_constants_have_defaults() -> None:
    """What is not declared is no memory, head of line, no tick, no view of caches; the task's engine; 15 s."""
    policy = load(GOOD)
    assert (policy.memory, policy.skip_blocked, policy.tick_s, policy.prefix_view) == ({}, False, None, "none")
    assert (policy.preemptive, policy.dynamic_rank, policy.engine_mode, policy.interval_s) == (False, False, None, None)
    assert load(SCALE, "autoscaling").interval_s == 15.0


def test_a_design_for_everything() -> None:
    """A cluster design's hooks are sorted by part, the scheduler's rank under its own name there."""
    declared = "PREEMPTIVE = DYNAMIC_RANK = True\nENGINE_MODE = 'orca'\nINTERVAL_S = 1\nPREFIX_VIEW = 'own'\n"
    schedule_rank = "def schedule_rank(request, replica, memory):\n    return 2.0\n"
    policy = load(declared + GOOD + schedule_rank + SCALE, "cluster")
    assert [list(part) for part in (policy.routing, policy.scheduling, policy.autoscaling)] == [
        ["route"],
        ["rank"],
        ["scale"],
    ]
    assert policy.scheduling["rank"](None, None, None) == 2.0
    assert (policy.preemptive, policy.dynamic_rank, policy.engine_mode, policy.interval_s) == (True, True, "orca", 1.0)
    assert (policy.prefix_view, policy.notes) == ("own", ())


def test_who_needs_rows_of_requests() -> None:
    """A design that declares request memory or may touch a tag, whichever part of it does."""
    rank = "def rank(request, replica, memory):\n    return float({})\n"
    needing = ["request.tag", "memory.tag[request.slot]", "getattr(request, 'tag')"]
    assert all(load(rank.format(answer), "scheduling").needs_request_rows for answer in needing)
    assert not load(rank.format("request.slot"), "scheduling").needs_request_rows
    assert load("MEMORY = {'request': 1}\n" + rank.format("0"), "scheduling").needs_request_rows


def test_a_file_from_windows(tmp_path: Path) -> None:
    """A byte order mark and CR LF line ends are accepted."""
    path = tmp_path / "mine.py"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert set(load_policy(str(path)).routing) == {"route"}


def test_numba_compiles_what_was_loaded() -> None:
    """A loaded function compiles, and its source can be found, though no file holds it."""
    policy = load("STEP = 2\n" + ROUTE + "    return STEP * cluster.num_replicas\n")
    now = moment(policy, waiting=[0, 0, 0])
    assert numba.njit(policy.routing["route"])(*now) == policy.routing["route"](*now) == 6
    assert inspect.getsource(policy.routing["route"]).endswith("return STEP * cluster.num_replicas\n")


def test_each_load_is_a_fresh_module() -> None:
    """Two loads of one text share no state."""
    source = "seen = []\n" + ROUTE + "    seen.append(1)\n    return len(seen)\n"
    first, second = load(source), load(source)
    now = moment(first, waiting=[0])
    assert [first.routing["route"](*now), first.routing["route"](*now), second.routing["route"](*now)] == [1, 2, 1]


def test_a_script_part_is_not_run() -> None:
    """Code under `if __name__ == "__main__"` and a `main` are the author's business."""
    assert (
        load(GOOD + "def main():\n    return 1\nif __name__ == '__main__':\n    raise SystemExit(main())\n").notes == ()
    )


def test_reading_and_checking_execute_nothing(tmp_path: Path) -> None:
    """`read_source` and `static_check` leave a file's side effects undone."""
    path, trace = tmp_path / "mine.py", tmp_path / "trace"
    path.write_text(GOOD + f"open({str(trace)!r}, 'w').close()\n")
    code = (
        "import sys; from pathlib import Path; from glia_bench.loading import read_source; "
        "from glia_bench.static_check import static_check; "
        "print(static_check(read_source(Path(sys.argv[1])), 'routing').hooks)"
    )
    run = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert run.stdout == "('route',)\n"
    assert not trace.exists()
    load_policy(str(path))
    assert trace.exists(), "loading is what executes"


@pytest.mark.parametrize(
    ("name", "error", "parts"),
    [
        ("lql", UnknownPolicyError, ["no policy 'lql'; did you mean 'llq'?", "a path to a .py file"]),
        ("zzz", UnknownPolicyError, ["no policy 'zzz' (known: ", " expert, ", " llq, "]),
        ("nowhere.py", UnknownPolicyError, ["no file at 'nowhere.py'", "or give the name of a shipped policy"]),
        ("./llq", UnknownPolicyError, ["no file at 'llq'"]),
        ("a\0.py", UnknownPolicyError, ["no file at"]),
        ("x" * 5000 + ".py", InvalidPolicyError, ["cannot be read (File name too long)"]),
        ("/dev/null", InvalidPolicyError, ["/dev/null: a policy must be a file (got a device or pipe)"]),
        (".py/", UnknownPolicyError, ["no file at"]),
    ],
)
def test_names_that_lead_nowhere(name: str, error: type[GliaBenchError], parts: list[str]) -> None:
    """An unknown name suggests the nearest, a missing file says so."""
    with pytest.raises(error) as caught:
        load_policy(name)
    assert all(part in str(caught.value) for part in parts), str(caught.value)


def test_wrong_track() -> None:
    """A shipped policy of another track is named with its own; an unknown track lists those there are."""
    with pytest.raises(UnknownPolicyError, match="policy 'llq' belongs to the routing track, not to autoscaling"):
        load_policy("llq", "autoscaling")
    with pytest.raises(InvalidPolicyError, match=r"track must be one of .*routing.* \(got 'clutser'\)"):
        policy_from_source(GOOD, name="x", path="x.py", track=cast(Track, "clutser"))
    with pytest.raises(UnknownPolicyError, match=r"no policy 'zzz' \(known: .*\bhpa\b"):
        load_policy("zzz", "autoscaling")


@pytest.mark.parametrize(
    ("content", "suffix", "parts"),
    [
        (b"#" * (MAX_SOURCE_BYTES + 1), ".py", ["may have 262144 bytes", "cut tables out"]),
        (b"x = '\xff'\n", ".py", ["must be UTF-8 text (byte 0xff at 5)", "save it as UTF-8"]),
        (GOOD.encode(), ".txt", ["must be a .py file (got '.txt')", "rename it"]),
    ],
)
def test_unreadable_files(tmp_path: Path, content: bytes, suffix: str, parts: list[str]) -> None:
    """Too large, not text, or not called .py: said without reading further."""
    path = tmp_path / f"mine{suffix}"
    path.write_bytes(content)
    with pytest.raises(InvalidPolicyError) as error:
        read_source(path)
    assert all(part in str(error.value) for part in [str(path), *parts]), str(error.value)


def test_a_folder_is_not_a_policy(tmp_path: Path) -> None:
    """A folder is refused as one, even if its name ends in .py."""
    (tmp_path / "mine.py").mkdir()
    with pytest.raises(InvalidPolicyError, match=r"mine\.py: a policy must be a file \(got a folder\)"):
        load_policy(str(tmp_path / "mine.py"))


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("MEMORY = [8]\n", ["MEMORY must be a dict", "(got [8])"]),
        ("MEMORY = {'share': 1}\n", ["MEMORY has no table 'share' (known: shared,", "did you mean 'shared'?"]),
        ("MEMORY = {'shared': 1.5}\n", ["MEMORY['shared'] must be an integer from 0 to 65536", "(got 1.5)"]),
        ("MEMORY = {'shared': -1}\n", ["integer from 0", "(got -1)"]),
        ("MEMORY = {'shared': True}\n", ["(got True)"]),
        ("MEMORY = {'request': 10**9}\n", ["MEMORY['request'] must be an integer from 0 to 64", "(got 1000000000)"]),
        ("SKIP_BLOCKED = 1\n", ["SKIP_BLOCKED must be True or False (got 1)"]),
        ("TICK_S = 0.001\n", ["TICK_S must be a number of seconds from 0.01 to 3600 (got 0.001)", "leave it out"]),
        ("TICK_S = float('nan')\n", ["(got nan)"]),
        ("TICK_S = float('inf')\n", ["(got inf)"]),
        ("TICK_S = None\n", ["(got None)"]),
        ("PREFIX_VIEW = 'event'\n", ["PREFIX_VIEW must be one of 'none', 'own', 'events'", "did you mean 'events'?"]),
        ("PREFIX_VIEW = None\n", ["(got None)"]),
        ("1 / 0\n", ["policy.py, line 1: the file must run without error", "ZeroDivisionError: division by zero"]),
        ("raise SystemExit(0)\n", ["policy.py, line 1", "raised SystemExit"]),
        ("import no_such_package\n", ["ModuleNotFoundError: No module named 'no_such_package'"]),
    ],
)
def test_refused_once_it_has_run(source: str, parts: list[str]) -> None:
    """Constants out of range and files that fail while they are loaded."""
    message = refusal(source + GOOD)
    assert all(part in message for part in [*parts, "policy.py"]), message


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        (RANK + "PREEMPTIVE = 1\n", ["PREEMPTIVE must be True or False (got 1)"]),
        (RANK + "DYNAMIC_RANK = 'yes'\n", ["DYNAMIC_RANK must be True or False (got 'yes')"]),
        (RANK + "ENGINE_MODE = 'vlm_v1'\n", ["ENGINE_MODE must be one of 'sarathi',", "did you mean 'vllm_v1'?"]),
        (RANK + "ENGINE_MODE = ('orca',)\n", ["(got ('orca',))"]),
        (
            SCALE + "INTERVAL_S = 0.5\n",
            ["INTERVAL_S must be a number of seconds from 1 to 3600 (got 0.5); leave it out"],
        ),
        (SCALE + "INTERVAL_S = True\n", ["(got True); leave it out to be asked every 15 s"]),
    ],
)
def test_constants_of_other_tracks(source: str, parts: list[str]) -> None:
    """Their values are checked like the router's."""
    message = refusal(source, "autoscaling" if source.startswith(SCALE) else "scheduling")
    assert all(part in message for part in [*parts, "policy.py: "]), message


def test_a_decorated_hook_is_refused() -> None:
    """Hooks stay plain functions: they are compiled by the benchmark, for its own types."""
    message = refusal("import numba\n@numba.njit\n" + GOOD)
    assert "route must still be a plain function" in message
    assert "leave decorators out, hooks are compiled for you" in message


def test_syntax_warnings_stay_silent() -> None:
    """An odd escape in a text is not an error, also where warnings are errors."""
    assert load(GOOD + "x = '\\d'\n").notes == ()
