"""Checking a result: its hashes, whether it adds up, its signature, and all of it again, bit for bit.

Every trial is run anew from what the record holds, in the tier that it names, and all that must be equal on every
machine is compared. The first difference is told with what it may come from. What cannot be had by running again, the
machine and the times of a record, is vouched for by nothing but a signature by a key that the reader knows.

Verifying runs the recorded designs, in processes of their own but in no sandbox. With `replay` their recorded decisions
are run instead (`evaluation.decisions`) and none of their code.
"""

import ast
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from glia_bench.errors import GliaBenchError
from glia_bench.evaluation.consistency import Cell, cell, cell_name, faults
from glia_bench.evaluation.environment import describe_environment
from glia_bench.evaluation.reruns import Files, replays_of, run_again, trials_of
from glia_bench.evaluation.runner import DEFAULT_TIMEOUT_S, Limits, Watcher
from glia_bench.scoring.record import ResultRecord, TrialRecord, canonical, results_id
from glia_bench.scoring.signature import verify_signature

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

COMPARED = (
    *("workload_sha256", "tier", "status", "decision_hash", "num_decisions", "records_sha256"),
    *("cost", "metrics", "groups"),
)
"""Fields of a trial in the order of cause and effect: the first that differs says most."""

_OF_THE_MACHINE = ("timeout", "policy_oom", "policy_crash", "nondeterministic")
_VERSIONS = ("glia_bench", "simulator_sha256", "python", "numpy", "numba", "llvmlite", "cpu_arch")
_PLATFORM_FUNCTIONS = frozenset(
    {
        *("exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "pow", "power", "cbrt", "hypot", "erf", "gamma"),
        *("lgamma", "sin", "cos", "tan", "sinh", "cosh", "tanh", "atan", "atan2", "arctan", "arctan2"),
        *("dot", "matmul", "einsum", "sum", "mean", "std", "var"),
    }
)
"""Functions whose last bit depends on the platform's mathematics, or on the order in which it adds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The first thing that is not as recorded.

    Attributes:
        trial: In words.
        field: Of the trial's record.
        recorded: What the record says.
        found: What running it again gave.
        reason: What that may come from.
    """

    trial: str
    field: str
    recorded: Any
    found: Any
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What came of checking a result.

    Attributes:
        id, results_id: As recorded.
        is_replay: Whether recorded decisions were run, and not the designs.
        signed_by: Public key that signed the record, in hexadecimal; None without a signature.
        is_key_known: Whether that is the key that the reader gave.
        num_trials: Trials in the record.
        num_equal: Trials that gave the same again.
        results_id_here: Of the trials as they ran here; None unless all of them did.
        faults: What is wrong with the record, apart from `difference`.
        difference: The first difference of a trial, if there is one.
        notes: What a reader should know besides.
    """

    id: str
    results_id: str
    is_replay: bool = False
    signed_by: str | None = None
    is_key_known: bool = False
    num_trials: int
    num_equal: int = 0
    results_id_here: str | None = None
    faults: tuple[str, ...] = ()
    difference: Difference | None = None
    notes: tuple[str, ...] = ()

    @property
    def is_verified(self) -> bool:
        """Whether everything was checked and holds."""
        return not self.faults and self.difference is None and self.results_id_here == self.results_id

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {"verified": self.is_verified, **asdict(self)}


def verify_record(
    record: ResultRecord,
    *,
    jobs: int = 1,
    key: "Ed25519PublicKey | None" = None,
    files: Files | None = None,
    replay: bool = False,
    watcher: Watcher | None = None,
) -> Verification:
    """Check a record that `read_record` has read, and so whose ids match its content.

    Args:
        record: The record.
        jobs: Trials at a time.
        key: Whose signature it must bear; left out, any signature must hold, and none is needed.
        files: What the reader has beside the record.
        replay: Run recorded decisions instead of designs; trials without a log are then not run.
        watcher: Told what starts and what ends.

    Raises:
        GliaBenchError: If a file of the reader's cannot be read.
        EvaluationFailure: If a trial fails here for our own reasons.
    """
    wrong, signed_by = [], None
    if key is not None or "signature" in record:
        try:
            signed_by = verify_signature(record, key)
        except GliaBenchError as error:
            wrong.append(str(error))
    wrong += faults(record)
    outcome = Verification(
        id=record["id"],
        results_id=record["results_id"],
        is_replay=replay,
        signed_by=signed_by,
        is_key_known=key is not None and signed_by is not None,
        num_trials=len(record["trials"]),
        faults=tuple(wrong),
    )
    if wrong:  # what does not add up is not worth running
        return outcome
    trials, missing = trials_of(record, files or Files())
    replays, bad_logs = replays_of(record, trials, files or Files())
    if replay and len(replays) < len(trials):
        bad_logs.append(
            f"{len(trials) - len(replays)} of {len(trials)} trials have no decision log that can be replayed"
        )
    limits = Limits(jobs=jobs, timeout_s=record["environment"].get("timeout_s", DEFAULT_TIMEOUT_S))
    found = run_again(replays if replay else trials, limits, watcher)
    compared = [field for field in COMPARED if field != "tier" or not replay]
    again = [trial for trial in record["trials"] if cell(trial) in found]
    different = [trial for trial in again if _first_field(trial, found[cell(trial)], compared)]
    difference = None
    if different:
        first = different[0]
        difference = _difference(first, found[cell(first)], compared, record)
        if not replay and cell(first) in replays:
            replayed = run_again({cell(first): replays[cell(first)]}, limits)[cell(first)]
            difference = replace(difference, reason=difference.reason + _what_replay_says(first, replayed, compared))
    return replace(
        outcome,
        faults=(*missing, *(bad_logs if replay else ())),
        num_equal=len(again) - len(different),
        difference=difference,
        results_id_here=_results_id(record["trials"], found),
        notes=tuple(_remarks(record)),
    )


def _remarks(record: ResultRecord) -> list[str]:
    """Return how this machine's versions differ from those of the record."""
    there, here = record["environment"], describe_environment()
    remarks = [
        f"{name} was {_short(there.get(name))} and is {_short(here[name])} here"
        for name in _VERSIONS
        if there.get(name) != here[name]
    ]
    if "signature" not in record:
        remarks.append("the record is not signed: nothing vouches for its machine, times and versions")
    return remarks


def _short(value: Any) -> str:
    return value[:12] if isinstance(value, str) else "not recorded"


def _results_id(trials: Sequence[TrialRecord], found: Mapping[Cell, TrialRecord]) -> str | None:
    again = [found.get(cell(trial), {}) for trial in trials]
    return results_id(again) if all("cost" in trial for trial in again) else None


def _first_field(recorded: TrialRecord, found: TrialRecord, compared: Sequence[str]) -> str:
    """Return the first field that differs, or an empty string."""
    return next((name for name in compared if canonical(recorded.get(name)) != canonical(found.get(name))), "")


def _difference(recorded: TrialRecord, found: TrialRecord, compared: Sequence[str], record: ResultRecord) -> Difference:
    """Return the first difference between a trial and its repetition, down to the number."""
    name = field = _first_field(recorded, found, compared)
    ours, theirs = recorded.get(field), found.get(field)
    while isinstance(ours, dict) and isinstance(theirs, dict):
        inner = next(key for key in sorted({*ours, *theirs}) if canonical(ours.get(key)) != canonical(theirs.get(key)))
        name, ours, theirs = f"{name}.{inner}", ours.get(inner), theirs.get(inner)
    reason = _reason(field, recorded, found, record)
    return Difference(trial=cell_name(recorded), field=name, recorded=ours, found=theirs, reason=reason)


def _reason(field: str, recorded: TrialRecord, found: TrialRecord, record: ResultRecord) -> str:
    """Return what a difference may come from, in words."""
    is_same_simulator = record["environment"].get("simulator_sha256") == describe_environment()["simulator_sha256"]
    version = "" if is_same_simulator else "the simulator's sources differ from the record's (see the notes), or "
    if recorded["status"] == "infra_error":
        return "this trial failed for reasons of the benchmark when it was recorded, and says nothing; run it again"
    if found["status"] == "refused":
        return f"the design is refused by this version: {found['message']}"
    if field == "status" and {recorded["status"], found["status"]}.intersection(_OF_THE_MACHINE):
        return f"time and memory depend on the machine, and this status on them ({found['message'] or 'it ran here'})"
    if field == "workload_sha256":
        return f"the workload is another: {version}seed, load or workload hash of the record were altered"
    if field == "tier":
        return "the design cannot be run in the recorded tier here: another Numba, or the record was altered"
    if field in ("decision_hash", "num_decisions", "status"):
        calls = _platform_functions(recorded, record)
        if calls:
            version += f"the design calls {', '.join(calls)}, whose last bit differs between platforms, or "
        return (
            f"the design decided otherwise on the same workload: {version}it is not deterministic, or the record was "
            f"altered"
        )
    if field == "records_sha256":
        return f"equal decisions had other consequences: {version}the record was altered"
    return f"everything that it is computed from is equal: {version}the record was altered"


def _platform_functions(trial: TrialRecord, record: ResultRecord) -> list[str]:
    """Return functions of a design from a file that may give another last bit elsewhere; sorted."""
    source = next((design["source"] for design in record["designs"] if design["name"] == trial["policy"]), None)
    nodes = list(ast.walk(ast.parse(source))) if source else []
    calls = (node.func for node in nodes if isinstance(node, ast.Call))
    names = {call.attr if isinstance(call, ast.Attribute) else getattr(call, "id", "") for call in calls}
    powers = {"**" for node in nodes if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow)}
    return sorted(_PLATFORM_FUNCTIONS.intersection(names) | powers)


def _what_replay_says(recorded: TrialRecord, replayed: TrialRecord, compared: Sequence[str]) -> str:
    """Return whether the recorded decisions have the recorded consequences here, where the design did not."""
    if _first_field(recorded, replayed, [field for field in compared if field != "tier"]):
        return ". Its recorded decisions, replayed, do not give what is recorded either"
    return ". Its recorded decisions, replayed, give all that is recorded: the simulator agrees, the design does not"
