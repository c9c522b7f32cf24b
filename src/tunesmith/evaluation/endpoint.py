"""How is a model behind an OpenAI-compatible endpoint asked? Several at once, each reply kept."""

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tunesmith.core.errors import ConfigError
from tunesmith.core.extras import require
from tunesmith.core.files import replace_text
from tunesmith.core.progress import UNSEEN, PhaseProgress
from tunesmith.data.chat_text import TemplateDialect, given
from tunesmith.data.rows import Message
from tunesmith.models.cache import cache_root

Messages = tuple[Mapping[str, object], ...]

FAILURES_IN_A_ROW = 5
"""After so many failures the endpoint counts as gone, and is not asked any more."""
FOR_GOOD = (401, 403, 404)
"""Statuses that every other request would get too: of a key, a model's name, an address."""
OF_THE_REQUEST = (400, 413, 422)  # statuses that say nothing of other requests
REFUSED_KEY = (401, 403)
WHOLE = (None, "stop", "tool_calls", "function_call", "eos", "eos_token", "stop_sequence")
CUT = "length"
"""Why an answer ends that is all there, as servers write it, and why one that the limit cut."""
SHOWN = 300
SECONDS_TO_LOOK = 10.0
SECONDS_BETWEEN_LOOKS = 0.1
DIALECT = TemplateDialect(arguments_as_text=True, empty_content=True)  # as OpenAI has it
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 8.0  # seconds before a reply that was none is asked for again


class NoReply(Exception):
    """Why a request has no reply."""


class RequestRefused(NoReply):
    """Why this request has none; others may have one."""


@dataclass(frozen=True, slots=True)
class EndpointAddress:
    """Where a model is, and how it is asked; ``what`` needs it, as a message begins with it.

    ``url`` None is OpenAI's; ``key`` is the name of an environment variable, None where none is
    needed.
    """

    what: str
    model: str
    url: str | None
    key: str | None
    timeout_seconds: float
    tries: int
    parallel: int

    @property
    def secret(self) -> str | None:
        """The key itself, from the environment."""
        return os.environ.get(self.key) if self.key is not None else None


@dataclass(frozen=True, slots=True)
class EndpointRequest:
    """What is asked; ``draw`` distinguishes requests that are drawn at a temperature."""

    messages: Messages
    max_tokens: int
    tools: Messages = ()
    temperature: float = 0.0
    draw: int = 0


@dataclass(frozen=True, slots=True)
class EndpointReply:
    """What the model said, what it cost, and whether it was remembered from an earlier run.

    ``ended`` is `stop` or `length`; ``calls`` are names of tools with their arguments as JSON text.
    """

    text: str
    prompt_tokens: int
    completion_tokens: int
    ended: str = "stop"
    calls: tuple[tuple[str, str], ...] = ()
    remembered: bool = False


def as_messages(messages: Sequence[Message]) -> Messages:
    """A conversation as an endpoint takes it: without thinking, every call with an id.

    A result that names no call is that of the first call which has none yet.
    """
    found: list[Mapping[str, object]] = []
    waiting: list[str] = []
    for place, message in enumerate(messages):
        calls = tuple(
            replace(call, id=call.id or f"call_{place}_{number}")
            for number, call in enumerate(message.tool_calls)
        )
        waiting += [str(call.id) for call in calls]
        result = message.tool_call_id
        if message.role == "tool":
            result = result or next(iter(waiting), None)
            waiting = [each for each in waiting if each != result]
        said = replace(message, thinking=None, tool_calls=calls, tool_call_id=result)
        found += given([said], dialect=DIALECT).messages
    return tuple(found)


@dataclass(slots=True)
class Endpoint:
    """A model's address, and what it has replied so far."""

    server: EndpointAddress
    folder: Path
    _replies: dict[str, EndpointReply | NoReply] = field(default_factory=dict)
    _failures: int = 0
    _gone: str | None = None
    _is_plain: bool = False  # it takes no temperature, and another name of the limit

    def ask_all(
        self, requests: Sequence[EndpointRequest], *, phase: PhaseProgress = UNSEEN
    ) -> None:
        """Send what has no reply yet, several at once; failures are kept, not raised.

        A reply is written to the cache when it comes, so that nothing which was replied is asked
        again, whatever kills the process. ``phase`` counts requests and may cancel.
        """
        new = {self._name(each): each for each in requests}
        for name in new.keys() - self._replies.keys():
            if (kept := _read(self.folder / f"{name}.json")) is not None:
                self._replies[name] = kept
        missing = {name: each for name, each in new.items() if name not in self._replies}
        phase.at(len(new) - len(missing), len(new))
        if not missing:
            return
        from anyio.from_thread import start_blocking_portal

        # A loop in a thread of its own: a notebook has one already. An exception cancels the rest.
        with start_blocking_portal() as portal:
            waiting = portal.start_task_soon(self._ask_missing, missing)
            while not waiting.done():
                wait([waiting], timeout=SECONDS_BETWEEN_LOOKS)
                phase.at(len(new.keys() & self._replies.keys()))
            waiting.result()
        phase.at(len(new))

    def ask(self, request: EndpointRequest) -> EndpointReply:
        """The reply; raises NoReply with the reason why there is none."""
        self.ask_all([request])
        reply = self._replies[self._name(request)]
        if isinstance(reply, NoReply):
            raise NoReply(str(reply))
        return reply

    @property
    def gone(self) -> str | None:
        """Why it is not asked any more; None where it is."""
        return self._gone

    def obstacle(self) -> str | None:
        """Why it gives no reply now, found by asking for its models; None where it would answer.

        An endpoint that has no list of models answers as well.
        """
        import openai

        try:
            with self._client(openai.OpenAI, timeout=SECONDS_TO_LOOK, tries=1) as client:
                client.models.list()
        except openai.APIConnectionError as error:
            return f"{self._where} cannot be reached: {error.__cause__ or error}"
        except openai.APIStatusError as error:
            if error.status_code in REFUSED_KEY:
                return f"{self._where} refused ({error.status_code}): {self._bare(error)}"
        except (openai.OpenAIError, ValueError, AttributeError, TypeError, LookupError):
            pass  # it answers, if not with a list
        return None

    def forget(self, request: EndpointRequest) -> None:
        """Ask anew in a later run: the reply was of no use."""
        (self.folder / f"{self._name(request)}.json").unlink(missing_ok=True)

    def _name(self, request: EndpointRequest) -> str:
        """The hash of everything that a reply depends on."""
        asked: list[object] = [self.server.url, self.server.model]
        asked += [request.max_tokens, request.messages]
        if request.tools or request.temperature or request.draw:
            asked += [request.tools, request.temperature, request.draw]
        return hashlib.sha256(json.dumps(asked, ensure_ascii=True).encode()).hexdigest()

    async def _ask_missing(self, missing: Mapping[str, EndpointRequest]) -> None:
        """Ask each of them, so many at once as the endpoint takes."""
        import anyio
        import openai

        limiter = anyio.CapacityLimiter(self.server.parallel)
        kept = self.server

        async def ask(name: str, request: EndpointRequest) -> None:
            async with limiter:
                self._replies[name] = await self._reply(client, name, request)

        made = self._client(openai.AsyncOpenAI, timeout=kept.timeout_seconds, tries=kept.tries)
        async with made as client, anyio.create_task_group() as group:
            for name, request in missing.items():
                group.start_soon(ask, name, request)

    async def _reply(
        self, client: Any, name: str, request: EndpointRequest
    ) -> EndpointReply | NoReply:
        """From the endpoint, unless that is gone."""
        if self._gone is not None:
            return NoReply(f"{self._gone}; the endpoint is not asked any more")
        reply = await self._request(client, request)
        if isinstance(reply, EndpointReply):
            self._failures = 0
            self._remember(name, reply)
            return reply
        self._failures += not isinstance(reply, RequestRefused)
        if self._failures >= FAILURES_IN_A_ROW:
            self._gone = self._gone or str(reply)
        return reply

    def _remember(self, name: str, reply: EndpointReply) -> None:
        kept = [reply.text, reply.prompt_tokens, reply.completion_tokens, reply.ended, reply.calls]
        with contextlib.suppress(OSError):  # a full disk costs a request later, no answer now
            self.folder.mkdir(parents=True, exist_ok=True)
            replace_text(self.folder / f"{name}.json", json.dumps(kept))

    async def _request(self, client: Any, request: EndpointRequest) -> EndpointReply | NoReply:
        """A request until it has a reply; openai's client repeats one that failed on its way."""
        import anyio
        import openai

        seconds, tries = self.server.timeout_seconds, self.server.tries
        pause = FIRST_PAUSE
        while True:
            try:
                return await self._create(client, request)
            except openai.APITimeoutError:
                return NoReply(f"{self._where} did not answer in {seconds:g} s (tried {tries}x)")
            except openai.APIConnectionError as error:
                return NoReply(f"{self._where} cannot be reached: {error.__cause__ or error}")
            except openai.APIStatusError as error:
                why = f"{self._where} refused ({error.status_code}): {self._bare(error)}"
                if error.status_code in FOR_GOOD:
                    self._gone = why
                return (RequestRefused if error.status_code in OF_THE_REQUEST else NoReply)(why)
            except RequestRefused as error:
                return RequestRefused(f"{self._where} ended its answer early: {error}")
            except (openai.OpenAIError, ValueError, AttributeError, TypeError, LookupError) as odd:
                tries -= 1
                if tries < 1:
                    return NoReply(f"{self._where} sent what is not a reply: {self._bare(odd)}")
            await anyio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _create(self, client: Any, request: EndpointRequest) -> EndpointReply:
        """One completion; models that want another name of the limit, no temperature, get it so."""
        import openai

        asked: dict[str, object] = {"model": self.server.model, "messages": list(request.messages)}
        if request.tools:
            asked["tools"] = list(request.tools)
        usual = {"temperature": request.temperature, "max_tokens": request.max_tokens}
        if not self._is_plain:
            try:
                return _read_completion(await client.chat.completions.create(**asked, **usual))
            except openai.BadRequestError as error:
                if not any(name in str(error) for name in ("max_completion_tokens", "temperature")):
                    raise
                self._is_plain = True
        plain = {"max_completion_tokens": request.max_tokens}
        return _read_completion(await client.chat.completions.create(**asked, **plain))

    @property
    def _where(self) -> str:
        return f"the model {self.server.model} at {self.server.url or 'OpenAI'}"

    def _bare(self, error: Exception) -> str:
        """The message, cut, and without the key should the endpoint repeat it."""
        text, key = " ".join(str(error).split()), self.server.secret
        return (text.replace(key, "***") if key else text)[:SHOWN]

    def _client(self, kind: Any, *, timeout: float, tries: int) -> Any:
        """openai's client. It repeats what timed out, broke off, or was refused with 408, 409, 429
        or 5xx, after what `Retry-After` asks for (two minutes at most) or a growing pause.
        """
        key = self.server.secret or "none"
        url = self.server.url
        return kind(base_url=url, api_key=key, timeout=timeout, max_retries=tries - 1)


def open_endpoint(server: EndpointAddress, kind: str) -> Endpoint:
    """The model of that server; nothing is sent yet. Replies are kept by their ``kind``.

    Raises ConfigError where the library, or the key that the settings name, is missing.
    """
    require("openai", "judge", ConfigError, what=server.what)
    if server.key is not None and not server.secret:
        raise ConfigError(
            f"{server.what} needs the environment variable {server.key}, its key, which is not "
            "set.",
            remedy=f"Set it (export {server.key}=...), or name another one, or none where the "
            "endpoint needs none: `key: NAME` or `key: null` in a config, --teacher-key NAME or "
            "--teacher-key none for a teacher.",
        )
    return Endpoint(server, cache_root() / kind)


def _read_completion(made: Any) -> EndpointReply:
    """The first choice of a completion; what has none raises one of Python's own errors.

    Raises RequestRefused for an answer that was ended by anything else than itself or the limit.
    """
    choice, usage = made.choices[0], made.usage
    if choice.finish_reason not in (*WHOLE, CUT):
        raise RequestRefused(str(choice.finish_reason)[:SHOWN])
    calls = tuple(
        (str(each.function.name), str(each.function.arguments))
        for each in choice.message.tool_calls or ()
    )
    return EndpointReply(
        text=choice.message.content or "",
        prompt_tokens=usage.prompt_tokens if usage else 0,
        completion_tokens=usage.completion_tokens if usage else 0,
        ended=CUT if choice.finish_reason == CUT else "stop",
        calls=calls,
    )


def _read(path: Path) -> EndpointReply | None:
    """A remembered reply; None where there is none, or its file is damaged."""
    try:
        text, prompt_tokens, completion_tokens, *rest = json.loads(path.read_text(encoding="utf-8"))
        ended, calls = rest or ("stop", ())
        own = tuple((str(name), str(arguments)) for name, arguments in calls)
    except (OSError, ValueError, TypeError):
        return None
    return EndpointReply(
        str(text), int(prompt_tokens), int(completion_tokens), str(ended), own, remembered=True
    )
