"""slots: which slots and values of the reference, or of the question, does the answer have?"""

from collections import Counter
from collections.abc import Sequence

from pydantic import JsonValue

from tunesmith.config.checks import SlotsSettings
from tunesmith.evaluate.checks.protocol import Case, Check, Figures
from tunesmith.evaluate.checks.slot_pairs import NoSlots, Pair, mentioned_pairs, read_pairs
from tunesmith.evaluate.checks.text import missing_reference

UNSAID = {"yes", "no", "true", "false"}
"""Values that a text never repeats: what mentions them must be given as phrases."""


def slots_check(settings: SlotsSettings) -> Check:
    """F1 of the pairs of slot and value in each row; over all rows precision, recall and F1.

    Against slots of the question, an answer in words has a pair that it mentions; pairs too many
    can only be told among those that have phrases.
    """

    def score(case: Case) -> float:
        wanted, given = _pairs(case, settings)
        return _f1(wanted, given) if wanted is not None else 0.0

    def fault(case: Case) -> str | None:
        if settings.source == "reference" and case.reference is None:
            return missing_reference(case)
        try:
            wanted = _wanted(case, settings)
        except NoSlots as error:
            return f"the {settings.source} cannot be compared by slots: {error}"
        unsaid = [f"{slot}[{value}]" for slot, value in wanted if _is_unsaid(slot, value, settings)]
        if unsaid:
            return (
                f"no text repeats the value of {', '.join(unsaid)}: give what mentions it "
                "under `phrases`, or name the slot under `leave_out`"
            )
        return None

    def figures(cases: Sequence[Case]) -> Figures:
        counted = [(w, g) for w, g in (_pairs(case, settings) for case in cases) if w is not None]
        return _figures(counted)

    return Check(
        name=settings.name or settings.kind,
        rule=score,
        fault=fault,
        aggregate=figures,
        takes_references=settings.source == "reference" or bool(settings.phrases),
    )


def _pairs(case: Case, settings: SlotsSettings) -> tuple[Counter[Pair] | None, Counter[Pair]]:
    """The wanted pairs, None where the row has none, and those of the answer."""
    try:
        wanted = _wanted(case, settings)
    except NoSlots:
        return None, Counter()
    if settings.source == "question":
        given = mentioned_pairs(
            case.answer, list(wanted), settings.phrases, ignore_case=settings.ignore_case
        )
    else:
        try:
            given = read_pairs(case.answer, field=settings.field, ignore_case=settings.ignore_case)
        except NoSlots:
            given = Counter()
    return wanted, _kept(given, settings)


def _wanted(case: Case, settings: SlotsSettings) -> Counter[Pair]:
    text = case.reference if settings.source == "reference" else case.question
    if text is None:
        raise NoSlots(f"there is no {settings.source}")
    found = read_pairs(text, field=settings.field, ignore_case=settings.ignore_case)
    kept = _kept(found, settings)
    return Counter(set(kept)) if settings.source == "question" else kept


def _kept(pairs: Counter[Pair], settings: SlotsSettings) -> Counter[Pair]:
    return Counter({pair: n for pair, n in pairs.items() if pair[0] not in settings.leave_out})


def _is_unsaid(slot: str, value: str, settings: SlotsSettings) -> bool:
    return settings.source == "question" and value in UNSAID and slot not in settings.phrases


def _f1(wanted: Counter[Pair], given: Counter[Pair]) -> float:
    total = wanted.total() + given.total()
    return 2 * (wanted & given).total() / total if total else 1.0


def _figures(counted: Sequence[tuple[Counter[Pair], Counter[Pair]]]) -> Figures:
    """Micro-averages: every pair of every row counts the same."""
    shared = sum(((wanted & given) for wanted, given in counted), Counter[Pair]())
    wanted = sum((wanted for wanted, _ in counted), Counter[Pair]())
    given = sum((given for _, given in counted), Counter[Pair]())
    names = sorted({slot for slot, _ in wanted})
    by_slot: dict[str, JsonValue] = {
        name: _prf(_of(shared, name), _of(wanted, name), _of(given, name)) for name in names
    }
    return {**_prf(shared.total(), wanted.total(), given.total()), "by_slot": by_slot}


def _of(pairs: Counter[Pair], slot: str) -> int:
    return sum(count for (name, _), count in pairs.items() if name == slot)


def _prf(shared: int, wanted: int, given: int) -> dict[str, JsonValue]:
    return {
        "precision": shared / given if given else None,
        "recall": shared / wanted if wanted else None,
        "f1": 2 * shared / (wanted + given) if wanted + given else None,
    }
