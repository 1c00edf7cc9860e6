"""Evolution of programs by other projects' designers, run at our meter: OpenEvolve and GEPA.

GEPA runs in this process and calls two functions. OpenEvolve spreads its work over processes, so it is run as its users
run it, from its command line in a process of its own; a server on the loopback interface, open to that process alone,
passes what it asks a model and what it wants simulated to the run's context. Both work one evaluation at a time.

GEPA repeats, so a cut run goes on. OpenEvolve's prompts are not sure to be the same twice: if a resumed run asks for
something else than its journal has, it ends with an error, and a new folder is the way out.
"""

import json
import os
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glia_bench.designer.budget import BudgetSpent
from glia_bench.designer.evaluation import feedback
from glia_bench.designer.sampling import question, source_in
from glia_bench.errors import GliaBenchError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from glia_bench.designer.context import Context
    from glia_bench.designer.lm import Voice
    from glia_bench.designer.run import DesignRun

MAX_BODY_BYTES = 4 << 20
POLL_S = 0.2
_EVALUATOR = '''"""Hands a program to the run that began this process and returns its score."""

import json
import os
import urllib.request


def evaluate(program_path):
    """Return the score and what to tell the next prompt."""
    from openevolve.evaluation_result import EvaluationResult

    with open(program_path) as file:
        body = json.dumps({"source": file.read()}).encode()
    headers = {"Authorization": "Bearer " + os.environ["GLIA_BRIDGE_TOKEN"], "Content-Type": "application/json"}
    request = urllib.request.Request(os.environ["GLIA_BRIDGE_URL"] + "/evaluate", body, headers)
    with urllib.request.urlopen(request) as reply:
        found = json.load(reply)
    return EvaluationResult(metrics=found["metrics"], artifacts=found["artifacts"])
'''
_START = "from openevolve.cli import main; raise SystemExit(main())"


def gepa(run: "DesignRun", voice: "Voice") -> None:
    """Run GEPA's optimize_anything until the budget is spent.

    Raises:
        GliaBenchError: If GEPA is not installed.
        LMFailure: If the model gives no answer.
        BudgetSpent: In the end.
    """
    if find_spec("gepa") is None:
        raise GliaBenchError("gepa needs GEPA, which is not installed: pip install 'glia-bench[gepa]'")
    from gepa.optimize_anything import EngineConfig, GEPAConfig, ReflectionConfig, optimize_anything

    context = run.context()
    turns = iter(range(sys.maxsize))
    ends: list[Exception] = []  # GEPA would go on after a failed reflection

    def reflect(prompt: Any) -> str:
        text = prompt if isinstance(prompt, str) else "\n\n".join(str(message["content"]) for message in prompt)
        try:
            if not ends:
                return context.ask(voice, question(0, "reflector", next(turns), "", text, model=voice.name)).text
        except Exception as end:
            ends.append(end)
        raise ends[0]

    def evaluate(candidate: str, *args: Any, **kwargs: Any) -> tuple[float, dict[str, Any]]:
        evaluation = context.simulate(source_in(candidate) or candidate).evaluation
        return evaluation.value, {"feedback": feedback(evaluation)}

    engine = EngineConfig(
        seed=run.settings.seed,
        max_metric_calls=int(run.settings.budget.limits["proposals"]) + 1,
        parallel=False,
        raise_on_exception=True,
    )
    optimize_anything(
        seed_candidate=run.bundle.seed_source,
        evaluator=evaluate,
        objective=run.bundle.objective_md,
        background=run.bundle.background_md,
        config=GEPAConfig(
            engine=engine,
            reflection=ReflectionConfig(reflection_lm=reflect),
            stop_callbacks=[lambda state: bool(ends)],
        ),
    )
    if ends:
        raise ends[0]


def evolve(run: "DesignRun", voice: "Voice") -> None:
    """Run OpenEvolve until the budget is spent.

    Raises:
        GliaBenchError: If OpenEvolve is not installed, or ends in an error of its own.
        LMFailure: If the model gives no answer.
        BudgetSpent: In the end.
    """
    if find_spec("openevolve") is None:
        raise GliaBenchError("evolve needs OpenEvolve, which is not installed: pip install 'glia-bench[evolve]'")
    context = run.context()
    with tempfile.TemporaryDirectory() as name, _bridge(context, voice) as bridge:
        folder = Path(name)
        (folder / "initial_program.py").write_text(run.bundle.seed_source)
        (folder / "evaluator.py").write_text(_EVALUATOR)
        (folder / "config.yaml").write_text(json.dumps(_config(run, bridge)))
        files = [str(folder / file) for file in ("initial_program.py", "evaluator.py")]
        log = run.folder / "logs" / "openevolve.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-c", _START, *files, "-c", str(folder / "config.yaml"), "-o", str(folder / "out")],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, "GLIA_BRIDGE_URL": bridge.url, "GLIA_BRIDGE_TOKEN": bridge.token},
                start_new_session=True,
            )
        try:
            while process.poll() is None and bridge.end is None:
                time.sleep(POLL_S)
                context.check(but=("simulations",))
        finally:
            _kill(process)
        if bridge.end is not None:
            raise bridge.end
        if process.returncode:
            raise GliaBenchError(f"OpenEvolve ended with exit status {process.returncode}; see {log}")


def _config(run: "DesignRun", bridge: "_Bridge") -> dict[str, Any]:
    """Return OpenEvolve's configuration; JSON is YAML."""
    model = {"name": "voice", "api_base": f"{bridge.url}/v1", "api_key": bridge.token, "weight": 1.0}
    patience = {"timeout": 86400, "retries": 0, "retry_delay": 0}
    told = f"{run.bundle.objective_md}\n\n{run.bundle.background_md}"
    return {
        "max_iterations": int(run.settings.budget.limits["proposals"]),
        "random_seed": run.settings.seed,
        "diff_based_evolution": False,
        "max_code_length": 20000,
        "llm": {**patience, "api_base": f"{bridge.url}/v1", "api_key": bridge.token, "models": [{**model, **patience}]},
        "prompt": {"system_message": told, "include_artifacts": True},
        "database": {"num_islands": 1},
        "evaluator": {"cascade_evaluation": False, "parallel_evaluations": 1, "timeout": 86400, "max_retries": 0},
    }


def _kill(process: "subprocess.Popen[bytes]") -> None:
    import contextlib
    import signal

    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


class _Bridge:
    """The server: what it passes on, and what ended it.

    Attributes:
        token: What a caller must show.
        url: Where it listens.
        end: What the context raised: the reason to stop.
    """

    def __init__(self, context: "Context", voice: "Voice") -> None:
        self.context = context
        self.voice = voice
        self.token = secrets.token_hex(16)
        self.url = ""
        self.end: BaseException | None = None
        self._turn = 0
        self._lock = threading.Lock()

    def answer(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the JSON that a request gets; one at a time."""
        with self._lock:
            if self.end is not None:
                raise BudgetSpent("run", 0.0)
            try:
                if path == "/evaluate":
                    evaluation = self.context.simulate(str(body["source"])).evaluation
                    metrics = {"combined_score": evaluation.value, **evaluation.metrics}
                    return {"metrics": metrics, "artifacts": {"feedback": feedback(evaluation)}}
                return self._chat(body)
            except BaseException as end:
                self.end = end
                raise

    def _chat(self, body: Mapping[str, Any]) -> dict[str, Any]:
        messages = [(str(m.get("role")), str(m.get("content"))) for m in body["messages"]]
        system = "\n\n".join(text for role, text in messages if role == "system")
        user = "\n\n".join(text for role, text in messages if role != "system")
        asked = question(0, "evolver", self._turn, system, user, model=self.voice.name)
        self._turn += 1
        reply = self.context.ask(self.voice, asked)
        tokens_in, tokens_out = reply.tokens_in or 0, reply.tokens_out or 0
        usage = {"prompt_tokens": tokens_in, "completion_tokens": tokens_out, "total_tokens": tokens_in + tokens_out}
        message = {"role": "assistant", "content": reply.text}
        return {
            "id": f"turn-{asked.turn}",
            "object": "chat.completion",
            "created": 0,
            "model": "voice",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": usage,
        }


@contextmanager
def _bridge(context: "Context", voice: "Voice") -> "Iterator[_Bridge]":
    bridge = _Bridge(context, voice)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            is_known = secrets.compare_digest(self.headers.get("Authorization", ""), f"Bearer {bridge.token}")
            if not is_known or length > MAX_BODY_BYTES or self.path not in ("/evaluate", "/v1/chat/completions"):
                self.send_error(403)
                return
            try:
                data = json.dumps(bridge.answer(self.path, json.loads(self.rfile.read(length)))).encode()
            except BaseException:
                self.send_error(503)
                return
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    bridge.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield bridge
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
