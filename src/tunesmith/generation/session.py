"""A conversation that goes on: what was read before stays in the key/value cache."""

from collections.abc import Iterator, Sequence

from tunesmith.core.errors import TunesmithError
from tunesmith.core.numbers import pluralize
from tunesmith.engine.forward import Engine
from tunesmith.generation.decoder import Decoder, common_length
from tunesmith.generation.sampling import Sampling, choose, generator_of


class ChatSession:
    """One adapter's side of a conversation over one base."""

    def __init__(
        self, engine: Engine, *, stop_ids: frozenset[int], adapter: str | None, capacity: int
    ) -> None:
        """``capacity``: positions for the whole conversation, at most the base's context."""
        self._decoder = Decoder(engine, slots=1, capacity=capacity)
        self._decoder.adapters[0] = adapter
        self._stop_ids = stop_ids
        self._capacity = capacity - engine.prefix_length(adapter)  # in tokens of the text
        self._kept: list[int] = []

    def stream(self, ids: Sequence[int], *, sampling: Sampling, seed: int) -> Iterator[int]:
        """Token ids of the answer to the whole prompt ``ids``, one by one, without the stop token.

        Only what differs from what was read before is computed. Raises TunesmithError where prompt
        and answer would be longer than the capacity.
        """
        if not ids:
            raise ValueError("an empty prompt")
        capacity = self._capacity
        if len(ids) >= capacity:
            raise TunesmithError(
                f"The conversation has {pluralize(len(ids), 'token')}; this model reads "
                f"{capacity:,}.",
                remedy="Start a new conversation (/reset).",
                code="context",
            )
        generator = generator_of(seed, 0)
        kept = common_length(self._kept, ids[:-1])
        self._kept = self._kept[:kept]
        scores = self._decoder.extend(0, ids[kept:], kept=kept)
        self._kept = list(ids)
        for _ in range(sampling.max_new_tokens):
            token = choose(scores[0], sampling, generator)
            if token in self._stop_ids:
                return
            yield token
            if len(self._kept) >= capacity:
                return
            scores = self._decoder.step({0: token})
            self._kept.append(token)
