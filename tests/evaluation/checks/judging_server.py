"""An OpenAI-compatible endpoint on this machine that replies as a test says."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class _Quiet(ThreadingHTTPServer):
    def handle_error(self, *_):
        """A client that did not wait for its answer is what some tests are about."""


class JudgingServer:
    """Listens on a free port; ``reply`` makes the text of a request's messages, or a status."""

    def __init__(self):
        self.requests = []
        self.headers = []
        self.reply = lambda messages: "GRADE: 5"
        self.listed = (404, {"error": {"message": "no such path"}})
        self.delay = 0.0
        self.at_once = self.most_at_once = 0
        self._lock = threading.Lock()
        self._server = _Quiet(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True

    @property
    def url(self):
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def _handler(outer):
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with outer._lock:
                    outer.requests.append(body)
                    outer.headers.append({k.lower(): v for k, v in self.headers.items()})
                    outer.at_once += 1
                    outer.most_at_once = max(outer.most_at_once, outer.at_once)
                time.sleep(outer.delay)
                answer = outer.reply(body)
                with outer._lock:
                    outer.at_once -= 1
                self._send(*(answer if isinstance(answer, tuple) else (200, _made(answer))))

            def do_GET(self):
                self._send(*outer.listed)

            def _send(self, status, made):
                data = json.dumps(made).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        return Handler


def _made(text):
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": "j",
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": text},
            }
        ],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
    }
