"""What each role of the Glia designer is asked and must return: typed fields, and the prompts, reviewed like code.

Imports DSPy, and so is imported only by what runs the roles.
"""

from typing import Any, Literal

import dspy
from pydantic import BaseModel, Field

MAX_EXPERIMENTS = 4
MAX_VALUES = 4


class Prediction(BaseModel):
    """What a hypothesis says will be seen, so that it can be wrong."""

    metric: str = Field(description="cost, or one of the metrics in the results")
    direction: Literal["down", "up"]
    relative_size: float = Field(description="smallest relative change against the best design so far, such as 0.1")


class Hypothesis(BaseModel):
    """An idea and why it should work."""

    idea: str = Field(description="the mechanism, in one or two sentences")
    because: str = Field(description="the evidence in the findings and results that speaks for it")
    prediction: Prediction


class Finding(BaseModel):
    """Who suffers in a run, when, and why."""

    which: str = Field(description="which requests")
    when: str = Field(description="in which state of the cluster, or at which time")
    why: str = Field(description="the mechanism that the tables point to")


class Insight(BaseModel):
    """Something that is true of the workload or the cluster, whatever the design, with the query that shows it."""

    statement: str
    query: dict[str, Any] = Field(description="the query whose table supports it")


class Experiment(BaseModel):
    """One experiment on the new design."""

    kind: Literal["sweep", "ablate", "load", "query"]
    constant: str = Field(default="", description="sweep and ablate: name of a constant of the file")
    values: list[float] = Field(default_factory=list, description=f"sweep: up to {MAX_VALUES} values; ablate: one")
    loads: list[float] = Field(default_factory=list, description="load: one or two fractions of the reference rate")
    query: dict[str, Any] | None = Field(default=None, description="query: what to ask of the tables")


class AnalyseRun(dspy.Signature):
    """You are the analyst of a team that designs a policy for a cluster of GPUs that serves a language model.

    You read tables of one simulated run and say which requests suffer, when, and why: mechanisms, not numbers again.
    You also say what is true of the workload itself, each with a query whose table supports it. You propose no designs.
    """

    objective: str = dspy.InputField()
    design: str = dspy.InputField(desc="source of the policy that ran")
    result: str = dspy.InputField(desc="what came of it")
    tables: str = dspy.InputField(desc="requests of one run, grouped in several ways, and the worst of them")
    query_help: str = dspy.InputField(desc="how to write a query")
    findings: list[Finding] = dspy.OutputField(desc="one to four")
    insights: list[Insight] = dspy.OutputField(desc="none to three")


class Hypothesise(dspy.Signature):
    """You are the researcher of a team that designs a policy for a cluster of GPUs that serves a language model.

    Reason from the evidence to the one change that should help most, and why; then say what will be seen if you are
    right, so that an experiment can prove you wrong. Prefer mechanisms that a person can understand to more constants.
    """

    objective: str = dspy.InputField()
    background: str = dspy.InputField(desc="system, rules and interface")
    history: str = dspy.InputField(desc="what was tried so far and what came of it")
    best_design: str = dspy.InputField(desc="source of the best design so far")
    findings: str = dspy.InputField(desc="the analyst's findings and insights")
    questions: str = dspy.InputField(desc="the supervisor's remarks on the last round")
    hypothesis: Hypothesis = dspy.OutputField()


class WriteDesign(dspy.Signature):
    """You are the researcher of a team that designs a policy for a cluster of GPUs that serves a language model.

    Write the policy that your hypothesis asks for, as one complete Python file that follows the interface exactly. Keep
    it short; say in comments why, not what. If an error is given, mend what it names.
    """

    objective: str = dspy.InputField()
    background: str = dspy.InputField(desc="system, rules and interface")
    hypothesis: str = dspy.InputField()
    best_design: str = dspy.InputField(desc="source of the best design so far")
    error: str = dspy.InputField(desc="why your last attempt could not run, with its source; or none")
    policy_source: str = dspy.OutputField(desc="the whole file, Python, no Markdown")


class PlanExperiments(dspy.Signature):
    """You are the experimenter of a team that designs a policy for a cluster of GPUs that serves a language model.

    The new design is simulated in any case. Plan what else is worth its price: a sweep of a constant, a constant set to
    a value that switches a mechanism off, another load, or a query to the tables of the run. An empty plan is fine.
    """

    objective: str = dspy.InputField()
    hypothesis: str = dspy.InputField()
    design: str = dspy.InputField(desc="source of the new design")
    result: str = dspy.InputField(desc="what came of simulating it")
    query_help: str = dspy.InputField(desc="how to write a query")
    simulations_left: str = dspy.InputField(desc="a sweep costs one for each value, an ablation one, a load about one")
    experiments: list[Experiment] = dspy.OutputField(desc=f"none to {MAX_EXPERIMENTS}")


class Supervise(dspy.Signature):
    """You are the supervisor of a researcher who designs a policy for a cluster of GPUs that serves a language model.

    You ask questions, point at evidence that was overlooked, notice when the work goes in circles or tunes constants
    without understanding, and say when to stop. You write no code and never supply the idea.
    """

    objective: str = dspy.InputField()
    hypothesis: str = dspy.InputField(desc="the researcher's, of this round")
    results: str = dspy.InputField(desc="of this round, with whether the prediction held")
    history: str = dspy.InputField(desc="earlier rounds")
    simulations_left: str = dspy.InputField()
    action: Literal["refine", "keep", "combine", "stop"] = dspy.OutputField(
        desc="refine this idea, keep it and look elsewhere, combine it with an earlier one, or stop here"
    )
    questions: str = dspy.OutputField(desc="one to three questions or remarks for the researcher")


class WriteReport(dspy.Signature):
    """You write the report on a policy for a cluster of GPUs that serves a language model, from the journal alone.

    Write for an engineer who must decide whether to run it: how it works, why, where it is weak. Claim nothing that the
    journal does not show. Numbers are added by the harness: do not repeat them.
    """

    objective: str = dspy.InputField()
    journal: str = dspy.InputField(desc="what was tried and what came of it")
    design: str = dspy.InputField(desc="source of the chosen policy")
    summary: str = dspy.OutputField(desc="up to 150 words")
    mechanisms: list[str] = dspy.OutputField(
        desc="each mechanism of the design and what it is for, one or two sentences"
    )
    limits: list[str] = dspy.OutputField(desc="when it will do badly")
    intended_use: str = dspy.OutputField(desc="one sentence")


class SayWhatYouKnew(dspy.Signature):
    """Answer about yourself, briefly and truthfully; nothing depends on the answer.

    Earlier messages, if you see any, are over: say what you knew before them.
    """

    question: str = dspy.InputField()
    model_name: str = dspy.OutputField(desc="what you are called, or unknown")
    knowledge_cutoff: str = dspy.OutputField(desc="date, or unknown")
    answer: str = dspy.OutputField(desc="up to 120 words")
