"""Finding, checking and executing policies: every refusal says subject, rule, value and way out."""

import inspect
import subprocess
import sys
from pathlib import Path

import numba
import pytest
from moments import moment

from glia_bench.errors import GliaBenchError, InvalidPolicyError, UnknownPolicyError
from glia_bench.loading import facts_of, load_policy, policy_from_source, read_source, shipped_policies
from glia_bench.policy import Policy
from glia_bench.static_check import MAX_SOURCE_BYTES

ROUTE = "def route(request, replicas, cluster, memory):\n"
GOOD = ROUTE + "    return 0\n"


def load(source: str) -> Policy:
    """Load a routing policy from text, called policy.py."""
    return policy_from_source(source, name="policy", path="policy.py", track="routing")


def refusal(source: str) -> str:
    """Return the message with which a text is refused."""
    with pytest.raises(InvalidPolicyError) as error:
        load(source)
    return str(error.value)


def test_load_by_name() -> None:
    """A shipped policy is found by its name, which need not be its file's."""
    policy = load_policy("random")
    assert (policy.kind, policy.track, policy.is_shipped) == ("null", "routing", True)
    assert Path(policy.path).name == "random_pick.py"


def test_listing_by_track() -> None:
    """This release ships routing policies only."""
    assert shipped_policies("routing") == shipped_policies()
    assert shipped_policies("autoscaling") == []


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
    """What is not declared is no memory, head of line, no tick."""
    policy = load(GOOD)
    assert (policy.memory, policy.skip_blocked, policy.tick_s) == ({}, False, None)


def test_a_file_from_windows(tmp_path: Path) -> None:
    """A byte order mark and CR LF line ends are accepted."""
    path = tmp_path / "mine.py"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert set(load_policy(str(path)).hooks) == {"route"}


def test_numba_compiles_what_was_loaded() -> None:
    """A loaded function compiles, and its source can be found, though no file holds it."""
    policy = load("STEP = 2\n" + ROUTE + "    return STEP * cluster.num_replicas\n")
    now = moment(policy, waiting=[0, 0, 0])
    assert numba.njit(policy.hooks["route"])(*now) == policy.hooks["route"](*now) == 6
    assert inspect.getsource(policy.hooks["route"]).endswith("return STEP * cluster.num_replicas\n")


def test_each_load_is_a_fresh_module() -> None:
    """Two loads of one text share no state."""
    source = "seen = []\n" + ROUTE + "    seen.append(1)\n    return len(seen)\n"
    first, second = load(source), load(source)
    now = moment(first, waiting=[0])
    assert [first.hooks["route"](*now), first.hooks["route"](*now), second.hooks["route"](*now)] == [1, 2, 1]


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
        ("zzz", UnknownPolicyError, ["no policy 'zzz' (known: expert, llq,"]),
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
    with pytest.raises(InvalidPolicyError, match=r"track must be one of .*routing.* \(got 'cluster'\)"):
        policy_from_source(GOOD, name="x", path="x.py", track="cluster")


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
        ("1 / 0\n", ["policy.py, line 1: the file must run without error", "ZeroDivisionError: division by zero"]),
        ("raise SystemExit(0)\n", ["policy.py, line 1", "raised SystemExit"]),
        ("import no_such_package\n", ["ModuleNotFoundError: No module named 'no_such_package'"]),
    ],
)
def test_refused_once_it_has_run(source: str, parts: list[str]) -> None:
    """Constants out of range and files that fail while they are loaded."""
    message = refusal(source + GOOD)
    assert all(part in message for part in [*parts, "policy.py"]), message


def test_a_decorated_hook_is_refused() -> None:
    """Hooks stay plain functions: they are compiled by the benchmark, for its own types."""
    message = refusal("import numba\n@numba.njit\n" + GOOD)
    assert "route must still be a plain function" in message
    assert "leave decorators out, hooks are compiled for you" in message


def test_syntax_warnings_stay_silent() -> None:
    """An odd escape in a text is not an error, also where warnings are errors."""
    assert load(GOOD + "x = '\\d'\n").notes == ()
