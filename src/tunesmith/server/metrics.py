"""What Prometheus is given: requests, times, tokens, rows and bytes; no text, no client's name."""

import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tunesmith.server.served import ServedModels

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """Counts of one server."""

    def __init__(self, served: ServedModels) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "tunesmith_requests",
            "Requests by path and status.",
            ["path", "status"],
            registry=self.registry,
        )
        self.first_token = Histogram(
            "tunesmith_first_token_seconds",
            "From a request to its first token.",
            buckets=SECONDS,
            registry=self.registry,
        )
        self.whole = Histogram(
            "tunesmith_request_seconds",
            "From a request to the end of its answer.",
            buckets=SECONDS,
            registry=self.registry,
        )
        self.registry.register(_OfEngine(served))

    def text(self) -> bytes:
        """All of them, in Prometheus' format."""
        return generate_latest(self.registry)


class Counting:
    """Counts the answers of an application by route and status."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and count what is sent first."""

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                # a path that a client made up is no label
                path = getattr(scope.get("route"), "path", "other")
                self.metrics.requests.labels(path, str(message["status"])).inc()
            await send(message)

        await self.app(scope, receive, counted if scope["type"] == "http" else send)


class Watch:
    """Times one request."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics, self._start, self._first = metrics, time.monotonic(), True

    def token(self) -> bool:
        """A token was made; whether it was the first."""
        is_first, self._first = self._first, False
        if is_first:
            self._metrics.first_token.observe(time.monotonic() - self._start)
        return is_first

    def end(self) -> None:
        """The answer is complete."""
        self._metrics.whole.observe(time.monotonic() - self._start)


class _OfEngine:
    """Reads the engine's own counts when it is asked."""

    def __init__(self, served: ServedModels) -> None:
        self._served = served

    def collect(self) -> Iterator[Metric]:
        scheduler = self._served.thread.scheduler
        counts, memory = scheduler.counts, scheduler.memory
        gauges = {
            "running_requests": ("Requests that are answered now.", len(scheduler.running)),
            "waiting_requests": ("Requests that wait.", scheduler.waiting),
            "cache_used_bytes": ("Bytes of keys and values.", memory.used),
            "cache_budget_bytes": ("Bytes that they may take.", memory.budget),
            "loaded_adapters": ("Adapters on the base.", len(self._served.pool.attached)),
        }
        totals = {
            "prompt_tokens": ("Tokens of prompts that were computed.", counts.read_tokens),
            "reused_tokens": ("Tokens of prompts that were kept.", counts.reused_tokens),
            "made_tokens": ("Tokens of answers.", counts.made_tokens),
            "steps": ("Decode steps.", counts.steps),
            "preempted": ("Rows that were put back for memory.", counts.preempted),
        }
        for name, (text, value) in gauges.items():
            yield GaugeMetricFamily(f"tunesmith_{name}", text, value)
        for name, (text, value) in totals.items():
            yield CounterMetricFamily(f"tunesmith_{name}", text, value)
