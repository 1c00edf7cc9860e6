"""Designers that search parameters and write no code: Optuna over a neutral template, and over the experts' constants.

`search_neutral` fills in one template of linear scores (`templates`). `search_template` is given the human experts'
own files: with the first half of its simulations it tries experts as they are, drawn without replacement, and with the
rest it tunes the constants of the best of them. A joint search over all experts was left out: with a few dozen
simulations it visits each a time or two and tunes none. The frozen constants of experts (`tasks.tuned`) are not used:
they were found outside this meter.
"""

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from glia_bench.designer.templates import neutral_template
from glia_bench.errors import GliaBenchError, did_you_mean
from glia_bench.evaluation.tuning import suggested
from glia_bench.loading import shipped_policies
from glia_bench.static_check import static_check
from glia_bench.tunables import with_constants

if TYPE_CHECKING:
    from glia_bench.designer.context import Candidate, Context
    from glia_bench.designer.lm import Voice
    from glia_bench.designer.run import DesignRun

SAMPLERS = ("tpe", "random", "qmc")
NUM_STARTUP = 6
"""Proposals that the adaptive sampler draws at random before it learns."""


def search_neutral(run: "DesignRun", voice: "Voice | None" = None) -> None:
    """Search the constants of the track's neutral template until the budget is spent."""
    task = run.bundle.task
    views = task.cluster.prefix_views if task.cluster.has_prefix_cache else ()
    source = neutral_template(task.track, has_prefix_view="own" in views)
    _search(run.context(), source, run.settings.options.get("sampler", "tpe"), run.settings.seed)


def search_template(run: "DesignRun", voice: "Voice | None" = None) -> None:
    """Try human experts as they are, then search the constants of the best until the budget is spent.

    Raises:
        GliaBenchError: If the option "expert" names none with constants.
    """
    context, options = run.context(), run.settings.options
    track = run.bundle.task.track
    experts = {p.name: p.source for p in shipped_policies(track) if p.kind == "human" and p.tunable}
    names = sorted(experts)
    if only := options.get("expert"):
        if only not in experts:
            raise GliaBenchError(f"no human expert {only!r} with tunable constants{did_you_mean(only, names)}")
        names = [only]
    random.Random(run.settings.seed).shuffle(names)
    half = max(1, int(run.settings.budget.limits["simulations"] // 2))
    tried = [(context.simulate(experts[name], purpose=f"as it is: {name}"), name) for name in names[:half]]
    best, name = max(tried, key=lambda pair: pair[0].evaluation.value)
    context.note("chosen", expert=name)
    _search(context, experts[name], options.get("sampler", "tpe"), run.settings.seed, known=best)


def _search(context: "Context", source: str, sampler: str, seed: int, *, known: "Candidate | None" = None) -> None:
    """Propose constants for a text for ever; the first proposal is the text as it is. The budget ends it."""
    optuna = _optuna()
    makers: dict[str, Callable[[], Any]] = {
        "tpe": lambda: optuna.samplers.TPESampler(seed=seed, n_startup_trials=NUM_STARTUP),
        "random": lambda: optuna.samplers.RandomSampler(seed=seed),
        "qmc": lambda: optuna.samplers.QMCSampler(seed=seed, scramble=True),
    }
    if sampler not in makers:
        raise GliaBenchError(
            f"a sampler is one of {', '.join(SAMPLERS)} (got {sampler!r}){did_you_mean(sampler, SAMPLERS)}"
        )
    tunable = static_check(source, context.run.bundle.task.track).tunable
    study = optuna.create_study(sampler=makers[sampler](), direction="maximize")
    study.enqueue_trial({t.name: t.default for t in tunable})
    while True:
        proposed = study.ask()
        values = {t.name: value for t in tunable if (value := suggested(proposed, t)) != t.default}
        if known is None or values:
            known = context.simulate(with_constants(source, values) if values else source, purpose="proposed")
        study.tell(proposed, known.evaluation.value)


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise GliaBenchError(
            "searches need Optuna, which is not installed: pip install 'glia-bench[designer]'"
        ) from None
    import warnings

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    return optuna
