"""A stand-in for the executor service: its address, its /health and its end, nothing else. For tests of runtimes.

Files in the state folder steer it: `active-runs` (names, one a line), `fail-to-start`, `deaf` (SIGTERM is ignored),
`mute` (/health hangs up), `agent` (starts a child in a session of its own that sleeps, its pid goes to `agent.pid`).
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, required=True)
    config = json.loads(parser.parse_args().config.read_bytes())
    state = Path(config["stateDir"])
    sys.stdout.write(f"stand-in executor {os.getpid()}\n")
    if (state / "fail-to-start").exists():
        sys.exit("cannot start: the test asked for it")
    boot_id = os.urandom(8).hex()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if (state / "mute").exists():
                self.close_connection = True
                return
            runs = state / "active-runs"
            health = {
                "ok": True,
                "protocolVersion": 1,
                "bootId": boot_id,
                "sessionId": config["sessionId"],
                "generation": config["generation"],
                "maintenance": config["maintenance"],
                "activeRuns": runs.read_text().split() if runs.exists() else [],
                "somethingNew": True,
            }
            body = json.dumps(health).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer((config["host"], config["port"]), Handler)

    def end(*_: object) -> None:
        if not (state / "deaf").exists():
            threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, end)
    if (state / "agent").exists():
        agent = subprocess.Popen(["sleep", "600"], start_new_session=True)
        (state / "agent.pid").write_text(str(agent.pid))
    endpoint = {"url": f"http://127.0.0.1:{server.server_port}", "bootId": boot_id, "pid": os.getpid()}
    draft = state / ".endpoint"
    draft.write_text(json.dumps(endpoint))
    draft.rename(state / "endpoint.json")
    server.serve_forever(poll_interval=0.02)


if __name__ == "__main__":
    main()
