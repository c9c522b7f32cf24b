"""Rows as a run would train on them: which tokens are trained, as text and as an HTML page."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import accumulate, chain, groupby

from jinja2 import Environment, StrictUndefined

from tunesmith.config import DataSettings, RunConfig
from tunesmith.config.settings import EMPTY
from tunesmith.core.numbers import pluralize
from tunesmith.core.progress import SILENT, Progress
from tunesmith.data.faults import Fault, RowReport
from tunesmith.data.read import read_rows
from tunesmith.data.rows import Conversation, TokenRow
from tunesmith.data.tokenize import Renderer
from tunesmith.data.tokenizer import HALF, Tokenizer, decode
from tunesmith.runs.inputs import source_request
from tunesmith.runs.inspect_data import open_tokenizer
from tunesmith.runs.rows import rendering_of

WINDOW = 32
NOT_COMPARED = "what data.drop leaves out by comparing rows, or for their length, is shown too"
# Three bytes of a four-byte character may end it, each as a sign of its own; as many such signs
# of the text itself take up to four tokens each.
UNSETTLED, UNSETTLED_TOKENS = 3, 12


@dataclass(frozen=True, slots=True)
class Piece:
    """Text of one kind: trained or not, and after the cut (``is_cut``) or not."""

    text: str
    supervised: bool
    is_cut: bool


@dataclass(frozen=True, slots=True)
class ShownRow:
    """A row of T tokens as the model sees it: ``texts`` and ``supervised`` of each token.

    Rows of more than ``limit`` tokens are refused, cut or dropped by a run.
    """

    file: str
    line: int
    texts: tuple[str, ...]
    supervised: tuple[bool, ...]
    limit: int

    @property
    def tokens(self) -> int:
        """How many there are."""
        return len(self.texts)

    @property
    def supervised_tokens(self) -> int:
        """How many of them are trained."""
        return sum(self.supervised)

    @property
    def text(self) -> str:
        """The whole row, the chat template applied."""
        return "".join(self.texts)

    @property
    def token_ends(self) -> list[int]:
        """Where each token ends, in characters; all tokens of one character end after it."""
        return list(accumulate(map(len, self.texts)))

    @property
    def cut(self) -> int | None:
        """Where the row would be cut, in characters; None where it is short enough."""
        return sum(map(len, self.texts[: self.limit])) if self.tokens > self.limit else None

    @property
    def spans(self) -> list[tuple[int, int, bool]]:
        """[start, stop, supervised] in characters; together they are the whole text."""
        spans: list[tuple[int, int, bool]] = []
        stop = 0
        for supervised, run in groupby(self._tokens(), key=lambda piece: piece.supervised):
            start, stop = stop, stop + sum(len(piece.text) for piece in run)
            spans.append((start, stop, supervised))
        return spans

    def pieces(self, *, by_token: bool = False) -> Iterator[Piece]:
        """The text in runs of one kind, or token by token."""
        if by_token:
            yield from self._tokens()
            return
        for (supervised, is_cut), run in groupby(
            self._tokens(), key=lambda piece: (piece.supervised, piece.is_cut)
        ):
            yield Piece("".join(piece.text for piece in run), supervised, is_cut)

    def _tokens(self) -> Iterator[Piece]:
        """Each token that has text: of several of one character the last one."""
        each = zip(self.texts, self.supervised, strict=True)
        for i, (text, supervised) in enumerate(each):
            if text:
                yield Piece(text, supervised, i >= self.limit)


def shown(tokenizer: Tokenizer, row: TokenRow, *, limit: int) -> ShownRow:
    """A row with the text of each of its tokens."""
    texts = token_texts(tokenizer, row.ids.tolist())
    trained = tuple(bool(weight > 0) for weight in row.weights)
    return ShownRow(row.file, row.line, tuple(texts), trained, limit)


def token_texts(tokenizer: Tokenizer, ids: Sequence[int]) -> list[str]:
    """The text of each token; together they are the whole text.

    A text is what decoding adds to that of the tokens before it, since some tokenizers write the
    first token without its space. Of several tokens of one character the last one has it.
    """
    texts: list[str] = []
    start, before = 0, ""
    for i in range(len(ids)):
        so_far = decode(tokenizer, ids[start : i + 1])
        settled = so_far if i + 1 == len(ids) else so_far[: max(len(before), _settled(so_far))]
        added = settled.startswith(before)
        texts.append(settled[len(before) :] if added else decode(tokenizer, [ids[i]]))
        before = settled
        if i - start >= WINDOW:
            is_settled = settled == so_far
            start = i if is_settled else i - UNSETTLED_TOKENS
            before = decode(tokenizer, ids[start : i + 1])
            before = before if is_settled else before[: _settled(before)]
    return texts


def _settled(text: str) -> int:
    """Characters before the signs at the end that may be part of an unfinished character."""
    return max(len(text.rstrip(HALF)), len(text) - UNSETTLED)


@dataclass(frozen=True, slots=True)
class ShownData:
    """The first documents of a file, the faults of rows up to there, and what was noticed."""

    rows: tuple[ShownRow, ...]
    faults: tuple[Fault, ...]
    remarks: tuple[str, ...]


def show_data(config: RunConfig, *, max_rows: int, progress: Progress = SILENT) -> ShownData:
    """The first ``max_rows`` documents that can be rendered; nothing is cut, and only what is empty
    is left out.
    """
    settings, report = config.data, RowReport()
    sound = _sound(settings, report)
    first = next(sound, None)
    if first is None:
        return ShownData((), report.faults.listed, ())
    loaded = open_tokenizer(
        config.model,
        trust_remote_code=config.trust_remote_code,
        options=settings.template_options,
        progress=progress,
    )
    limit = min(loaded.context, settings.max_tokens or loaded.context)
    rendering = rendering_of(settings)
    renderer = Renderer(loaded.tokenizer, max_tokens=limit, rendering=rendering)
    rows: list[ShownRow] = []
    remarks = [] if set(settings.drop) <= {EMPTY} else [NOT_COMPARED]
    for conversation in chain([first], sound):
        for outcome in renderer.documents([conversation]):
            report.add_faults(outcome.faults)
            remarks += (remark.message for remark in outcome.notes)
            documents = (outcome.value or ())[: max_rows - len(rows)]
            rows += (shown(loaded.tokenizer, row, limit=limit) for row in documents)
        if len(rows) == max_rows:
            break
    return ShownData(tuple(rows), report.faults.listed, tuple(dict.fromkeys(remarks)))


def _sound(settings: DataSettings, report: RowReport) -> Iterator[Conversation]:
    """The sound rows of all files; faults of files and of other rows go into ``report``."""
    for source in settings.sources:
        _, of_file, outcomes = read_rows(source_request(settings, source))
        report.add_faults(of_file)
        for outcome in outcomes:
            report.add_faults(outcome.faults)
            if outcome.value is not None:
                yield outcome.value


PAGE = "pages/rows.html.jinja"
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # not allowed in HTML, whatever the escape
VISIBLE = "\N{SYMBOL FOR ESCAPE}"


def show_page(
    rows: Sequence[ShownRow],
    *,
    file: str,
    model: str,
    remarks: Sequence[str] = (),
    by_token: bool = False,
) -> str:
    """The page: what is trained is marked, a cut is shown where a run would make one."""
    source = files("tunesmith.runs").joinpath(PAGE).read_text(encoding="utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True
    )
    return environment.from_string(source).render(
        rows=[_row(row, by_token=by_token) for row in rows],
        file=file,
        model=model,
        remarks=remarks,
        by_token=by_token,
        is_cut=any(row.cut is not None for row in rows),
    )


def _row(row: ShownRow, *, by_token: bool) -> dict[str, object]:
    return {
        "file": row.file,
        "line": row.line,
        "tokens": f"{row.tokens:,}",
        "supervised": f"{row.supervised_tokens:,}",
        "cut_note": f"cut here: {pluralize(row.limit, 'token')} of {row.tokens:,}",
        "parts": list(_parts(row, by_token=by_token)),
    }


def _parts(row: ShownRow, *, by_token: bool) -> Iterator[dict[str, object]]:
    """Runs of pieces of one kind, token by token inside where that is asked for."""
    was_cut = False
    pieces = row.pieces(by_token=by_token)
    for (supervised, is_cut), run in groupby(pieces, key=lambda p: (p.supervised, p.is_cut)):
        yield {
            "supervised": supervised,
            "is_cut": is_cut,
            "cut_here": is_cut and not was_cut,
            "texts": [CONTROL.sub(VISIBLE, piece.text) for piece in run],
        }
        was_cut = is_cut
