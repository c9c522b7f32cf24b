"""All arms' answers in one stream: what is known comes from the cache, the rest is generated."""

from collections.abc import Callable, Mapping

from tunesmith.engine.forward import Engine
from tunesmith.generate.decoder import Prompt
from tunesmith.generate.loop import generate
from tunesmith.generate.sampling import Sampling
from tunesmith.workflows.answer_cache import AnswerCache, Said
from tunesmith.workflows.answers import text_of
from tunesmith.workflows.arms import Arm
from tunesmith.workflows.opening import Opened

GoOn = Callable[[int, int], bool]  # told what is done, of how much; False stops


def answer_arms(
    engine: Engine,
    arms: Mapping[str, Arm],
    caches: Mapping[str, AnswerCache],
    *,
    sampling: Sampling,
    stop_ids: frozenset[int],
    go_on: GoOn = lambda _done, _total: True,
) -> dict[str, tuple[Said, ...]] | None:
    """Every arm's answers in the order of its prompts; each goes to its arm's cache as it ends.

    ``go_on`` is told how many are there, known ones included; None where it says no before the
    last one.
    """
    waiting = unanswered(arms, caches)
    total = sum(len(arm.prompts) for arm in arms.values())
    known = total - len(waiting)
    go_on(known, total)
    made = generate(engine, [prompt for _, prompt in waiting], stop_ids=stop_ids, sampling=sampling)
    for count, one in enumerate(made, start=1):
        arm, prompt = waiting[one.row]
        caches[arm].keep(prompt, Said(one.ids, one.ended))
        if not go_on(known + count, total) and count < len(waiting):
            return None
    return {name: tuple(_known(caches[name], arm)) for name, arm in arms.items()}


def answers_now(
    opened: Opened, arm: Arm, adapter: str | None, *, most: int, go_on: GoOn
) -> tuple[str, ...] | None:
    """An arm's answers as text, of at most ``most`` tokens, with nothing kept; None at a stop."""
    made = generate(
        opened.engine,
        arm.prompts,
        stop_ids=opened.base.stop_ids,
        sampling=Sampling(max_new_tokens=most),
    )
    ids: dict[int, tuple[int, ...]] = {}
    for one in made:
        ids[one.row] = one.ids
        if not go_on(len(ids), len(arm.prompts)) and len(ids) < len(arm.prompts):
            return None
    tokenizer = opened.tokenizer(adapter)
    return tuple(text_of(tokenizer, ids[row]) for row in range(len(arm.prompts)))


def unanswered(
    arms: Mapping[str, Arm], caches: Mapping[str, AnswerCache]
) -> list[tuple[str, Prompt]]:
    """The prompts that no cache knows, each once for its arm's cache."""
    found: dict[tuple[str, tuple[int, ...]], tuple[str, Prompt]] = {}
    for name, arm in arms.items():
        for prompt in arm.prompts:
            if caches[name].said(prompt) is None:
                found.setdefault((str(caches[name].path), prompt.ids), (name, prompt))
    return list(found.values())


def _known(cache: AnswerCache, arm: Arm) -> list[Said]:
    answers = [cache.said(prompt) for prompt in arm.prompts]
    assert None not in answers
    return [said for said in answers if said is not None]
