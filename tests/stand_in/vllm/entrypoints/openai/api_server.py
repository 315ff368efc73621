"""Stands in for vLLM in tests: its command line, its key, its health and its one answer; no model.

As a module of a folder on PYTHONPATH it is run with vLLM's own command.  Flags of its own: `--notes FOLDER`,
where it writes what the tests ask about; `--wait-for FILE`, without which it does not listen; `--fail TEXT`,
with which it ends at once; `--open`, which lets in whoever has no key; `--deaf`, which ignores SIGTERM.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Handler(BaseHTTPRequestHandler):
    """Answers as vLLM does."""

    def do_GET(self) -> None:
        if self.denied():
            return
        found = self.path in ("/health", "/v1/models")
        self.answer({"object": "list", "data": [{"id": given.model}]} if found else {}, 200 if found else 404)

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers["Content-Length"]))
        print("prompt:", asked.decode(), flush=True)
        if not self.denied():
            message = {"role": "assistant", "content": "It rains."}
            self.answer(
                {"model": given.model, "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
            )

    def denied(self) -> bool:
        allowed = given.open or self.headers.get("Authorization") == f"Bearer {os.environ['VLLM_API_KEY']}"
        if not allowed:
            self.answer({"error": "Unauthorized"}, 401)
        return not allowed

    def answer(self, body: dict[str, object], status: int = 200) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        pass


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for name in ("--model", "--host", "--middleware", "--max-model-len"):
        parser.add_argument(name)
    parser.add_argument("--port", type=int)
    parser.add_argument("--no-enable-log-requests", action="store_true")
    parser.add_argument("--notes", type=Path, required=True)
    parser.add_argument("--wait-for", type=Path)
    parser.add_argument("--fail")
    parser.add_argument("--open", action="store_true")
    parser.add_argument("--deaf", action="store_true")
    given = parser.parse_args()
    if given.deaf:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # An engine of its own process, which nothing of its own ends.
    engine = subprocess.Popen([sys.executable, "-c", f"import time; time.sleep(600)  # {given.notes}"])
    note = {"argv": sys.argv, "pids": [os.getpid(), engine.pid], "environment": dict(os.environ)}
    made = given.notes / f".{os.getpid()}"
    made.write_text(json.dumps(note))
    made.rename(given.notes / f"{time.monotonic_ns():020}.json")
    print("the stand-in starts", flush=True)
    if given.fail:
        sys.exit(f"\x1b[31m{given.fail}\x1b[0m")
    while given.wait_for is not None and not given.wait_for.exists():
        time.sleep(0.02)
    ThreadingHTTPServer((given.host, given.port), Handler).serve_forever()
