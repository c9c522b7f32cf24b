"""OpenTelemetry: a span for each request that a model answers, without a text of anyone.

Attributes are those of the semantic conventions for generative AI. All of it is configured by the
variables of OpenTelemetry; without one that names where spans are sent, there are none.
"""

import os
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tunesmith.core.errors import ModelError, TunesmithError, UsageError
from tunesmith.core.extras import require
from tunesmith.server.documents import Usage

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

    from tunesmith.server.protocol import Generation

EXTRA, SERVICE = "otel", "tunesmith"
OPERATIONS = {
    "/v1/chat/completions": "chat",
    "/v1/responses": "chat",
    "/v1/completions": "text_completion",
    "/v1/embeddings": "embeddings",
}
EXPORTERS = "OTEL_TRACES_EXPORTER"
ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
ASKED = ("temperature", "top_p", "top_k", "presence_penalty", "frequency_penalty", "seed", "stream")
SERVER_FAULT = 500


class RequestSpan:
    """What is known of one request; without a span to write to it does nothing."""

    def __init__(self, span: "Span | None" = None) -> None:
        self._span, self._start = span, time.monotonic()

    def begin(self, body: "Generation", *, limit: int | None, count: int) -> None:
        """A model is asked, which is known."""
        if self._span is None:
            return
        self.model(body.model)
        values = {name: getattr(body, name) for name in ASKED}
        values |= {"max_tokens": limit, "choice.count": count if count > 1 else None}
        self._set({f"request.{name}": value for name, value in values.items()})

    def model(self, name: str) -> None:
        """The model that answers."""
        if self._span is None:
            return
        operation = getattr(self._span, "attributes", {}).get("gen_ai.operation.name", "chat")
        self._span.update_name(f"{operation} {name}")
        self._set({"request.model": name, "response.model": name})

    def first_token(self) -> None:
        """The first token was made."""
        self._set({"response.time_to_first_chunk": time.monotonic() - self._start})

    def end(self, usage: Usage, reasons: Sequence[str]) -> None:
        """All is answered."""
        self.read(usage.prompt)
        cached = usage.reused or None
        self._set({"usage.output_tokens": usage.made, "usage.cache_read.input_tokens": cached})
        self._set({"response.finish_reasons": reasons})

    def read(self, tokens: int) -> None:
        """So many tokens were read."""
        self._set({"usage.input_tokens": tokens})

    def named(self, answer: str) -> None:
        """The id of the answer."""
        self._set({"response.id": answer})

    def fail(self, error: TunesmithError, status: int) -> None:
        """It ends with an error, whose message may hold what a user wrote."""
        if self._span is None:
            return
        self._span.set_attribute("error.type", error.code)
        if status >= SERVER_FAULT:
            from opentelemetry.trace import StatusCode

            self._span.set_status(StatusCode.ERROR)

    def _set(self, values: Mapping[str, Any]) -> None:
        if self._span is not None:
            known = {f"gen_ai.{name}": value for name, value in values.items() if value is not None}
            self._span.set_attributes(known)


def span_of(state: object) -> RequestSpan:
    """The span of a request, by its state."""
    found = getattr(state, "span", None)
    return found if isinstance(found, RequestSpan) else RequestSpan()


class Traces:
    """Makes the spans, and sends them."""

    def __init__(self, provider: "TracerProvider") -> None:
        self._provider = provider
        self.tracer: Tracer = provider.get_tracer(SERVICE)

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()


def open_traces() -> Traces | None:
    """As the environment has it; None where it names nothing that spans are sent to.

    Raises ModelError where the libraries are missing, UsageError for an exporter that is not known.
    """
    given = os.environ.get(EXPORTERS, "").strip()
    names = [name.strip() for name in given.split(",") if name.strip()]
    if not names and any(os.environ.get(name) for name in ENDPOINTS):
        names = ["otlp"]
    is_off = os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    if is_off or names in ([], ["none"]):
        return None
    for library in ("opentelemetry.sdk.trace", "opentelemetry.sdk.trace.export"):
        require(library, EXTRA, ModelError, what="Tracing (OTEL_*)")
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    named = Resource.create()
    if str(named.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        named = named.merge(Resource({SERVICE_NAME: SERVICE}))
    provider = TracerProvider(resource=named, shutdown_on_exit=False)
    for name in names:
        provider.add_span_processor(BatchSpanProcessor(_exporter(name)))
    return Traces(provider)


def _exporter(name: str) -> Any:
    """The exporter that the variables call so."""
    wanted = name
    if name == "otlp":
        protocol = next(filter(None, map(os.environ.get, PROTOCOLS)), "http/protobuf")
        wanted = "otlp_proto_grpc" if protocol == "grpc" else "otlp_proto_http"
    for found in entry_points(group="opentelemetry_traces_exporter", name=wanted):
        return found.load()()
    raise UsageError(
        f"{EXPORTERS} names the exporter {name!r}, and no package here has {wanted}.",
        remedy=f"Install it, such as with: pip install 'tunesmith[{EXTRA}]'",
    )


class Traced:
    """Gives each request that a model answers a span, as a part of its client's trace."""

    def __init__(self, app: ASGIApp, *, traces: Traces) -> None:
        self.app, self.tracer = app, traces.tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; its span ends with its answer."""
        operation = OPERATIONS.get(scope.get("path", ""))
        if scope["type"] != "http" or operation is None or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        from opentelemetry.propagate import extract
        from opentelemetry.trace import SpanKind

        headers = {n.decode("latin-1"): value.decode("latin-1") for n, value in scope["headers"]}
        known = {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": SERVICE,
            "http.request.method": "POST",
            "http.route": scope["path"],
        }
        if scope.get("server"):
            known |= {"server.address": scope["server"][0], "server.port": scope["server"][1]}
        span = self.tracer.start_span(
            operation, context=extract(headers), kind=SpanKind.SERVER, attributes=known
        )

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                span.set_attribute("http.response.status_code", message["status"])
            await send(message)

        scope.setdefault("state", {})["span"] = RequestSpan(span)
        try:
            await self.app(scope, receive, noted)
        finally:
            span.end()
