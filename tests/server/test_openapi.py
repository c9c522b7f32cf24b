"""Every answer is one that the OpenAPI document names: 2,000 requests made from it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import httpx2 as httpx
import pytest

CASES = 2000
PROGRAM = shutil.which("schemathesis") or shutil.which(
    "schemathesis", path=str(Path(sys.executable).parent)
)
LENGTHS = {"max_tokens", "max_completion_tokens", "max_output_tokens"}


def narrowed(document):
    """The document with names that are served, so that requests come to the models."""
    for name, schema in document["components"]["schemas"].items():
        known = schema.get("properties", {})
        if "model" in known and name != "EmbeddingRequest":
            known["model"] = {"enum": ["base", "mine", "soft"]}
        for limit in LENGTHS & set(known):
            known[limit] = {"type": "integer", "minimum": 1, "maximum": 3}
            schema["required"] = sorted({*schema["required"], limit})
    return document


def test_what_is_documented_of_an_answer_is_what_is_given(server):
    document = httpx.get(f"{server.url}/openapi.json").json()
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert "422" not in operation["responses"], path
            assert {"200", "400", "413", "429", "500"} <= set(operation["responses"])
    streamed = document["paths"]["/v1/chat/completions"]["post"]["responses"]["200"]["content"]
    assert set(streamed) == {"application/json", "text/event-stream"}


@pytest.mark.slow
@pytest.mark.skipif(PROGRAM is None, reason="needs schemathesis, in an environment of its own")
def test_no_request_made_from_the_document_has_another_answer(server, tmp_path):
    document = narrowed(httpx.get(f"{server.url}/openapi.json").json())
    (tmp_path / "openapi.json").write_text(json.dumps(document))
    operations = sum(map(len, document["paths"].values()))
    names = ("not_a_server_error", "status_code_conformance", "content_type_conformance")
    ran = subprocess.run(
        [
            *(PROGRAM, "run", str(tmp_path / "openapi.json"), "--url", server.url, "--no-color"),
            *("--checks", ",".join((*names, "response_schema_conformance"))),
            *("--phases", "examples,coverage,fuzzing", "--continue-on-failure", "--no-shrink"),
            *("--max-examples", str(CASES // operations + 1), "--seed", "24"),
            *("--generation-database", "none", "--report-ndjson-path", str(tmp_path / "cases")),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
