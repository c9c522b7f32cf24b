"""Is a run better than an earlier one? Both answer the rows that the new one held out."""

from collections.abc import Mapping
from dataclasses import replace

from tunesmith.config import RunConfig
from tunesmith.core import files
from tunesmith.core.errors import RunError
from tunesmith.core.progress import Progress
from tunesmith.evaluation.comparison import PREVIOUS, TUNED, RowScores, summarize
from tunesmith.evaluation.findings import in_languages
from tunesmith.evaluation.verdict import decide
from tunesmith.evaluation.verdict_text import against_text
from tunesmith.runs.evaluate import evaluated, subject_of
from tunesmith.runs.evaluated import (
    AGAINST,
    KEY,
    AnswerRows,
    EvaluatedTarget,
    asked_as,
    require_earlier,
)
from tunesmith.runs.evaluation_files import update_summary
from tunesmith.runs.folder import RunFolder

Place = tuple[str, int]  # a row's file and line


def with_against(found: EvaluatedTarget, earlier: str, *, progress: Progress) -> EvaluatedTarget:
    """The evaluation with a part `against`, written where the evaluation lies."""
    if found.document is None or found.answers is None:
        return found
    part = against(earlier, found.config, found.answers, progress=progress)
    part[KEY] = found.against_sha256(earlier)
    document = {**found.document, AGAINST: part}
    if found.folder is not None:
        place = RunFolder(found.folder)
        files.write_json(place.evaluation, document)
        update_summary(document, place)
    return replace(found, document=document)


def against(
    earlier: str, config: RunConfig, answers: AnswerRows, *, progress: Progress
) -> dict[str, object]:
    """A verdict over the earlier run, on the rows that both were asked.

    ``config`` is the new run's, whose held-out rows, checks and seed decide; ``answers`` its own.
    The earlier run is asked with its own system prompt, over its own base. Raises RunError for what
    is no run with a result, or where the two share no row.
    """
    require_earlier(earlier)
    subject = subject_of(earlier, {}, None)
    asked = asked_as(config, subject.config)
    found = evaluated(replace(subject, config=asked), earlier, progress)
    if found is None:
        raise RunError(f"{earlier}: none of the held-out rows could be asked.")
    new, old = _by_row(answers), _by_row(found.answers)
    rows = [place for place in new if place in old]
    if not rows:
        raise RunError(
            f"{earlier}: it answered none of the rows that the new run was asked.",
            remedy="Evaluate both on one file: --data FILE.",
        )
    table: dict[str, dict[str, RowScores]] = {
        check: {
            PREVIOUS: [old[place].get(check) for place in rows],
            TUNED: [new[place].get(check) for place in rows],
        }
        for check in new[rows[0]]
    }
    verdict = decide(summarize(table, seed=config.train.seed))
    said = in_languages(lambda words: against_text(verdict, words))
    document = {key: verdict.to_json()[key] for key in ("answer", "reasons", "skill")}
    return {"run": earlier, "rows": len(rows), **document, **said}


def _by_row(answers: AnswerRows) -> dict[Place, Mapping[str, float | None]]:
    """What each row's tuned answer scored, by check."""
    return {
        (str(row["file"]), int(str(row["line"]))): row["scores"][TUNED]  # type: ignore[index]
        for row in answers.rows()
    }
