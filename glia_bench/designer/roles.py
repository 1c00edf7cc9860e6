"""The roles of the Glia designer as DSPy modules, and the team of one context: who is asked, by which model, how often.

A reply that cannot be read leads DSPy to ask once more in another format; if that fails too, the team asks anew once.
Every one of these is a turn of its own, charged and in the journal.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import dspy
from dspy.utils.exceptions import AdapterParseError

from glia_bench.designer import signatures
from glia_bench.designer.context import Context
from glia_bench.designer.lm import Voice, role_lm, unwrap

MAX_READINGS = 2
"""Times that a role is asked before its reply counts as malformed."""


class Malformed(Exception):
    """A role's replies could not be read."""


class Analyst(dspy.Module):
    """Turns the requests of one run into findings and insights."""

    def __init__(self) -> None:
        super().__init__()
        self.analyse = dspy.Predict(signatures.AnalyseRun)

    def forward(self, **inputs: Any) -> Any:
        """Return findings and insights."""
        return self.analyse(**inputs)


class Researcher(dspy.Module):
    """Reasons from evidence to a hypothesis."""

    def __init__(self) -> None:
        super().__init__()
        self.hypothesise = dspy.ChainOfThought(signatures.Hypothesise)

    def forward(self, **inputs: Any) -> Any:
        """Return a hypothesis with its prediction."""
        return self.hypothesise(**inputs)


class Coder(dspy.Module):
    """The researcher's second step: writes the policy that the hypothesis asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.write = dspy.Predict(signatures.WriteDesign)

    def forward(self, **inputs: Any) -> Any:
        """Return the policy's source."""
        return self.write(**inputs)


class Experimenter(dspy.Module):
    """Plans experiments; `experiments.execute` runs them."""

    def __init__(self) -> None:
        super().__init__()
        self.plan = dspy.Predict(signatures.PlanExperiments)

    def forward(self, **inputs: Any) -> Any:
        """Return the experiments."""
        return self.plan(**inputs)


class Supervisor(dspy.Module):
    """Questions, redirects, stops."""

    def __init__(self) -> None:
        super().__init__()
        self.supervise = dspy.Predict(signatures.Supervise)

    def forward(self, **inputs: Any) -> Any:
        """Return an action and questions."""
        return self.supervise(**inputs)


class Reporter(dspy.Module):
    """Writes the report's words from the journal."""

    def __init__(self) -> None:
        super().__init__()
        self.write = dspy.Predict(signatures.WriteReport)

    def forward(self, **inputs: Any) -> Any:
        """Return summary, mechanisms, limits, intended use."""
        return self.write(**inputs)


class Witness(dspy.Module):
    """Says what the model is and what it knew; asked last, so that the question suggests nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.say = dspy.Predict(signatures.SayWhatYouKnew)

    def forward(self, **inputs: Any) -> Any:
        """Return name, date and answer."""
        return self.say(**inputs)


ROLES: dict[str, Callable[[], Any]] = {
    "analyst": Analyst,
    "researcher": Researcher,
    "coder": Coder,
    "experimenter": Experimenter,
    "supervisor": Supervisor,
    "reporter": Reporter,
    "witness": Witness,
}


class Team:
    """The roles of one context with the model that answers for them.

    Attributes:
        context: Whose budget and journal.
        voice: The model.
    """

    def __init__(self, context: Context, voice: Voice) -> None:
        self.context = context
        self.voice = voice
        self._turns: Counter[str] = Counter()
        self._modules = {name: make() for name, make in ROLES.items()}

    def ask(self, role: str, **inputs: str) -> Any:
        """Ask a role and return its typed fields.

        Raises:
            Malformed: If its replies cannot be read.
            LMFailure: If there are none.
            BudgetSpent: If nothing is left to ask with.
        """
        lm = role_lm(
            lambda asked: self.context.ask(self.voice, asked),
            context=self.context.number,
            role=role,
            model=self.voice.name,
            turns=lambda: self._turn(role),
        )
        for _ in range(MAX_READINGS):
            try:
                with dspy.context(lm=lm, adapter=dspy.ChatAdapter(), callbacks=[], track_usage=False):
                    return self._modules[role](**inputs)
            except AdapterParseError as error:
                reason = str(error)
            except Exception as error:
                raise unwrap(error) from None
        self.context.note("malformed", role=role, reason=reason[:300])
        raise Malformed(f"{role}: {reason[:300]}")

    def ask_or_none(self, role: str, **inputs: str) -> Any | None:
        """Ask a role that the loop can do without for once; None if its replies cannot be read."""
        try:
            return self.ask(role, **inputs)
        except Malformed:
            return None

    def _turn(self, role: str) -> int:
        self._turns[role] += 1
        return self._turns[role] - 1


def prompts() -> dict[str, str]:
    """Return the system prompt of every role as its model will see it, and the names of what it is given."""
    adapter = dspy.ChatAdapter()
    found = {}
    for name, make in ROLES.items():
        for predictor in make().predictors():
            inputs = {field: f"<{field}>" for field in predictor.signature.input_fields}
            messages = adapter.format(predictor.signature, demos=[], inputs=inputs)
            found[name] = "\n\n".join(f"--- {m['role']}\n{m['content']}" for m in messages)
    return found
