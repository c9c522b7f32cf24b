"""Refusals in OpenAI's shape: which status and which type an error has."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi.responses import JSONResponse
from pydantic import BaseModel

from tunesmith.config.settings import reason
from tunesmith.core.errors import (
    AdapterError,
    DataError,
    MemoryRefusal,
    TunesmithError,
    UsageError,
)
from tunesmith.data.faults import RowNotes
from tunesmith.generation.request import Busy
from tunesmith.server.protocol import (
    ChatRequest,
    CompletionRequest,
    EmbeddingRequest,
    LoadRequest,
    UnloadRequest,
)
from tunesmith.server.response_protocol import ResponseRequest

BODIES: Mapping[str, type[BaseModel]] = {
    "/v1/chat/completions": ChatRequest,
    "/v1/completions": CompletionRequest,
    "/v1/responses": ResponseRequest,
    "/v1/embeddings": EmbeddingRequest,
    "/v1/load_lora_adapter": LoadRequest,
    "/v1/unload_lora_adapter": UnloadRequest,
}
TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "invalid_request_error",
    415: "invalid_request_error",
    429: "rate_limit_error",
    503: "service_unavailable_error",
    504: "timeout_error",
}
STATUS_OF_CODE = {
    "unknown": 404,
    "no_response": 404,
    "not_installed": 404,
    "not_allowed": 403,
    "in_use": 409,
    "busy": 429,
    "timeout": 504,
    "stopped": 503,
    "unauthorized": 401,
    "too_large": 413,
    "too_long": 400,
    "unsupported_media_type": 415,
}
CODES = {"too_long": "context_length_exceeded", "unknown": "model_not_found"}
RETRY_SECONDS = 5


class ErrorText(BaseModel):
    """What is wrong: ``param`` is the key of the request that is at fault, if one is."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorDocument(BaseModel):
    """The body of every refusal."""

    error: ErrorText


DOCUMENTED: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorDocument, "description": kind.replace("_", " ")}
    for status, kind in {**TYPES, 408: "timeout_error", 500: "server_error"}.items()
}
"""What any route may answer, for the OpenAPI document."""


class ApiError(TunesmithError):
    """A refusal by the server itself; ``param`` is the key of the request that is at fault."""

    code = "invalid"

    def __init__(self, message: str, *, code: str = "invalid", param: str | None = None) -> None:
        super().__init__(message, code=code)
        self.param = param


def require_no_fault(notes: RowNotes, param: str) -> None:
    """Raise ApiError for the first fault of what was read as a row of data."""
    if notes.problems:
        fault = notes.problems[0]
        raise ApiError(f"{fault.message} {fault.remedy}".strip(), code=fault.code, param=param)


def status_of(error: TunesmithError) -> int:
    """The HTTP status of a refusal."""
    if error.code in STATUS_OF_CODE:
        return STATUS_OF_CODE[error.code]
    if isinstance(error, MemoryRefusal):
        return 503
    is_askers = isinstance(error, ApiError | DataError | AdapterError | UsageError)
    return 400 if is_askers else 500


def document_of(error: TunesmithError) -> dict[str, Any]:
    """The body of a refusal."""
    status = status_of(error)
    return {
        "error": {
            "message": f"{error.message} {error.remedy}".strip(),
            "type": TYPES.get(status, "server_error"),
            "param": getattr(error, "param", None),
            "code": CODES.get(error.code, error.code),
        }
    }


def response_of(error: TunesmithError) -> JSONResponse:
    """The whole answer, with the time to try again where that helps."""
    status = status_of(error)
    headers = {}
    if status == 429:
        headers["Retry-After"] = str(error.seconds if isinstance(error, Busy) else RETRY_SECONDS)
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(document_of(error), status_code=status, headers=headers)


def error_of_body(path: str, faults: Sequence[Mapping[str, Any]]) -> ApiError:
    """Why a body was refused, in words; a key that is not known with the one that was meant.

    Values that were given are not repeated.
    """
    fault = faults[0]
    place = [str(part) for part in fault.get("loc", ()) if part != "body"]
    name, kind = (place[0] if place else None), str(fault["type"])
    if kind == "json_invalid":
        return ApiError("The body is no JSON.", code="no_json")
    if kind == "extra_forbidden":
        known = BODIES[path].model_fields if path in BODIES and len(place) == 1 else ()
        near = difflib.get_close_matches(place[-1], known, 1)
        meant = f" Did you mean `{near[0]}`?" if near else ""
        what = f"`{place[-1]}` is not supported here.{meant}"
        return ApiError(what, code="unknown_parameter", param=".".join(place))
    why = str(fault["ctx"]["error"]) if kind == "value_error" else reason(fault)
    return ApiError(f"`{name}` {why}." if name else f"{why}.", param=name)
