"""What a server serves: a base, its adapters by name, and the thread that answers."""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from tunesmith.conversation.ask import AskSettings, sources_prompt
from tunesmith.conversation.documents import Documents, FoundPassages
from tunesmith.core.errors import AdapterError, DataError
from tunesmith.core.numbers import pluralize
from tunesmith.data.call_format import CallFormat, study_calls
from tunesmith.data.rows import Message, Tool
from tunesmith.data.tokenizer import begins_texts_with, encode
from tunesmith.generation.adapter_pool import AdapterPool
from tunesmith.generation.decoder import Prompt
from tunesmith.generation.engine_thread import EngineThread
from tunesmith.generation.json_constraint import JsonConstraint, JsonGrammars
from tunesmith.generation.shared_base import SharedBase
from tunesmith.models.names import portable_name
from tunesmith.retrieval.prompt import RagPrompt

T = TypeVar("T")
SOURCES = "+rag"  # behind a model's name


class ServedModels:
    """The models that a request can name: the base by its ``name``, and each adapter.

    With ``documents`` each answers from them too, by its name with ``SOURCES`` after it.
    """

    def __init__(
        self,
        shared: SharedBase,
        pool: AdapterPool,
        thread: EngineThread,
        documents: Documents | None = None,
        name: str | None = None,
    ) -> None:
        """``name`` is the base's, where it is called otherwise than what it was loaded by."""
        self.shared, self.pool, self.thread = shared, pool, thread
        self.documents = documents
        self.name = name or portable_name(shared.loaded.base.name)
        self._grammars = JsonGrammars(shared.loaded.base.stop_ids)
        # One at a time: a tokenizer is no safe thing to share.
        self._renderer = ThreadPoolExecutor(1, thread_name_prefix="render")

    @property
    def names(self) -> tuple[str, ...]:
        """The base's name, then those of the adapters."""
        plain = (self.name, *self.pool.names)
        return plain if self.documents is None else (*plain, *(name + SOURCES for name in plain))

    def asks_documents(self, model: str) -> bool:
        """Whether a model's name asks for answers from the documents."""
        return self.documents is not None and model.endswith(SOURCES)

    def parent(self, model: str) -> str | None:
        """What a model is made of; None for the base."""
        if self.asks_documents(model):
            return model.removesuffix(SOURCES)
        return None if model == self.name else self.name

    @property
    def context(self) -> int:
        """Tokens of the longest prompt with its answer."""
        return self.thread.scheduler.memory.longest

    async def between_steps(self, function: Callable[[], T]) -> T:
        """What a function returns that the engine's thread calls."""
        return await asyncio.wrap_future(self.thread.call(function))

    async def acquire(self, model: str) -> str | None:
        """The adapter of a model's name, attached until ``release``; None for the base.

        Raises AdapterError as ``AdapterPool.acquire`` does; no message names a place here.
        """
        if self.asks_documents(model):
            model = model.removesuffix(SOURCES)
        if model == self.name:
            return None
        try:
            await self.between_steps(lambda: self._attach(model))
        except AdapterError as error:
            if error.code == "unknown":
                known = ", ".join(self.names[:10])
                error = AdapterError(
                    f"There is no model {model[:100]!r} here.",
                    remedy=f"There are: {known}.",
                    code="unknown",
                )
            else:
                error.message = self._without_place(error.message, model)
                error.remedy = self._without_place(error.remedy, model)
            raise error from None
        return model

    def _attach(self, model: str) -> None:
        """Attach an adapter; its chat template may end turns by other tokens than the base's."""
        known = self.shared.loaded.base.adapters_stop_ids
        self.pool.acquire(model)
        if self.shared.loaded.base.adapters_stop_ids != known:
            stop_ids = self.shared.loaded.base.stop_ids
            self.thread.scheduler.stop_ids = stop_ids
            self._grammars = JsonGrammars(stop_ids)

    def _without_place(self, text: str, model: str) -> str:
        with contextlib.suppress(AdapterError):
            text = text.replace(str(self.pool.folder(model)), model)
        return text

    def release(self, adapter: str | None) -> None:
        """One request less needs an adapter; rows of it that were cancelled are freed before."""
        if adapter is None:
            return

        def let_go() -> None:
            self.thread.scheduler.drop()
            self.pool.release(adapter)

        self.thread.call(let_go)

    async def chat_prompt(
        self, messages: Sequence[Message], adapter: str | None, tools: Sequence[Tool]
    ) -> Prompt:
        """A conversation as the model reads it; raises DataError as ``SharedBase.prompt``."""
        return await self.rendered(lambda: self.shared.prompt(messages, adapter, tools=tools))

    async def text_prompts(
        self, prompts: Sequence[str | list[int]], adapter: str | None
    ) -> list[Prompt]:
        """Texts behind the token that texts begin with; token ids as they are.

        Raises DataError for what is no token.
        """
        tokenizer = self.shared.loaded.tokenizer(adapter)
        self.require_tokens((i for p in prompts if not isinstance(p, str) for i in p), "A prompt")

        def render() -> list[Prompt]:
            first = begins_texts_with(tokenizer)

            def ids_of(text: str) -> list[int]:
                (ids,) = encode(tokenizer, [text])
                return ids if first is None or ids[:1] == [first] else [first, *ids]

            return [Prompt(tuple(ids_of(p) if isinstance(p, str) else p), adapter) for p in prompts]

        return await self.rendered(render)

    def require_tokens(self, ids: Iterable[int], where: str) -> None:
        """Raise DataError where one of the ids is no token of the base."""
        vocabulary = self.shared.loaded.engine.embedding.num_embeddings
        if any(not 0 <= i < vocabulary for i in ids):
            raise DataError(
                f"{where} holds a number that is no token of the model.",
                remedy=f"Its tokens are 0 to {vocabulary - 1:,}.",
                code="no_token",
            )

    async def find(self, question: str) -> FoundPassages:
        """What the documents, as they are now, have for a question; raises RagError, UsageError."""
        documents = self.documents
        assert documents is not None

        def look() -> FoundPassages:
            documents.refresh()
            return documents.find(question)

        return await self.rendered(look)

    async def cited_prompt(
        self, found: FoundPassages, adapter: str | None, *, max_tokens: int
    ) -> tuple[Prompt, RagPrompt]:
        """A question with its sources as the model reads it; RagError where it does not fit."""
        tokenizer = self.shared.loaded.tokenizer(adapter)
        room = self.context - self.shared.loaded.engine.prefix_length(adapter) - max_tokens
        if room <= 0:
            raise DataError(
                f"max_tokens is {max_tokens:,}: the context of {pluralize(self.context, 'token')} "
                "has no room for sources beside such an answer.",
                remedy="Ask for fewer.",
                code="too_long",
            )
        limit = min(AskSettings().prompt_tokens, room)

        def make() -> tuple[Prompt, RagPrompt]:
            prompts = sources_prompt(tokenizer, max_tokens=limit)
            cited = prompts(found.question, found.passages)
            return self.shared.prompt(prompts.messages(cited), adapter), cited

        return await self.rendered(make)

    async def json_constraint(
        self, adapter: str | None, schema: Mapping[str, Any]
    ) -> JsonConstraint:
        """What holds an answer to a schema; raises DataError as ``JsonGrammars.constraint``."""
        tokenizer = self.shared.loaded.tokenizer(adapter)
        return await self.rendered(lambda: self._grammars.constraint(tokenizer, schema))

    async def call_format(self, adapter: str | None) -> CallFormat | None:
        """How a model's calls are written; None where none can be forced."""
        tokenizer = self.shared.loaded.tokenizer(adapter)

        def learn() -> CallFormat | None:
            return study_calls(tokenizer, self.shared.chat_format(tokenizer).tools)

        return await self.rendered(learn)

    async def call_constraint(
        self,
        adapter: str | None,
        form: CallFormat,
        schemas: Mapping[str, Mapping[str, Any]],
        *,
        most: int,
    ) -> JsonConstraint:
        """What holds an answer to calls; raises DataError as ``JsonGrammars.calls``."""
        tokenizer = self.shared.loaded.tokenizer(adapter)
        return await self.rendered(
            lambda: self._grammars.calls(tokenizer, form, schemas, most=most)
        )

    async def rendered(self, function: Callable[[], T]) -> T:
        """What a function returns that uses a tokenizer or an embedding model."""
        return await asyncio.get_running_loop().run_in_executor(self._renderer, function)

    def close(self) -> None:
        """End the thread; what is not answered ends with an error."""
        self.thread.close()
        self._renderer.shutdown(wait=False, cancel_futures=True)
