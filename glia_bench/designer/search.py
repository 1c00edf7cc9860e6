"""Two designers without a language model: a search over the constants of one neutral text, or of the experts' texts.

Both hand in texts whose numbers Optuna proposes, one after the other, and learn from what each comes to; a search is a
function of its seed and of those answers, so that a run that was cut repeats its way to where it was. Left out: several
simulations at once, and stopping one early, which would make the budget unclear.

`search_neutral` knows nothing of experts: its text (`templates`) is one linear score for every decision. Its first
proposal is the text as it is, a plain policy.

`search_template` has the human experts' texts of the track, but neither what they cost nor what was found for them
elsewhere. A budget of 20 does not reach for the constants of 17 of them, and which idea fits the task matters more than
its constants. So a share of `FIRST_LOOK` of the simulations goes to experts as they are, in an order drawn by the seed
(it is not known who is good); half of what is left goes to the constants of the best `SURVIVORS` in turn, the rest to
those of the best one of these (successive halving). An expert's own constants are a good guess, and most ranges are
wide: proposals are learned from the first one on, which makes most of them neighbours of the best so far. One joint
space with the expert as a categorical variable would have to learn the same from far more simulations than a budget
has.

Options of both: `sampler` ("tpe": tree-structured Parzen estimator; "random"; "qmc": Sobol points, from SciPy); of
`search_template` also `expert`, the name of the only one to search.
"""

import ast
import hashlib
import importlib.util
import math
import random
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from glia_bench.designer.budget import BudgetSpent
from glia_bench.designer.context import Context
from glia_bench.designer.templates import neutral_text
from glia_bench.errors import GliaBenchError, did_you_mean
from glia_bench.evaluation.tuning import suggested
from glia_bench.loading import shipped_policies
from glia_bench.policy import Track
from glia_bench.tunables import Tunable, tunables, with_constants

if TYPE_CHECKING:
    import optuna

    from glia_bench.designer.lm import Voice
    from glia_bench.designer.run import DesignRun

SAMPLERS = ("tpe", "random", "qmc")
OPTIONS = {"search_neutral": ("sampler",), "search_template": ("sampler", "expert")}
FIRST_LOOK = 0.5
SURVIVORS = 2
"""Most experts whose constants are searched."""


@dataclass(slots=True, kw_only=True)
class _Search:
    """The search over one text's constants in one context.

    Attributes:
        name: Of the text, for the journal.
        source: The text.
        tunable: Its constants.
        study: What learns; its first proposal is the text as it is.
        best: Highest value so far.
    """

    name: str
    source: str
    tunable: Sequence[Tunable]
    study: "optuna.Study"
    best: float = -math.inf

    def step(self, context: Context) -> None:
        """Propose a text, simulate it, and learn what it came to."""
        proposed = self.study.ask()
        values = {t.name: value for t in self.tunable if (value := suggested(proposed, t)) != t.default}
        value = context.simulate(with_constants(self.source, values), purpose=self.name).evaluation.value
        self.study.tell(proposed, value)
        self.best = max(self.best, value)


def search_neutral(run: "DesignRun", voice: "Voice | None" = None) -> None:
    """Search the weights of linear scores until the budget is spent.

    Raises:
        BudgetSpent: In the end.
        GliaBenchError: If an option is wrong or Optuna is missing.
    """
    source = neutral_text(run.bundle.task)

    def search(context: Context) -> None:
        num_random = min(10, max(4, int(context.simulations_left / 3)))
        only = _new_search(context, "neutral", source, num_random=num_random)
        while True:
            only.step(context)

    _in_every_context(run, search, "search_neutral")


def search_template(run: "DesignRun", voice: "Voice | None" = None) -> None:
    """Search among the human experts' texts and their constants until the budget is spent.

    Raises:
        BudgetSpent: In the end.
        GliaBenchError: If an option is wrong or Optuna is missing.
    """
    experts = _experts(run.bundle.task.track, run.settings.options.get("expert"))

    def search(context: Context) -> None:
        searches = [_new_search(context, name, source, num_random=1) for name, source in experts]
        random.Random(_seed(context, "order")).shuffle(searches)
        _halve(context, searches)

    _in_every_context(run, search, "search_template")


def _halve(context: Context, searches: Sequence[_Search]) -> None:
    """Look at experts as they are, then search the constants of the best, then of the best of these."""
    last_look = context.simulations_left * (1.0 - FIRST_LOOK)
    looked: list[_Search] = []
    for search in searches:
        if looked and context.simulations_left <= last_look:
            break
        search.step(context)
        looked.append(search)
    kept = _best(looked, min(SURVIVORS, max(1, int(context.simulations_left / 3))))
    until = context.simulations_left / 2
    while len(kept) > 1 and context.simulations_left > until:
        for search in kept:
            search.step(context)
    kept = _best(kept, 1)
    while True:
        kept[0].step(context)


def _best(searches: Sequence[_Search], num: int) -> list[_Search]:
    return sorted(searches, key=lambda search: -search.best)[:num]


def _in_every_context(run: "DesignRun", search: Callable[[Context], None], designer: str) -> None:
    """Run one search after the other, each within its share of the budget."""
    _check_options(run, designer)
    for number in range(run.settings.contexts):
        try:
            search(run.context(number))
        except BudgetSpent:
            if number == run.settings.contexts - 1:
                raise


def _check_options(run: "DesignRun", designer: str) -> None:
    known = OPTIONS[designer]
    for name in run.settings.options:
        if name not in known:
            raise GliaBenchError(
                f"options of {designer} are {', '.join(known)} (got {name!r}){did_you_mean(name, known)}"
            )
    sampler = run.settings.options.get("sampler", SAMPLERS[0])
    if sampler not in SAMPLERS:
        raise GliaBenchError(
            f"sampler must be one of {', '.join(SAMPLERS)} (got {sampler!r}){did_you_mean(str(sampler), SAMPLERS)}"
        )


def _experts(track: Track, only: object) -> list[tuple[str, str]]:
    """Return names and texts of the human experts that declare constants, by name.

    Raises:
        GliaBenchError: If the only one that is wanted is none of them.
    """
    found = {p.name: p.source for p in shipped_policies(track) if p.kind == "human" and p.tunable}
    if only is None:
        return sorted(found.items())
    if not isinstance(only, str) or only not in found:
        raise GliaBenchError(
            f"expert must be a human {track} policy that declares TUNABLE: {', '.join(sorted(found))} (got {only!r})"
            f"{did_you_mean(str(only), found)}"
        )
    return [(only, found[only])]


def _new_search(context: Context, name: str, source: str, *, num_random: int) -> _Search:
    """Return a search over the constants that a text declares; the first `num_random` proposals teach nothing.

    Raises:
        GliaBenchError: If Optuna, or what the sampler needs, is missing.
    """
    try:
        import optuna
    except ImportError:
        raise GliaBenchError(
            f"{context.run.settings.designer} needs Optuna, which is not installed: pip install 'glia-bench[designer]'"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    seed = _seed(context, name)
    sampler = context.run.settings.options.get("sampler", SAMPLERS[0])
    made: optuna.samplers.BaseSampler
    if sampler == "random":
        made = optuna.samplers.RandomSampler(seed=seed)
    elif sampler == "qmc":
        if not importlib.util.find_spec("scipy"):
            raise GliaBenchError("the sampler qmc needs SciPy, which is not installed: pip install scipy")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # it says so each time
            made = optuna.samplers.QMCSampler(scramble=True, seed=seed, warn_independent_sampling=False)
    else:
        made = optuna.samplers.TPESampler(seed=seed, n_startup_trials=num_random)
    study = optuna.create_study(sampler=made, direction="maximize")
    tunable = tunables(ast.parse(source), name)
    study.enqueue_trial({t.name: t.default for t in tunable})
    return _Search(name=name, source=source, tunable=tunable, study=study)


def _seed(context: Context, what: str) -> int:
    """Return a seed for one thing that is drawn in a context."""
    text = f"{context.run.settings.seed} {context.number} {what}"
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16)
