"""How likely does each arm find given tokens? Spans of text and rows, in packed streams."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from tunesmith.adapters.loaded_base import LoadedBase
from tunesmith.core.errors import ModelError
from tunesmith.core.progress import UNSEEN, PhaseProgress
from tunesmith.core.rank_help import divided
from tunesmith.data.tokenizer import Tokenizer, begins_texts_with, encode
from tunesmith.engine.forward import Engine
from tunesmith.engine.head import row_losses
from tunesmith.engine.pack import Row, pack
from tunesmith.evaluation.score_cache import NOTHING_KEPT, ScoreCache, name_of
from tunesmith.generation.shared_base import ChatRow, SharedBase
from tunesmith.training.job import Rows
from tunesmith.training.steps import micro_batches


@dataclass(frozen=True, slots=True)
class ScoredSpan:
    """Tokens ``ids``, of which those from ``scored`` on are scored, each given all before it.

    Spans of one ``group`` begin alike. ``cut``: tokens that the window left out in front.
    """

    ids: tuple[int, ...]
    scored: int
    group: int
    cut: int = 0


class Reader:
    """Texts to tokens, for a model that reads ``window`` tokens at most."""

    def __init__(self, tokenizer: Tokenizer, window: int) -> None:
        """Raises ModelError where no token can precede the first one of a text."""
        self.tokenizer, self.window = tokenizer, window
        first = tokenizer.bos_token_id
        first = tokenizer.eos_token_id if first is None else first
        if first is None:
            raise ModelError("The tokenizer has no token that begins or ends a text.")
        self._first = first
        self._begin = [] if begins_texts_with(tokenizer) is None else [first]

    def continuations(self, pairs: Sequence[tuple[str, Sequence[str]]]) -> list[ScoredSpan]:
        """Each continuation after its context, those of one context a group.

        White space that ends a context goes into its continuations, which are cut out of the
        tokens of both together; a context without text is the token that texts begin with. What
        is longer than the window loses its beginning.
        """
        moved = [_move_space(context, choices) for context, choices in pairs]
        contexts = encode(self.tokenizer, [context for context, _ in moved])
        wholes = encode(self.tokenizer, [c + choice for c, choices in moved for choice in choices])
        whole, spans = iter(wholes), []
        for group, (context, (_, choices)) in enumerate(zip(contexts, moved, strict=True)):
            before = [*self._begin, *context] or [self._first]
            for _ in choices:
                after = next(whole)[len(context) :]
                cut = max(0, len(before) + len(after) - self.window - 1)
                ids = (*before, *after)[cut:]
                spans.append(ScoredSpan(ids, max(1, len(before) - cut), group, cut))
        return spans

    def texts(self, texts: Sequence[str]) -> list[tuple[ScoredSpan, ...]]:
        """The spans of each text, which score every token once, each a group of its own.

        The first token is given the one that texts begin with; a text longer than the window is
        read in windows that overlap by a token, the last one a whole window too.
        """
        found: list[tuple[ScoredSpan, ...]] = []
        group = 0
        for ids in encode(self.tokenizer, list(texts)):
            spans = tuple(
                ScoredSpan(*window, group + i) for i, window in enumerate(self._windows(ids))
            )
            group += len(spans)
            found.append(spans)
        return found

    def _windows(self, ids: Sequence[int]) -> Iterator[tuple[tuple[int, ...], int]]:
        """Tokens of a window, and the first of them that is scored."""
        given = [self._first, *ids]
        for start in range(0, len(ids), self.window):
            stop = min(len(ids), start + self.window)
            first = max(0, stop - self.window)
            yield tuple(given[first : stop + 1]), start - first + 1


def _move_space(context: str, choices: Sequence[str]) -> tuple[str, list[str]]:
    """White space at the end of the context moved to the beginning of what follows."""
    bare = context.rstrip()
    return bare, [context[len(bare) :] + choice for choice in choices]


STREAM_TOKENS = 2048
STREAMS_AT_ONCE = 16  # that a rank which helps is given, between which what is complete is kept
SHARE_TOKENS = 4  # a shorter common beginning is not worth a span of its own

Logs = NDArray[np.float32]  # log-likelihoods of a span's scored tokens, in nats


@dataclass(frozen=True, slots=True)
class _SpanGroup:
    """Spans that begin alike, by their places, and the tokens that they take in a stream."""

    places: tuple[int, ...]
    begin: int
    tokens: int


def log_likelihoods(
    engine: Engine,
    spans: Sequence[ScoredSpan],
    adapters: Sequence[str | None],
    *,
    phase: PhaseProgress = UNSEEN,
    kept: ScoreCache = NOTHING_KEPT,
) -> tuple[list[Logs], ...]:
    """What each adapter (None: the base) finds of each span, in their order.

    All adapters score a span in the same stream, and what the spans of a group begin with is
    computed once for each; ``phase`` counts spans. ``kept`` has the streams that these adapters
    scored before. Raises ModelError where a score is not a number.
    """
    found: tuple[dict[int, Logs], ...] = tuple({} for _ in adapters)
    streams = list(_streams(spans, arms=len(adapters)))

    def computed(places: list[int]) -> Iterator[Logs]:
        units = (_alone(spans, streams[place]) for place in places)
        make = partial(_numbers, adapters=tuple(adapters))
        return divided(engine, make, units, each=STREAMS_AT_ONCE, check=phase.check)

    names = [_name_of(spans, adapters, groups) for groups in streams]
    done = 0
    for groups, scores in zip(streams, kept.all_scored(names, computed), strict=True):
        places = _places(adapters, groups)
        ends = np.cumsum([len(spans[p].ids) - spans[p].scored for _, p in places])
        parts = np.split(scores.astype(np.float32), ends[:-1])
        for (arm, place), logs in zip(places, parts, strict=True):
            found[arm][place] = logs
        done += sum(len(group.places) for group in groups)
        phase.at(done, len(spans))
    return tuple([logs[i] for i in range(len(spans))] for logs in found)


def _places(adapters: Sequence[str | None], groups: Sequence[_SpanGroup]) -> list[tuple[int, int]]:
    """The arms and places of a stream, in its order."""
    return [(arm, p) for arm in range(len(adapters)) for group in groups for p in group.places]


def _name_of(
    spans: Sequence[ScoredSpan], adapters: Sequence[str | None], groups: Sequence[_SpanGroup]
) -> str:
    """Of a stream: its spans and how many score them; who they are the cache knows."""
    parts = [(spans[p].ids, spans[p].scored) for group in groups for p in group.places]
    return name_of("spans", len(adapters), [group.begin for group in groups], parts)


_Stream = tuple[tuple[ScoredSpan, ...], tuple[_SpanGroup, ...]]


def _alone(spans: Sequence[ScoredSpan], groups: Sequence[_SpanGroup]) -> _Stream:
    """A stream's own spans, and its groups by their places among these."""
    own, moved = [spans[place] for group in groups for place in group.places], []
    first = 0
    for group in groups:
        after = first + len(group.places)
        moved.append(replace(group, places=tuple(range(first, after))))
        first = after
    return tuple(own), tuple(moved)


def _numbers(engine: Engine, stream: _Stream, *, adapters: Sequence[str | None]) -> Logs:
    """All log-likelihoods of a stream, arm by arm, and there place by place."""
    spans, groups = stream
    scored = {(arm, place): logs for arm, place, logs in _scored(engine, spans, adapters, groups)}
    found = np.concatenate([scored[key] for key in _places(adapters, groups)])
    if not np.isfinite(found).all():
        raise ModelError(
            "The model's scores are not numbers any more.", remedy="Train with a lower train.lr."
        )
    return found


def tokens_of(spans: Sequence[ScoredSpan]) -> int:
    """Tokens that one adapter computes to score the spans."""
    return sum(group.tokens for group in _groups(spans))


def _streams(spans: Sequence[ScoredSpan], *, arms: int) -> Iterator[list[_SpanGroup]]:
    """Groups that one stream takes, those with like lengths of their beginnings together."""
    stream: list[_SpanGroup] = []
    for group in sorted(_groups(spans), key=lambda group: group.begin):
        if stream and arms * sum(each.tokens for each in [*stream, group]) > STREAM_TOKENS:
            yield stream
            stream = []
        stream.append(group)
    if stream:
        yield stream


def _groups(spans: Sequence[ScoredSpan]) -> Iterator[_SpanGroup]:
    places: dict[int, list[int]] = {}
    for place, span in enumerate(spans):
        places.setdefault(span.group, []).append(place)
    for members in places.values():
        begin = min(spans[place].scored for place in members)
        own = sum(len(spans[place].ids) - begin for place in members)
        yield _SpanGroup(tuple(members), begin, begin + own)


@torch.no_grad()
def _scored(
    engine: Engine,
    spans: Sequence[ScoredSpan],
    adapters: Sequence[str | None],
    groups: Sequence[_SpanGroup],
) -> Iterator[tuple[int, int, Logs]]:
    """Arm, place and log-likelihoods of every span of a stream."""
    keys = _places(adapters, groups)
    rows = [
        Row(spans[p].ids, _weights(spans[p]), adapter=adapters[arm], key=key)
        for key, (arm, p) in enumerate(keys)
    ]
    begin = min(group.begin for group in groups)
    share = begin if begin >= SHARE_TOKENS else 0
    batch = pack(rows, share=share, prefixes=engine.prefixes).to(engine.device)
    losses = row_losses(engine.hidden_states(batch), batch, engine.head).cpu().numpy()
    order = [keys[each.key] for each in batch.documents if not each.shared]
    ends = np.cumsum([len(spans[p].ids) - spans[p].scored for _, p in order])
    for (arm, p), logs in zip(order, np.split(-losses, ends[:-1]), strict=True):
        yield arm, p, logs


def _weights(span: ScoredSpan) -> list[float]:
    return [0.0] * span.scored + [1.0] * (len(span.ids) - span.scored)


TOKENS = 1792
_Texts = Sequence[tuple[list[int], list[float]]]  # ids and weights of a stream's rows


def losses_of_rows(
    loaded: LoadedBase,
    rows: Rows,
    *,
    adapter: str | None,
    phase: PhaseProgress = UNSEEN,
    kept: ScoreCache = NOTHING_KEPT,
) -> list[float]:
    """Mean loss of each row in nats per supervised token, in the rows' order.

    ``kept`` has those that were computed before.
    """
    found: dict[int, float] = {}
    groups = list(micro_batches(tuple(range(len(rows))), rows.lengths, tokens=TOKENS))

    def texts(group: Sequence[int]) -> _Texts:
        return [(rows[i].ids.tolist(), rows[i].weights.tolist()) for i in group]

    def computed(places: list[int]) -> Iterator[list[float]]:
        units = (texts(groups[place]) for place in places)
        make = partial(_losses, adapter=adapter)
        return divided(loaded.engine, make, units, each=STREAMS_AT_ONCE)

    names = [name_of("rows", texts(group)) for group in groups]
    for group, scores in zip(groups, kept.all_scored(names, computed), strict=True):
        found.update(zip(group, scores.tolist(), strict=True))
        phase.advance(len(group))
    return [found[i] for i in range(len(rows))]


@torch.no_grad()
def _losses(engine: Engine, texts: _Texts, *, adapter: str | None) -> list[float]:
    """The mean loss of each text of one stream."""
    packable = [Row(*text, adapter=adapter, key=i) for i, text in enumerate(texts)]
    # Without shared beginnings the labels are in the order of the rows.
    batch = pack(packable, prefixes=engine.prefixes).to(engine.device)
    losses = row_losses(engine.hidden_states(batch), batch, engine.head).cpu().double()
    losses, weights = losses * batch.on_host.weights, batch.on_host.weights
    counts = [sum(1 for weight in row.weights[1:] if weight) for row in packable]
    parts = zip(torch.split(losses, counts), torch.split(weights, counts), strict=True)
    return [float(sums.sum() / own.sum()) for sums, own in parts]


def score_answers(
    shared: SharedBase,
    rows: Sequence[ChatRow],
    answers: Sequence[str],
    *,
    adapters: Sequence[str | None],
) -> list[float]:
    """The log-likelihood of each answer after its row, in nats, over all tokens of its text.

    The token that ends the turn does not count. ``adapters`` names one for each row (None: the
    base). Raises as ``SharedBase.generate`` does.
    """
    prompts = shared.prompts(rows, adapters)
    found = [0.0] * len(rows)
    for name in dict.fromkeys(adapters):
        mine = [i for i, adapter in enumerate(adapters) if adapter == name]
        texts = encode(shared.loaded.tokenizer(name), [answers[i] for i in mine])
        spans = [
            ScoredSpan((*prompts[i].ids, *ids), len(prompts[i].ids), group)
            for group, (i, ids) in enumerate(zip(mine, texts, strict=True))
        ]
        logs = log_likelihoods(shared.loaded.engine, spans, [name])
        assert logs is not None
        for i, each in zip(mine, logs[0], strict=True):
            found[i] = float(each.sum())
    return found
