"""A proxy before an OpenAI-compatible server that fails as networks and providers do."""

import http.client
import json
import random
import time
from collections import Counter
from urllib.parse import urlsplit

from tests import local_server
from tests.local_server import LocalServer

FAULTS = ("busy", "hung", "cut", "odd", "page")


class FaultyProxy(LocalServer):
    """Passes requests on, and answers a share of them with a fault; each is noted.

    ``shares`` are of 429s, of connections that hang or break off, of JSON without an answer and of
    pages that are no JSON. ``asked`` counts the requests by what was asked, ``answered`` those
    whose whole answer was sent back.
    """

    def __init__(self, upstream, *, seed=0, hang=2.5, retry_after="0.05", **shares):
        self._upstream, self._hang, self._retry_after = urlsplit(upstream), hang, retry_after
        super().__init__(self._handler(), path=self._upstream.path)
        self.asked, self.answered, self.faults = Counter(), Counter(), Counter()
        self._shares = [shares.get(name, 0.0) for name in FAULTS]
        self._rng = random.Random(seed)

    def _fault(self):
        kinds = [*FAULTS, None]
        return self._rng.choices(kinds, [*self._shares, 1 - sum(self._shares)])[0]

    def _handler(proxy):
        class Handler(local_server.Handler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.body()
                question = json.loads(body)["messages"][-1]["content"]
                with proxy.lock:
                    fault = proxy._fault()
                    proxy.asked[question] += 1
                    proxy.faults[fault] += 1
                with proxy.noted(self.headers):
                    getattr(self, f"_{fault or 'pass'}")(body, question)

            def _busy(self, *_):
                said = {"error": {"message": "Rate limit reached"}}
                self.send(429, json.dumps(said), headers={"Retry-After": proxy._retry_after})

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
                self.send(200, '{"id": "1", "choices": [{"mess')

            def _page(self, *_):
                self.send(200, "<html>One moment, please</html>", kind="text/html")

            def _pass(self, body, question):
                place = proxy._upstream
                upstream = http.client.HTTPConnection(place.hostname, place.port, timeout=300)
                kept = {k: v for k, v in self.headers.items() if k.lower() != "host"}
                upstream.request("POST", self.path, body, kept)
                reply = upstream.getresponse()
                data = reply.read()
                upstream.close()
                self.send(reply.status, data.decode())
                with proxy.lock:
                    proxy.answered[question] += reply.status == 200

            def do_GET(self):
                self.send(404, "{}")

        return Handler
