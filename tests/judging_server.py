"""An OpenAI-compatible endpoint on this machine that replies as a test says."""

import json
import time

from tests import local_server
from tests.local_server import LocalServer


class JudgingServer(LocalServer):
    """Listens on a free port; ``reply`` makes the text of a request's messages, or a status."""

    def __init__(self):
        super().__init__(self._handler())
        self.requests = []
        self.reply = lambda messages: "GRADE: 5"
        self.listed = (404, {"error": {"message": "no such path"}})
        self.delay = 0.0

    def _handler(outer):
        class Handler(local_server.Handler):
            def do_POST(self):
                body = json.loads(self.body())
                with outer.noted(self.headers):
                    with outer.lock:
                        outer.requests.append(body)
                    time.sleep(outer.delay)
                    answer = outer.reply(body)
                self._reply(*(answer if isinstance(answer, tuple) else (200, _made(answer))))

            def do_GET(self):
                self._reply(*outer.listed)

            def _reply(self, status, made):
                self.send(status, json.dumps(made))

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
