"""A task as a directory for another designer's own command line: OpenEvolve, GEPA, ShinkaEvolve, Harbor.

All four are made from one `TaskBundle` and call one evaluator, `client.evaluate_file`, which meters them; they differ
in file names and in how a score is handed over. `combined_score` is higher for the better design everywhere.
"""

import json
from collections.abc import Callable
from pathlib import Path

from glia_bench import __version__
from glia_bench.designer.budget import Budget
from glia_bench.designer.bundle import TaskBundle
from glia_bench.designer.client import TASK_FILE
from glia_bench.designer.run import Settings
from glia_bench.errors import GliaBenchError, did_you_mean
from glia_bench.scoring.record import write_atomically

_OPENEVOLVE = '''"""Scores a program with the metered evaluator; called by OpenEvolve."""

from pathlib import Path

from glia_bench.designer.client import evaluate_file


def evaluate(program_path):
    """Return the score, its metrics and what to tell the next prompt."""
    found = evaluate_file(program_path, Path(__file__).resolve().parent)
    metrics = {"combined_score": found["combined_score"], **found["metrics"]}
    try:
        from openevolve.evaluation_result import EvaluationResult
    except ImportError:
        return metrics
    return EvaluationResult(metrics=metrics, artifacts=found["artifacts"])


if __name__ == "__main__":
    import json
    import sys

    print(json.dumps(evaluate_file(sys.argv[1], Path(__file__).resolve().parent), indent=1))
'''
_SHINKA = '''"""Scores a program with the metered evaluator, for ShinkaEvolve: metrics.json and correct.json."""

import argparse
import json
from pathlib import Path

from glia_bench.designer.client import evaluate_file


def main(program_path, results_dir):
    """Score one program."""
    found = evaluate_file(program_path, Path(__file__).resolve().parent)
    results = Path(results_dir)
    results.mkdir(parents=True, exist_ok=True)
    text = found["artifacts"]["feedback"]
    metrics = {
        "combined_score": found["combined_score"],
        "public": found["metrics"],
        "private": {},
        "text_feedback": text,
    }
    (results / "metrics.json").write_text(json.dumps(metrics))
    error = "" if found["valid"] else text
    (results / "correct.json").write_text(json.dumps({"correct": found["valid"], "error": error}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--program_path", default="initial.py")
    parser.add_argument("--results_dir", default="results")
    options = parser.parse_args()
    main(options.program_path, options.results_dir)
'''
_GEPA = '''"""Runs GEPA's optimize_anything on the task; the model is named by GEPA_REFLECTION_LM."""

import os
import tempfile
from pathlib import Path

from glia_bench.designer.client import evaluate_file

HERE = Path(__file__).resolve().parent


def evaluate(candidate, example=None):
    """Return the score of a candidate's text, and what to tell the next reflection."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "policy.py"
        file.write_text(candidate)
        found = evaluate_file(file, HERE)
    return found["combined_score"], {**found["artifacts"], "scores": found["metrics"]}


if __name__ == "__main__":
    from gepa.optimize_anything import EngineConfig, GEPAConfig, ReflectionConfig, optimize_anything

    result = optimize_anything(
        seed_candidate=(HERE / "seed.py").read_text(),
        evaluator=evaluate,
        objective=(HERE / "objective.md").read_text(),
        background=(HERE / "background.md").read_text(),
        config=GEPAConfig(
            engine=EngineConfig(max_metric_calls=MAX_CALLS, parallel=False),
            reflection=ReflectionConfig(reflection_lm=os.environ["GEPA_REFLECTION_LM"]),
        ),
    )
    print(result.best_candidate)
'''
_HARBOR_TEST = """#!/bin/bash
# Scores /app/policy.py with the metered evaluator and writes the reward where Harbor looks for it.
mkdir -p /logs/verifier
python3 /tests/score.py "${1:-/app/policy.py}" "${2:-/logs/verifier/reward.json}"
"""
_HARBOR_SCORE = '''"""Scores a policy and writes the reward."""

import json
import sys
from pathlib import Path

from glia_bench.designer.client import evaluate_file

found = evaluate_file(sys.argv[1], Path(__file__).resolve().parent)
Path(sys.argv[2]).write_text(json.dumps({"reward": found["combined_score"]}))
print(found["artifacts"]["feedback"])
'''
_DOCKERFILE = f"""FROM python:3.12-slim
RUN pip install --no-cache-dir 'glia-bench[designer]=={__version__}'
WORKDIR /app
COPY policy.py /app/policy.py
"""


def export_task(task_id: str, format: str, folder: Path, *, budget: str = "20") -> list[Path]:
    """Write a task for another designer.

    Args:
        task_id: The task.
        format: "openevolve", "gepa", "shinka" or "harbor".
        folder: Where to; new or empty.
        budget: What the exported evaluator may spend, as `Budget.parse` reads it.

    Returns:
        The files that were written.

    Raises:
        GliaBenchError: If the format is unknown or the folder holds something.
    """
    if format not in FORMATS:
        raise GliaBenchError(f"no format {format!r}{did_you_mean(format, FORMATS)}; there are {', '.join(FORMATS)}")
    bundle = TaskBundle.of(task_id)
    settings = Settings(task=task_id, designer="exported", budget=Budget.parse(budget))
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise GliaBenchError(
            f"{folder} must be new or empty (it holds {next(folder.iterdir()).name}); give another --out"
        )
    written = []
    for name, text in FORMATS[format](bundle, settings).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode())
        if name.endswith(".sh"):
            path.chmod(0o755)
        written.append(path)
    return written


def _openevolve(bundle: TaskBundle, settings: Settings) -> dict[str, str]:
    told = f"{bundle.objective_md}\n\n{bundle.background_md}"
    config = {
        "max_iterations": int(settings.budget.limits["simulations"]),
        "diff_based_evolution": False,
        "max_code_length": 20000,
        "prompt": {"system_message": told, "include_artifacts": True},
        "evaluator": {"cascade_evaluation": False, "parallel_evaluations": 1, "timeout": 600, "max_retries": 0},
    }
    return {
        "initial_program.py": bundle.seed_source,
        "evaluator.py": _OPENEVOLVE,
        "config.yaml": json.dumps(config, indent=2) + "\n",  # JSON is YAML
        TASK_FILE: _settings(settings),
        "README.md": _readme(
            bundle,
            "openevolve-run initial_program.py evaluator.py --config config.yaml",
            "add your model to config.yaml",
        ),
    }


def _shinka(bundle: TaskBundle, settings: Settings) -> dict[str, str]:
    return {
        "initial.py": bundle.seed_source,
        "evaluate.py": _SHINKA,
        TASK_FILE: _settings(settings),
        "task.md": f"{bundle.objective_md}\n\n{bundle.background_md}\n",
        "README.md": _readme(
            bundle,
            "python evaluate.py --program_path initial.py --results_dir results",
            "give evaluate.py and initial.py to ShinkaEvolve, task.md as its task's system message, one job at a time",
        ),
    }


def _gepa(bundle: TaskBundle, settings: Settings) -> dict[str, str]:
    calls = int(settings.budget.limits["simulations"])
    return {
        "seed.py": bundle.seed_source,
        "run.py": _GEPA.replace("MAX_CALLS", str(calls)),
        "objective.md": bundle.objective_md + "\n",
        "background.md": bundle.background_md + "\n",
        TASK_FILE: _settings(settings),
        "README.md": _readme(bundle, "GEPA_REFLECTION_LM=openai/NAME python run.py", "needs pip install gepa==0.1.4"),
    }


def _harbor(bundle: TaskBundle, settings: Settings) -> dict[str, str]:
    toml = (
        'version = "1.0"\n\n[metadata]\ndifficulty = "hard"\ncategory = "systems"\n\n'
        "[verifier]\ntimeout_sec = 900.0\n\n[agent]\ntimeout_sec = 7200.0\n\n"
        "[environment]\nbuild_timeout_sec = 1800.0\ncpus = 2\nmemory_mb = 8192\n"
    )
    instruction = (
        f"Write the best policy that you can to /app/policy.py (a weak one is there).\n\n## The goal\n"
        f"{bundle.objective_md}\n\n{bundle.background_md}\n"
    )
    return {
        "task.toml": toml,
        "instruction.md": instruction,
        "environment/Dockerfile": _DOCKERFILE,
        "environment/policy.py": bundle.seed_source,
        "tests/test.sh": _HARBOR_TEST,
        "tests/score.py": _HARBOR_SCORE,
        f"tests/{TASK_FILE}": _settings(settings),
        "solution/solve.sh": "#!/bin/bash\n# The weak policy there scores about 0; none better is given away.\ntrue\n",
        "README.md": _readme(bundle, "bash tests/test.sh environment/policy.py reward.json", "a Harbor task directory"),
    }


def _settings(settings: Settings) -> str:
    return json.dumps(settings.to_json(), indent=1) + "\n"


def _readme(bundle: TaskBundle, command: str, remark: str) -> str:
    return (
        f"# {bundle.task.id}\n\nExported by glia-bench {__version__}. Run with `{command}` ({remark}).\n\n"
        f"The score is 0 for the naive reference and 1 for the tuned human expert, logarithmic in cost; higher is\n"
        f"better. The evaluator is metered: what was spent, and every design with its result, stands in\n"
        f"`run/journal.jsonl`; once the budget of `{TASK_FILE}` is spent designs get no more scores. The best\n"
        f"so far is in `run/design/`.\n"
    )


FORMATS: dict[str, Callable[[TaskBundle, Settings], dict[str, str]]] = {
    "openevolve": _openevolve,
    "gepa": _gepa,
    "shinka": _shinka,
    "harbor": _harbor,
}
