"""Is a run better than an earlier one? Both answer the rows that the new one held out."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace

from tunesmith.config import RunConfig
from tunesmith.core import files
from tunesmith.core.errors import RunError, TunesmithError
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
from tunesmith.runs.result import data_sha256

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
    run = require_earlier(earlier)
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
    notes = list(_trained_on(config, run))
    return {"run": earlier, "rows": len(rows), "notes": notes, **document, **said}


def _trained_on(config: RunConfig, earlier: RunFolder) -> Iterator[str]:
    """That the earlier run was trained on rows that are asked here, where the hashes show it."""
    before = earlier.read_config()
    known = _recorded(earlier)
    trained = [known.get(each.path, set()) for each in before.data.sources]
    held = config.data.held
    try:
        asked = {
            each.path: _hashes(data_sha256(each, config.data))
            for each in ([held] if held else config.data.sources)
        }
    except (OSError, TunesmithError):  # a file that is gone says nothing
        return
    shared = [path for path, hashes in asked.items() if hashes & set().union(*trained)]
    if not shared:
        return
    names = ", ".join(shared)
    if held is not None:
        yield (
            f"the earlier run was trained on the rows of {names} themselves, so its answers to "
            "them show what it memorized"
        )
    elif (before.data.eval, before.train.seed, trained) != (
        config.data.eval,
        config.train.seed,
        list(asked.values()),
    ):
        yield (
            f"the earlier run was trained on {names} too and held out other rows of it, so it has "
            "seen some of the rows that are asked here"
        )


def _recorded(run: RunFolder) -> dict[str, set[str]]:
    """The hashes of each of a run's data files, as they were when it began."""
    try:
        data = json.loads(run.environment.read_text(encoding="utf-8"))["data"]
    except (OSError, ValueError, KeyError):
        return {}
    return {path: _hashes(found) for path, found in data.items()}


def _hashes(found: str | Mapping[str, str]) -> set[str]:
    """Of a file its own, of a folder those of its files; none of a data set of the hub."""
    return set(filter(None, [found] if isinstance(found, str) else found.values()))


def _by_row(answers: AnswerRows) -> dict[Place, Mapping[str, float | None]]:
    """What each row's tuned answer scored, by check."""
    return {
        (str(row["file"]), int(str(row["line"]))): row["scores"][TUNED]  # type: ignore[index]
        for row in answers.rows()
    }
