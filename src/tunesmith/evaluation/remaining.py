"""What is left of an evaluation, as work whose time can be estimated."""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass

from tunesmith.adapters.loaded_base import LoadedBase
from tunesmith.config import EvaluateSettings
from tunesmith.data.tokenizer import encode
from tunesmith.evaluation.arms import Arm
from tunesmith.evaluation.comparison import BASE, TUNED
from tunesmith.evaluation.costs import STEPS
from tunesmith.evaluation.duration import (
    TALK,
    AnswersToCome,
    EvaluationWork,
    expected_length,
    speed_of,
    to_answer,
)
from tunesmith.evaluation.forgetting_prompts import LONGEST_ANSWER
from tunesmith.evaluation.measures import Measures
from tunesmith.evaluation.probe_run import SEARCHED, ProbeRun
from tunesmith.generation.decoder import Prompt


@dataclass(frozen=True, slots=True)
class Remaining:
    """The evaluation of an adapter (None: of the base, or the model as it is now).

    ``references`` are the data's own answers, ``base`` the arms that the base answers. Without
    ``measures`` and ``probing`` nothing but answers is to come.
    """

    loaded: LoadedBase
    adapter: str | None
    settings: EvaluateSettings
    _: KW_ONLY
    references: Sequence[str]
    base: Mapping[str, Arm]
    measures: Measures | None
    probing: ProbeRun | None

    def seconds(self, work: EvaluationWork) -> tuple[float, float]:
        """From so many to so many, at the speed that this machine has now."""
        prompts = [prompt for arm in self.base.values() for prompt in arm.prompts]
        speed = speed_of(self.loaded.engine, prompts, adapter=self.adapter)
        return work.seconds(self.loaded.engine, speed)

    def work(
        self,
        arms: Mapping[str, Arm],
        waiting: Sequence[tuple[str, Prompt]],
        *,
        scored: int,
        scales: bool = False,
    ) -> EvaluationWork:
        """What is to be done for these arms, of whose answers some are ``waiting``.

        Probes are ``scored`` so many times; ``scales``: a search for a scale may come.
        """
        longest, rows = self.settings.longest_answer, self.settings.timed_rows
        references = encode(self.loaded.base.tokenizer, list(self.references))
        own = sum(map(len, references)) / len(references)
        lengths = {name: expected_length(name, own, longest) for name in (*arms, *self.base)}
        prompts = [prompt for _, prompt in waiting]
        requests = [arm.prompt_tokens + arm.virtual_tokens for arm in arms.values()]
        has_tuned, measures = TUNED in arms, self.measures
        return EvaluationWork(
            answers=[to_answer(prompts, [lengths[name] for name, _ in waiting], longest=longest)],
            facts=measures.facts_to_come(self.base[BASE], own, tuned=has_tuned) if measures else (),
            again=measures.again_to_come({**self.base, **arms}, lengths) if measures else (),
            scored=scored * self.probing.tokens(self.adapter) if self.probing else 0,
            probes=self._probes() * scored,
            row_tokens=measures.tokens_to_come(tuned=has_tuned) if measures else 0,
            singles=(
                (rows + 1) * (1 + STEPS) * len(requests) if rows else 0,
                (rows + 1) * sum(requests) if rows else 0.0,
            ),
            scaling=self._scaling(arms, lengths, scales=scales),
        )

    def _probes(self) -> list[AnswersToCome]:
        """The answers to the prompts of probes, of one arm."""
        prompts = self.probing.prompts(self.adapter) if self.probing else ()
        length = TALK * LONGEST_ANSWER
        return [to_answer(prompts, length, longest=LONGEST_ANSWER)] if prompts else []

    def _scaling(
        self, arms: Mapping[str, Arm], lengths: Mapping[str, float], *, scales: bool
    ) -> tuple[int, Sequence[AnswersToCome]]:
        """Tokens of probes of a second look and a search for a scale, and its answers at two."""
        wanted = self.settings.forgetting
        if self.probing is None or wanted is None or TUNED not in arms:
            return 0, ()
        more = self.probing.tokens_of_second_look(self.adapter)
        if not scales or wanted.scale == "none":
            return more, ()
        tuned, length = arms[TUNED], lengths[TUNED]
        again = to_answer(tuned.prompts, length, longest=self.settings.longest_answer)
        probes = self._probes() * (SEARCHED + 1)
        return more + self.probing.tokens_of_search(self.adapter), (again, again, *probes)
