"""Language models for tests: a question, a recording, and a server on this machine that says what it is told to."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from glia_bench.designer.voices import Asked

KEY = "sk-canary-0123456789"
ASKED = Asked(context=0, role="researcher", turn=3, model="m", system="be brief", user="why?", sha256="a" * 64)
VERSIONS = {"task": "routing/bursty-v0", "dspy": "3.4.1", "glia_bench": "0.1.0"}
CHAT = "[[ ## answer ## ]]\nfour\n\n[[ ## completed ## ]]\n"


def lm_event(**changes: Any) -> dict[str, Any]:
    """Return a recorded answer to ASKED."""
    reply = {"text": "since", "model": "openai/m", "tokens_in": 7, "tokens_out": 2, "usd": 0.1, "finish_reason": "stop"}
    event = {"event": "lm", "context": 0, "role": "researcher", "turn": 3, "request_sha256": ASKED.sha256}
    return {**event, "reply": reply, "wall_s": 1.5, **changes}


def recording(folder: Path, *events: object) -> Path:
    """Write a recording."""
    path = folder / "run.jsonl"
    path.write_text("".join(f"{json.dumps(event)}\n" for event in events))
    return path


def without_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the language model of whoever runs the tests."""
    for name in ("BASE_URL", "MODEL", "API_KEY", "USD_PER_MTOK_IN", "USD_PER_MTOK_OUT", "MAX_TOKENS", "TIMEOUT_S"):
        monkeypatch.delenv(f"GLIA_LM_{name}", raising=False)


Answer = tuple[int, dict[str, str], bytes]


class Server(ThreadingHTTPServer):
    """An OpenAI-compatible server that says what it is told to."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[Answer] = []
        self.asked: list[tuple[str, dict[str, str], bytes]] = []


class Handler(BaseHTTPRequestHandler):
    """Keeps what it was asked."""

    def do_POST(self) -> None:
        """Give the next answer, and end the connection."""
        server = self.server
        assert isinstance(server, Server)
        server.asked.append((self.path, dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
        status, headers, body = server.answers.pop(0)
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def completion(text: str | None, finish_reason: str = "stop", model: str = "tiny-7b") -> Answer:
    """Return a whole answer of such a server."""
    choice = {"index": 0, "finish_reason": finish_reason, "message": {"role": "assistant", "content": text}}
    usage = {"prompt_tokens": 1000, "completion_tokens": 200, "total_tokens": 1200}
    return (
        200,
        {},
        json.dumps(
            {"id": "1", "object": "chat.completion", "model": model, "choices": [choice], "usage": usage}
        ).encode(),
    )


def failing(status: int, message: str) -> Answer:
    """Return an error of such a server."""
    return status, {}, json.dumps({"error": {"message": message, "type": "error"}}).encode()


@contextmanager
def serving(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Run a server that the environment names, beside another address and another key that must not be taken."""
    without_settings(monkeypatch)
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("GLIA_LM_BASE_URL", f"http://127.0.0.1:{running.server_port}/v1")
        monkeypatch.setenv("GLIA_LM_MODEL", "tiny")
        monkeypatch.setenv("GLIA_LM_API_KEY", KEY)
        monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
        monkeypatch.setenv("OPENAI_API_KEY", "sk-of-another-place")
        yield running
        running.shutdown()
        thread.join()
