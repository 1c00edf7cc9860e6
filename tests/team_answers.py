"""Answers of a model that plays every role of the Glia designer, for tests."""

import json
from collections.abc import Callable, Mapping

from glia_bench.designer.lm import Asked

SHORTEST = "LIMIT = 0.5\n\n\ndef rank(request, replica, memory):\n    return LIMIT * request.prompt_tokens\n"
LATEST = "def rank(request, replica, memory):\n    return -request.arrival_s\n"
WRONG = "def rank(request, replica, memory):\n    return request.secret\n"


def chat(**fields: object) -> str:
    """Return fields as DSPy's chat adapter reads them."""
    parts = [
        f"[[ ## {name} ## ]]\n{value if isinstance(value, str) else json.dumps(value)}"
        for name, value in fields.items()
    ]
    return "\n\n".join([*parts, "[[ ## completed ## ]]"])


HYPOTHESIS = {
    "idea": "serve short prompts first",
    "because": "long prompts stand in the way",
    "prediction": {"metric": "cost", "direction": "down", "relative_size": 0.05},
}
ANSWERS: Mapping[str, str] = {
    "analyst": chat(
        findings=[{"which": "short prompts", "when": "behind long ones", "why": "order of arrival"}],
        insights=[
            {
                "statement": "prompts differ a hundredfold",
                "query": {
                    "table": "requests",
                    "by": None,
                    "stats": [["prompt_tokens", "p10"], ["prompt_tokens", "p99"]],
                },
            },
            {"statement": "nonsense", "query": {"table": "secrets"}},
        ],
    ),
    "researcher": chat(reasoning="look at the tables", hypothesis=HYPOTHESIS),
    "coder": chat(policy_source=f"```python\n{SHORTEST}```"),
    "experimenter": chat(
        experiments=[
            {"kind": "sweep", "constant": "LIMIT", "values": [2.0]},
            {"kind": "ablate", "constant": "NOWHERE", "values": [0]},
            {"kind": "load", "loads": [99.0]},
            {"kind": "query", "query": {"table": "requests", "by": "prompt_tokens", "bins": 2, "stats": [["count"]]}},
        ]
    ),
    "supervisor": chat(action="refine", questions="Who pays for it?"),
    "reporter": chat(summary="Short first.", mechanisms=["order"], limits=["long prompts"], intended_use="chat"),
    "witness": chat(model_name="scripted", knowledge_cutoff="unknown", answer="nothing"),
}


def answering(**others: str | Exception | Callable[[Asked], str | Exception]) -> Callable[[Asked], str | Exception]:
    """Return a function that answers for every role; some of them otherwise."""

    def answer(asked: Asked) -> str | Exception:
        found = others.get(asked.role, ANSWERS[asked.role])
        return found(asked) if callable(found) else found

    return answer
