"""A proxy before an OpenAI-compatible server that fails as networks and providers do."""

import http.client
import json
import random
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

FAULTS = ("busy", "hung", "cut", "odd", "page")


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_):
        """Clients that hang up are what this is for."""


class FaultyProxy:
    """Passes requests on, and answers a share of them with a fault; each is noted.

    ``shares`` are of 429s, of connections that hang or break off, of JSON without an answer and of
    pages that are no JSON. ``asked`` counts the requests by what was asked, ``answered`` those
    whose whole answer was sent back.
    """

    def __init__(self, upstream, *, seed=0, hang=2.5, retry_after="0.05", **shares):
        self.asked, self.answered, self.faults = Counter(), Counter(), Counter()
        self.headers = []
        self.at_once = self.most_at_once = 0
        self._upstream, self._hang, self._retry_after = urlsplit(upstream), hang, retry_after
        self._shares = [shares.get(name, 0.0) for name in FAULTS]
        self._rng, self._lock = random.Random(seed), threading.Lock()
        self._server = _Quiet(("127.0.0.1", 0), self._handler())

    @property
    def url(self):
        return f"http://127.0.0.1:{self._server.server_address[1]}{self._upstream.path}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def _fault(self):
        kinds = [*FAULTS, None]
        return self._rng.choices(kinds, [*self._shares, 1 - sum(self._shares)])[0]

    def _handler(proxy):  # noqa: C901
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                question = json.loads(body)["messages"][-1]["content"]
                with proxy._lock:
                    fault = proxy._fault()
                    proxy.asked[question] += 1
                    proxy.faults[fault] += 1
                    proxy.headers.append({k.lower(): v for k, v in self.headers.items()})
                    proxy.at_once += 1
                    proxy.most_at_once = max(proxy.most_at_once, proxy.at_once)
                try:
                    getattr(self, f"_{fault or 'pass'}")(body, question)
                finally:
                    with proxy._lock:
                        proxy.at_once -= 1

            def _busy(self, *_):
                said = {"error": {"message": "Rate limit reached"}}
                self._send(429, json.dumps(said), headers={"Retry-After": proxy._retry_after})

            def _hung(self, *_):
                time.sleep(proxy._hang)
                self.close_connection = True

            def _cut(self, *_):
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", "1000")
                self.end_headers()
                self.wfile.write(b'{"id": "1", "choices": [')
                self.wfile.flush()
                self.close_connection = True

            def _odd(self, *_):
                self._send(200, '{"id": "1", "choices": [{"mess')

            def _page(self, *_):
                self._send(200, "<html>One moment, please</html>", kind="text/html")

            def _pass(self, body, question):
                place = proxy._upstream
                upstream = http.client.HTTPConnection(place.hostname, place.port, timeout=300)
                kept = {k: v for k, v in self.headers.items() if k.lower() != "host"}
                upstream.request("POST", self.path, body, kept)
                reply = upstream.getresponse()
                data = reply.read()
                upstream.close()
                self._send(reply.status, data.decode())
                with proxy._lock:
                    proxy.answered[question] += reply.status == 200

            def do_GET(self):
                self._send(404, "{}")

            def _send(self, status, text, *, kind="application/json", headers=()):
                data = text.encode()
                self.send_response(status)
                for name, value in {"Content-Type": kind, **dict(headers)}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        return Handler
