"""The Glia designer: a team of roles that reason, experiment and analyse, in a loop of ordinary Python.

After the Glia paper (arXiv 2510.27176): a researcher goes from evidence to a hypothesis that can be wrong and to a
policy, an experimenter simulates, an analyst reads what happened to requests, a supervisor questions. One context works
alone; several work side by side, or one after the other with a digest of what came before. Every one is really run.
"""

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from glia_bench.designer import experiments
from glia_bench.designer.budget import BudgetSpent
from glia_bench.designer.context import Candidate, Context
from glia_bench.designer.evaluation import digits, feedback
from glia_bench.designer.telemetry_query import QUERY_HELP

if TYPE_CHECKING:
    from glia_bench.designer.lm import Voice
    from glia_bench.designer.run import DesignRun

MAX_REPAIRS = 2
DEFAULT_PATIENCE = 10
"""Rounds without a gain after which a context ends."""
MAX_MALFORMED = 3
SHOWN_ROUNDS = 6
"""Rounds that are told in full; of earlier ones one line each."""
NO_WORD = "none"
COLD_QUESTION = (
    "What did you know, before this conversation, of published algorithms for request routing, batch scheduling or "
    "autoscaling of clusters that serve language models, of the paper with the number arXiv 2510.27176 (Glia), and of "
    "an algorithm called head-room admission (HRA)? Name the ones that you could have written down from memory."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How the loop works.

    Attributes:
        mode: "parallel" or "sequential", where there are several contexts.
        without: Roles that are left out: "supervisor", "analyst"; "details" leaves scores only.
        patience: Rounds without a gain after which a context ends.
    """

    mode: str = "sequential"
    without: tuple[str, ...] = ()
    patience: int = DEFAULT_PATIENCE


@dataclass(slots=True, kw_only=True)
class Round:
    """What one round said and found."""

    number: int
    hypothesis: str
    prediction: str
    result: str
    lines: list[str]
    verdict: str
    action: str = ""
    questions: str = ""

    def told(self, *, in_full: bool) -> str:
        """Return it as the history tells it."""
        first = f"Round {self.number}: {self.hypothesis} Predicted: {self.prediction}. {self.verdict}."
        return "\n".join([first, self.result, *self.lines]) if in_full else f"{first} {self.result.splitlines()[0]}"


@dataclass(slots=True)
class _State:
    """What a context knows."""

    rounds: list[Round] = field(default_factory=list)
    baseline: str = NO_WORD
    findings: str = NO_WORD
    questions: str = NO_WORD
    stale: int = 0
    malformed: int = 0


def design_glia(run: "DesignRun", voice: "Voice") -> None:
    """Design a policy for the run's task; the best is `run.best`.

    Raises:
        LMFailure: If the model gives no answer.
        BudgetSpent: Never: that is how it ends.
    """
    given = run.settings.options
    options = Options(**{**given, "without": tuple(given.get("without", ()))})
    numbers = range(run.settings.contexts)
    if options.mode == "sequential" or len(numbers) == 1:
        digest = NO_WORD
        for number in numbers:
            digest = _Loop(run.context(number), voice, options, digest).work()
        return
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            _Loop(run.context(number), voice, options, NO_WORD).work()
        except BaseException as failure:  # for the thread that waits
            failures.append(failure)

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in numbers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


class _Loop:
    """The rounds of one context."""

    def __init__(self, context: Context, voice: "Voice", options: Options, digest: str) -> None:
        from glia_bench.designer.roles import Team

        self.context = context
        self.options = options
        self.digest = digest
        self.team = Team(context, voice)
        self.state = _State()
        self.bundle = context.run.bundle

    def work(self) -> str:
        """Work until the budget is spent, the supervisor stops, or nothing is gained; return a digest."""
        why = "the budget is spent"
        try:
            last = self.context.simulate(self.bundle.seed_source, purpose="baseline")
            self.state.baseline = self._shown(last)
            why = self._rounds(last)
        except BudgetSpent as end:
            why = str(end)
        self.context.note("closed", why=why, rounds=len(self.state.rounds))
        return self._history()

    def _rounds(self, last: Candidate) -> str:
        state = self.state
        while True:
            self.context.check()
            before = self._best_value()
            self._analyse(last)
            found, is_over = self._round()
            if found is None:
                state.malformed += 1
            else:
                last, state.malformed = found, 0
            state.stale = 0 if self._best_value() > before else state.stale + 1
            if is_over:
                return "the budget is spent"
            if state.malformed >= MAX_MALFORMED:
                return "the model's replies cannot be read"
            if state.rounds and state.rounds[-1].action == "stop":
                return "the supervisor stops"
            if state.stale >= self.options.patience:
                return f"no gain in {state.stale} rounds"

    def _round(self) -> tuple[Candidate | None, bool]:
        """Do one round; return the design that it tried, and whether the budget ended it."""
        from glia_bench.designer.roles import Malformed

        best = self.context.best
        source = best.source if best else self.bundle.seed_source
        objective, background = self.bundle.objective_md, self.bundle.background_md
        try:
            thought = self.team.ask(
                "researcher",
                objective=objective,
                background=background,
                history=self._history(),
                best_design=source,
                findings=self.state.findings,
                questions=self.state.questions,
            )
            hypothesis = thought.hypothesis
            idea = f"{hypothesis.idea} Because: {hypothesis.because}"
            predicted = hypothesis.prediction
            prediction = f"{predicted.metric} {predicted.direction} by {digits(predicted.relative_size)}"
            self.context.note("hypothesis", **hypothesis.model_dump())
            candidate = self._written(idea, source)
        except Malformed:
            return None, False
        verdict = _verdict(predicted, candidate, best)
        lines, is_over = self._experiments(idea, candidate)
        result = self._shown(candidate)
        round_ = Round(
            number=len(self.state.rounds) + 1,
            hypothesis=hypothesis.idea,
            prediction=prediction,
            result=result,
            lines=lines,
            verdict=verdict,
        )
        if not is_over:
            self._supervise(round_)
        self.state.rounds.append(round_)
        self.context.note(
            "round",
            number=round_.number,
            design=candidate.evaluation.sha256,
            hypothesis=round_.hypothesis,
            prediction=prediction,
            result=result,
            experiments=lines,
            verdict=verdict,
            action=round_.action,
            questions=round_.questions,
        )
        return candidate, is_over

    def _written(self, idea: str, source: str) -> Candidate:
        """Have the design written and simulated; what cannot run goes back with the reason, twice at most."""
        error = NO_WORD
        for attempt in range(1 + MAX_REPAIRS):
            reply = self.team.ask(
                "coder",
                objective=self.bundle.objective_md,
                background=self.bundle.background_md,
                hypothesis=idea,
                best_design=source,
                error=error,
            )
            text = plain_source(reply.policy_source)
            candidate = self.context.simulate(text, purpose=f"repair {attempt}" if attempt else "evaluate")
            if candidate.evaluation.cost is not None:
                break
            error = f"{candidate.evaluation.error}\n\nYour last attempt:\n{text}"
        return candidate

    def _experiments(self, idea: str, candidate: Candidate) -> tuple[list[str], bool]:
        if candidate.evaluation.cost is None or self.context.simulations_left < 1e-9:
            return [], self.context.simulations_left < 1e-9
        plan = self.team.ask_or_none(
            "experimenter",
            objective=self.bundle.objective_md,
            hypothesis=idea,
            design=candidate.source,
            result=self._shown(candidate),
            query_help=QUERY_HELP,
            simulations_left=digits(self.context.simulations_left),
        )
        return experiments.execute(self.context, candidate, plan.experiments) if plan else ([], False)

    def _analyse(self, candidate: Candidate) -> None:
        """Have the last design's requests read, and the insights' queries answered."""
        if "analyst" in self.options.without or "details" in self.options.without:
            return
        if candidate.evaluation.cost is None:
            return
        reply = self.team.ask_or_none(
            "analyst",
            objective=self.bundle.objective_md,
            design=candidate.source,
            result=self._shown(candidate),
            tables=experiments.tables(self.context, candidate),
            query_help=QUERY_HELP,
        )
        if reply is None:
            return
        told = [f"- {f.which}; {f.when}; {f.why}" for f in reply.findings[:4]]
        for insight in reply.insights[:3]:
            table = experiments.ask_tables(self.context, candidate, insight.query)
            self.context.note("insight", statement=insight.statement, query=insight.query, table=table)
            told.append(f"- Insight: {insight.statement}\n{table}")
        self.context.note("findings", findings=[finding.model_dump() for finding in reply.findings[:4]])
        self.state.findings = "\n".join(told) or NO_WORD

    def _supervise(self, round_: Round) -> None:
        self.state.questions = NO_WORD
        if "supervisor" in self.options.without:
            return
        reply = self.team.ask_or_none(
            "supervisor",
            objective=self.bundle.objective_md,
            hypothesis=f"{round_.hypothesis} Predicted: {round_.prediction}",
            results="\n".join([round_.verdict, round_.result, *round_.lines]),
            history=self._history(),
            simulations_left=digits(self.context.simulations_left),
        )
        if reply is not None:
            round_.action, round_.questions = reply.action, reply.questions
            self.state.questions = reply.questions

    def _shown(self, candidate: Candidate) -> str:
        """Return what came of a design, or its score alone where details are left out."""
        text = feedback(candidate.evaluation)
        return text.splitlines()[0] if "details" in self.options.without else text

    def _history(self) -> str:
        rounds = self.state.rounds
        told = [r.told(in_full=len(rounds) - i <= SHOWN_ROUNDS) for i, r in enumerate(rounds)]
        earlier = [] if self.digest == NO_WORD else [f"From an earlier context:\n{self.digest}"]
        first = f"The weak policy to begin with: {self.state.baseline}"
        return "\n\n".join([*earlier, first, *told, f"Simulations left: {digits(self.context.simulations_left)}"])

    def _best_value(self) -> float:
        best = self.context.best
        return best.evaluation.value if best else float("-inf")


def report_words(run: "DesignRun", voice: "Voice") -> dict[str, Any]:
    """Have the report written and the witness heard, in a context of their own, and return what they said."""
    from glia_bench.designer.roles import Team

    context = run.context(run.settings.contexts)
    team = Team(context, voice)
    words: dict[str, Any] = {}
    if run.best is not None:
        reply = team.ask_or_none(
            "reporter",
            objective=run.bundle.objective_md,
            journal="\n\n".join(_told(entry["what"]) for entry in run.journal.all("round")) or NO_WORD,
            design=run.best.source,
        )
        if reply is not None:
            words = {name: getattr(reply, name) for name in ("summary", "mechanisms", "limits", "intended_use")}
            context.note("report", **words)
    if witness := team.ask_or_none("witness", question=COLD_QUESTION):
        said = {name: getattr(witness, name) for name in ("model_name", "knowledge_cutoff", "answer")}
        context.note("witness", question=COLD_QUESTION, **said)
        words["witness"] = said
    return words


def _told(round_: dict[str, Any]) -> str:
    """Return a round of the journal in a few lines."""
    first = f"{round_['hypothesis']} Predicted: {round_['prediction']}. {round_['verdict']}."
    return "\n".join([first, round_["result"], *round_["experiments"]])


def plain_source(text: str) -> str:
    """Return a reply's Python without the fence that models like to put around it."""
    body = text.strip()
    if body.startswith("```"):
        body = body.partition("\n")[2].rpartition("```")[0]
    return body.strip("\n") + "\n"


def _verdict(predicted: Any, candidate: Candidate, best: Candidate | None) -> str:
    """Return whether what was predicted was seen, against the best design before."""
    evaluation = candidate.evaluation
    if evaluation.cost is None:
        return "The prediction could not be tested: the design did not run"
    name = predicted.metric.strip()
    new = evaluation.cost if name == "cost" else evaluation.metrics.get(name)
    old = None
    if best is not None:
        old = best.evaluation.cost if name == "cost" else best.evaluation.metrics.get(name)
    if new is None or not old:
        return f"The prediction could not be tested: there is no {name[:40]!r} to compare"
    change = new / old - 1.0
    wanted = -abs(predicted.relative_size) if predicted.direction == "down" else abs(predicted.relative_size)
    held = change <= wanted if wanted < 0 else change >= wanted
    return f"The prediction {'held' if held else 'did not hold'}: {name} changed by {change:+.3g}"
