"""A span for each request, sent as the variables of OpenTelemetry say, without anyone's text."""

import http.server
import threading

import httpx2 as httpx
import openai
import pytest

from tests.server.conftest import client_of
from tunesmith.core.errors import UsageError
from tunesmith.server import traces

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="needs the extra otel")

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

SECRET = "amber room"
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(scope="module")
def collector():
    """What was sent to a collector of OTLP over HTTP: bodies by path."""
    bodies = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                import gzip

                body = gzip.decompress(body)
            bodies.append((self.path, body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            """Nothing."""

    sink = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=sink.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{sink.server_port}", bodies
    sink.shutdown()


def value_of(value):
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [value_of(each) for each in value.array_value.values]
    return getattr(value, kind)


@pytest.fixture(scope="module")
def spans(collector, serving):
    """The spans of some requests, and the resource that they are of."""
    url, bodies = collector
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        patch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
        server = serving()
    client = client_of(server)
    asked = {"model": "base", "messages": [{"role": "user", "content": SECRET}], "max_tokens": 3}
    client.chat.completions.create(
        **asked, temperature=0.5, seed=7, n=2, stop=["zz"], extra_headers={"traceparent": PARENT}
    )
    answer = client.chat.completions.create(**asked, stream=True)
    names = [piece.id for piece in answer]
    client.completions.create(model="base", prompt=SECRET, max_tokens=2)
    response = client.responses.create(model="base", input=SECRET, max_output_tokens=2)
    for wrong in ({"model": SECRET}, {"temperature": 9}):
        with pytest.raises(openai.APIStatusError):
            client.chat.completions.create(**{**asked, **wrong})
    client.models.list()
    httpx.get(f"{server.url}/health")
    server.stop()
    (resource,) = (
        each
        for path, body in bodies
        for each in ExportTraceServiceRequest.FromString(body).resource_spans
        if path == "/v1/traces"
    )
    found = [span for scope in resource.scope_spans for span in scope.spans]
    text = b"".join(body for _, body in bodies)
    return resource.resource, found, (names[0], response.id), text


def attributes(item):
    return {each.key: value_of(each.value) for each in item.attributes}


def test_each_request_of_a_model_has_one_span(spans):
    resource, found, names, _ = spans
    assert attributes(resource)["service.name"] == "tunesmith"
    assert attributes(resource)["deployment.environment.name"] == "test"
    assert [span.name for span in found] == [
        *("chat base", "chat base", "text_completion base", "chat base", "chat", "chat")
    ]
    streamed, responded = attributes(found[1]), attributes(found[3])
    assert (streamed["gen_ai.response.id"], responded["gen_ai.response.id"]) == names
    assert 0 < streamed["gen_ai.response.time_to_first_chunk"] < 60
    assert streamed["gen_ai.request.stream"] is True


def test_a_span_has_the_attributes_of_the_conventions(spans):
    known = attributes(spans[1][0])
    assert known.pop("gen_ai.usage.input_tokens") > 0
    assert known.pop("gen_ai.usage.output_tokens") == 6
    assert known.pop("gen_ai.response.id").startswith("chatcmpl-")
    assert isinstance(known.pop("server.port"), int)
    known.pop("gen_ai.usage.cache_read.input_tokens", None)
    assert known == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "tunesmith",
        "gen_ai.request.model": "base",
        "gen_ai.response.model": "base",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.seed": 7,
        "gen_ai.request.max_tokens": 3,
        "gen_ai.request.choice.count": 2,
        "gen_ai.response.finish_reasons": ["length", "length"],
        "http.request.method": "POST",
        "http.route": "/v1/chat/completions",
        "http.response.status_code": 200,
        "server.address": "127.0.0.1",
    }


def test_a_span_is_a_part_of_its_clients_trace(spans):
    first = spans[1][0]
    assert first.trace_id.hex() == PARENT.split("-")[1]
    assert first.parent_span_id.hex() == PARENT.split("-")[2]


def test_a_refusal_is_in_its_span_and_no_text_is_anywhere(spans):
    _, found, _, text = spans
    known = [attributes(span) for span in found[-2:]]
    assert [each["http.response.status_code"] for each in known] == [404, 400]
    assert [each["error.type"] for each in known] == ["unknown", "invalid"]
    assert SECRET.encode() not in text


def test_there_are_none_unless_a_variable_asks_for_them(monkeypatch):
    for values in ({}, {"OTEL_TRACES_EXPORTER": "none"}, {"OTEL_SERVICE_NAME": "x"}):
        with monkeypatch.context() as patch:
            for name, value in values.items():
                patch.setenv(name, value)
            assert traces.open_traces() is None
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console")
    opened = traces.open_traces()
    assert opened is not None
    opened.close()
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert traces.open_traces() is None


def test_an_exporter_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "zipkin")
    with pytest.raises(UsageError, match="no package here has zipkin"):
        traces.open_traces()
