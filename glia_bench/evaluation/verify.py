"""Checking a result: its hashes, whether it adds up, its signature, and all of it again, bit for bit.

Every trial is run anew from what the record holds, in the tier that it names, and all that must be equal on every
machine is compared. The first difference is told with what it may come from. What cannot be had by running again, the
machine and the times of a record, is vouched for by nothing but a signature by a key that the reader knows.

Verifying runs the recorded designs, in processes of their own but in no sandbox. With `replay` their recorded decisions
are run instead (`evaluation.decisions`) and none of their code.
"""

import ast
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glia_bench.errors import EvaluationFailure, GliaBenchError
from glia_bench.evaluation.consistency import cell, cell_name, faults
from glia_bench.evaluation.environment import describe_environment
from glia_bench.evaluation.runner import DEFAULT_TIMEOUT_S, Limits, Refusal, Watcher, run_trials
from glia_bench.evaluation.sealed import SealedCase, sealed_season
from glia_bench.evaluation.trial import Design, Trial
from glia_bench.loading import shipped_policies
from glia_bench.scoring.record import ResultRecord, TrialRecord, canonical, results_id
from glia_bench.scoring.signature import verify_signature
from glia_bench.tasks.catalog import TASKS
from glia_bench.tasks.perturbation import NONE
from glia_bench.workloads.lengths_file import read_lengths

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

COMPARED = (
    *("workload_sha256", "tier", "status", "decision_hash", "num_decisions", "records_sha256"),
    *("cost", "metrics", "groups"),
)
"""Fields of a trial in the order of cause and effect: the first that differs says most."""

_OF_THE_MACHINE = ("timeout", "policy_oom", "policy_crash", "nondeterministic")
_VERSIONS = ("glia_bench", "simulator_sha256", "python", "numpy", "numba", "llvmlite", "cpu_arch")
_LIBM = frozenset(
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
        results_id_here: Of the trials as they ran here; None unless all of them did.
        num_trials: Trials in the record.
        num_equal: Trials that gave the same again.
        signed_by: Public key that signed the record, in hexadecimal; None without a signature.
        is_key_known: Whether that is the key that the reader gave.
        faults: What is wrong with the record, apart from `difference`.
        difference: The first difference of a trial, if there is one.
        notes: What a reader should know besides.
    """

    id: str
    results_id: str
    results_id_here: str | None
    num_trials: int
    num_equal: int
    signed_by: str | None
    is_key_known: bool
    faults: tuple[str, ...]
    difference: Difference | None
    notes: tuple[str, ...]

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
    lengths: Path | None = None,
    watcher: Watcher | None = None,
) -> Verification:
    """Check a record that `read_record` has read, and so whose ids match its content.

    Args:
        record: The record.
        jobs: Trials at a time.
        key: Whose signature it must bear; left out, any signature must hold, and none is needed.
        lengths: The lengths file, where the run had one.
        watcher: Told what starts and what ends.

    Raises:
        EvaluationFailure: If a trial fails here for our own reasons.
    """
    wrong, notes, signed_by = [], _remarks(record), None
    if key is not None or "signature" in record:
        try:
            signed_by = verify_signature(record, key)
        except GliaBenchError as error:
            wrong.append(str(error))
    wrong += faults(record)
    if wrong:  # what follows would run what cannot be trusted, or does not add up
        return _verification(record, wrong, notes, signed_by, key is not None)
    trials, unknown = _trials(record, lengths)
    wrong += unknown
    timeout_s = record["environment"].get("timeout_s", DEFAULT_TIMEOUT_S)
    found = _run_again(trials, Limits(jobs=jobs, timeout_s=timeout_s), watcher)
    recorded = [trial for trial in record["trials"] if cell(trial) in found]
    differences = [one for trial in recorded if (one := _difference(trial, found[cell(trial)], record))]
    return replace(
        _verification(record, wrong, notes, signed_by, key is not None),
        num_equal=len(recorded) - len(differences),
        difference=differences[0] if differences else None,
        results_id_here=_results_id(record["trials"], found),
    )


def _verification(
    record: ResultRecord, wrong: Sequence[str], notes: Sequence[str], signed_by: str | None, is_key_known: bool
) -> Verification:
    """Return the outcome of a record before any trial was run."""
    return Verification(
        id=record["id"],
        results_id=record["results_id"],
        results_id_here=None,
        num_trials=len(record["trials"]),
        num_equal=0,
        signed_by=signed_by,
        is_key_known=is_key_known and signed_by is not None,
        faults=tuple(wrong),
        difference=None,
        notes=tuple(notes),
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


def _trials(record: ResultRecord, lengths: Path | None) -> tuple[list[Trial], list[str]]:
    """Return what can be run again, and why the rest cannot."""
    shipped = {(policy.track, policy.name): policy.sha256 for policy in shipped_policies()}
    designs = {(fields["track"], fields["name"]): fields for fields in record["designs"]}
    sealed, reason = _sealed_cases(record)
    problems = [reason] if reason else []
    if lengths is not None and read_lengths(lengths).sha256 != record["environment"].get("lengths_sha256"):
        problems.append(f"{lengths} is not the lengths file of this run: its hash differs")
    trials = []
    for trial in record["trials"]:
        task, where = TASKS[trial["task"]], (TASKS[trial["task"]].track, trial["policy"])
        fields = designs[where]
        if fields["source"] is None and shipped.get(where) != fields["sha256"]:
            was = "is not shipped any more" if where not in shipped else "has changed since"
            problems.append(f"shipped policy {trial['policy']!r} {was}: its trials cannot be run again by this version")
        elif task.needs_lengths and lengths is None:
            problems.append(f"{task.id} needs {task.lengths_hint}: pass --lengths FILE")
        elif trial["split"] == "dev" or (task.id, trial["seed"]) in sealed:
            case = sealed.get((task.id, trial["seed"])) if trial["split"] != "dev" else None
            trials.append(
                Trial(
                    design=Design(path=f"{fields['name']}.py", **fields),
                    task=task.id,
                    load=trial["load"],
                    seed=case.seed if case else trial["seed"],
                    lengths=str(lengths) if task.needs_lengths else None,
                    split=trial["split"],
                    label=case.label if case else "",
                    perturbation=case.perturbation if case else NONE,
                    tier=trial["tier"] or "auto",
                )
            )
    return trials, list(dict.fromkeys(problems))


def _sealed_cases(record: ResultRecord) -> tuple[Mapping[tuple[str, str], SealedCase], str]:
    """Return the sealed cases by task and label, and why there are none although the record needs them."""
    labels = {(trial["task"], trial["seed"]) for trial in record["trials"] if trial["split"] != "dev"}
    if not labels:
        return {}, ""
    try:
        season = sealed_season()
    except GliaBenchError as error:
        return {}, f"sealed trials can be run again once their season is revealed ({error})"
    recorded = record["season"]["commitment"]
    if season.commitment != recorded:
        return {}, (
            f"season {season.name!r} is not the one of this record: the file's commitment is {season.commitment}, the "
            f"record's {recorded}"
        )
    cases = {(task, case.label): case for task in season.tasks for case in season.cases(task)}
    tasks = {task for task, _ in labels}
    absent = sorted({which for which in cases if which[0] in tasks} ^ labels)
    if absent and not record["environment"].get("interrupted"):
        return cases, f"sealed case {absent[0][1]} of {absent[0][0]} is not both in the record and in its season"
    return cases, ""


def _run_again(
    trials: Sequence[Trial], limits: Limits, watcher: Watcher | None
) -> dict[tuple[str, str, float, int | str], TrialRecord]:
    """Return the records of trials by cell; a design that is refused now has the status "refused"."""
    found = {}
    with tempfile.TemporaryDirectory() as logs:
        for outcome in run_trials(trials, limits, log_folder=Path(logs), watcher=watcher):
            if isinstance(outcome, Refusal):
                for trial in trials:
                    if trial.design.name == outcome.policy:
                        where = (trial.task, trial.design.name, trial.load, trial.shown_seed)
                        found[where] = {"status": "refused", "message": outcome.message}
            elif outcome["status"] == "infra_error":
                raise EvaluationFailure(f"{cell_name(outcome)} could not be run here: {outcome['message']}")
            else:
                found[cell(outcome)] = outcome
    return found


def _results_id(trials: Sequence[TrialRecord], found: Mapping[Any, TrialRecord]) -> str | None:
    again = [found.get(cell(trial), {}) for trial in trials]
    return results_id(again) if all("cost" in trial for trial in again) else None


def _difference(recorded: TrialRecord, found: TrialRecord, record: ResultRecord) -> Difference | None:
    """Return the first difference between a trial and its repetition."""
    for field in COMPARED:
        ours, theirs = recorded.get(field), found.get(field)
        if canonical(ours) == canonical(theirs):
            continue
        name = field
        while isinstance(ours, dict) and isinstance(theirs, dict):
            inner = next(key for key in sorted({*ours, *theirs}) if ours.get(key) != theirs.get(key))
            name, ours, theirs = f"{name}.{inner}", ours.get(inner), theirs.get(inner)
        return Difference(
            trial=cell_name(recorded),
            field=name,
            recorded=ours,
            found=theirs,
            reason=_reason(field, recorded, found, record),
        )
    return None


def _reason(field: str, recorded: TrialRecord, found: TrialRecord, record: ResultRecord) -> str:
    """Return what a difference may come from, in words."""
    is_same_simulator = record["environment"].get("simulator_sha256") == describe_environment()["simulator_sha256"]
    version = "" if is_same_simulator else "the simulator's sources differ from the record's (see the notes), or "
    if recorded["status"] == "infra_error":
        return "this trial failed for reasons of the benchmark when it was recorded, and says nothing; run it again"
    if field == "status" and found["status"] == "refused":
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
        return f"the design decided otherwise on the same workload: {version}it is not deterministic, or was altered"
    if field == "records_sha256":
        return f"equal decisions had other consequences: {version}the record was altered"
    return f"everything that it is computed from is equal: {version}the record was altered"


def _platform_functions(trial: TrialRecord, record: ResultRecord) -> list[str]:
    """Return functions of a design from a file that may give another last bit elsewhere; sorted."""
    source = next((design["source"] for design in record["designs"] if design["name"] == trial["policy"]), None)
    names = (
        node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        for node in (ast.walk(ast.parse(source)) if source else ())
        if isinstance(node, ast.Call)
    )
    return sorted(_LIBM.intersection(names))


def _short(value: Any) -> str:
    return value[:12] if isinstance(value, str) else "not recorded"
