"""A server of this machine that stands in for others: what both stand-ins need."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_):
        """Clients that hang up are what some tests are about."""


class LocalServer:
    """Listens on a free port while a ``with`` lasts; notes the headers and how many are at once."""

    def __init__(self, handler, path="/v1"):
        self.headers, self.path = [], path
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()
        self._server = _Quiet(("127.0.0.1", 0), handler)

    @property
    def url(self):
        return f"http://127.0.0.1:{self._server.server_address[1]}{self.path}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    @contextmanager
    def noted(self, headers):
        """While a request is answered."""
        with self.lock:
            self.headers.append({k.lower(): v for k, v in headers.items()})
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            yield
        finally:
            with self.lock:
                self.at_once -= 1


class Handler(BaseHTTPRequestHandler):
    """Reads a body, sends a text, and writes no log."""

    def body(self):
        return self.rfile.read(int(self.headers["Content-Length"]))

    def send(self, status, text, *, kind="application/json", headers=()):
        data = text.encode()
        self.send_response(status)
        for name, value in {"Content-Type": kind, **dict(headers)}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass
