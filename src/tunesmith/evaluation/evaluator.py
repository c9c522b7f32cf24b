"""Did a run reach its purpose, and at what cost: all arms' answers, checks, probes, the verdict."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from tunesmith.adapters.loaded_base import LoadedBase
from tunesmith.config import RunConfig
from tunesmith.core.numbers import pluralize
from tunesmith.core.progress import Progress
from tunesmith.data.dataset import RunRows
from tunesmith.data.thinking import text_of
from tunesmith.engine.forward import Engine
from tunesmith.evaluation.answering import (
    AnswerCache,
    CachedAnswer,
    Respondent,
    answer_arms,
    answers_now,
    fingerprint,
    open_cache,
    unanswered,
)
from tunesmith.evaluation.answers import (
    Answers,
    questions_of,
    score,
    warn_long_references,
    with_answer_length,
)
from tunesmith.evaluation.arms import Arm, arm_of, base_arms, kept, read_instruction, without_room
from tunesmith.evaluation.assessment import AskedArms, Evaluation, assess
from tunesmith.evaluation.checks.check import early_notes, fit_checks, require_references
from tunesmith.evaluation.checks.table import build_checks
from tunesmith.evaluation.comparison import BASE, TUNED
from tunesmith.evaluation.costs import Timed, time_arms
from tunesmith.evaluation.duration import describe
from tunesmith.evaluation.forgetting import Forgetting
from tunesmith.evaluation.hosted import open_arms
from tunesmith.evaluation.measures import KnownBase, Measured, Measures, Tuned
from tunesmith.evaluation.overfitting_evidence import Answered
from tunesmith.evaluation.probe_run import ProbeRun, ProbeScores
from tunesmith.evaluation.remaining import Remaining
from tunesmith.generation.decoder import Prompt
from tunesmith.generation.sampling import Sampling


def require_evaluable(config: RunConfig) -> None:
    """Raise ConfigError for what could not be evaluated, before anything is loaded or written."""
    build_checks(config.evaluate.checks)
    read_instruction(config.evaluate)
    open_arms(config.evaluate)


class Evaluator:
    """A run's held-out questions, arms, checks and probes, and what the arms answered so far.

    Everything that a model computes comes first, all scoring after it.
    """

    def __init__(
        self,
        base: KnownBase,
        config: RunConfig,
        rows: RunRows,
        *,
        progress: Progress,
        virtual_tokens: int = 0,
        has_history: bool = False,
    ) -> None:
        """Raises DataError where a check cannot score a row, before anything is trained.

        Of training rows examples are drawn, and checks that learn are fitted on their answers.
        ``virtual_tokens`` are those of the adapter that is to be evaluated. ``has_history``: the
        run's training is known (`Tuned.history`).
        """
        config = with_answer_length(config, rows.held)
        self._known, self._loaded = base, base.loaded
        self._config, self._rows, self._progress = config, rows, progress
        self.checks = build_checks(config.evaluate.checks)
        wanted = rows.held_conversations if self.checks else []
        tokenizer, limit = self._loaded.base.tokenizer, config.evaluate.rows
        self.questions = questions_of(wanted, tokenizer, limit=limit)
        self._build_arms(virtual_tokens)
        self._hosted = open_arms(config.evaluate, self.questions, self.base.instruction)
        self._check_references()
        self._answered: dict[str, tuple[CachedAnswer, ...]] = {}
        self._timed: dict[str, Timed] = {}
        self.probing = self._probes()
        self._measures = Measures(
            known=base,
            config=config,
            rows=rows,
            questions=self.questions,
            arms=self.base,
            has_history=has_history,
            progress=progress,
        )

    def _build_arms(self, virtual_tokens: int) -> None:
        """The arms of the base over the questions that leave room for an answer."""
        settings, seed = self._config.evaluate, self._config.train.seed
        rows = self._rows.sample
        self.base = base_arms(self._loaded, self.questions, settings, rows=rows, seed=seed)
        if BASE in self.base.arms:
            full = without_room(self.base.arms[BASE], virtual_tokens)
            if full:
                few = f"{pluralize(len(full), 'held-out row')} not asked: no room for an answer"
                self._progress.notice("arms", few)
                stay = [i for i in range(len(self.questions)) if i not in set(full)]
                self.questions = tuple(self.questions[i] for i in stay)
                arms = {name: kept(arm, stay) for name, arm in self.base.arms.items() if stay}
                self.base = replace(self.base, arms=arms)
        for name, why in self.base.left_out.items():
            self._progress.notice("left_out", f"arm {name} left out: {why}")

    def _check_references(self) -> None:
        references = [question.reference for question in self.questions]
        asked = [question.text for question in self.questions]
        require_references(self.checks, references, asked)
        limit = self._config.evaluate.longest_answer
        cut = warn_long_references(self._loaded.base.tokenizer, references, limit)
        for note in (*early_notes(self.checks, references, asked), *([cut] if cut else [])):
            self._progress.notice("checks", note)
        for arm in self._hosted:
            if why := arm.endpoint.obstacle():
                text = f"arm {arm.name}: {why}; until it answers it has no score"
                self._progress.notice("hosted", text)

    def _probes(self) -> ProbeRun | None:
        """What measures forgetting; a verdict needs questions first."""
        settings = self._config.evaluate.forgetting
        if settings is None or not self.questions:
            return None
        seed, progress = self._config.train.seed, self._progress
        return ProbeRun(self._loaded, settings, seed=seed, progress=progress)

    def answer_before(self) -> None:
        """Let the base answer now, as training will change it, or before it is unloaded."""
        if not self.questions:
            return
        self._ask(self.base.arms, None)
        if self.probing:
            self.probing.score_base()
        self._measures.measure_base()

    def evaluate(self, tuned: Tuned | None) -> Evaluation | None:
        """All arms' answers under every check, with the verdict; None without checks or held-out
        rows. Without ``tuned`` only the base is asked.
        """
        if not self.questions:
            return None
        arms = dict(self.base.arms)
        if tuned is not None:
            arms[TUNED] = arm_of(tuned.loaded, TUNED, self.questions, adapter=tuned.adapter)
        for hosted in self._hosted:
            hosted.ask(self._progress)
        asked = {name: arm for name, arm in arms.items() if name not in self._answered}
        self._ask(asked, tuned, alone=tuned is None)
        if tuned is None:
            return self._assessed(arms, None, None, None)
        forgetting = tuned.forgetting or self.forgetting(tuned.loaded, tuned.who)
        return self._assessed(arms, tuned, forgetting, self._measures.measure(tuned))

    def _assessed(
        self,
        arms: Mapping[str, Arm],
        tuned: Tuned | None,
        forgetting: Forgetting | None,
        measured: Measured | None,
    ) -> Evaluation:
        """Scores, verdict, costs and measures; nothing here asks a model."""
        texts = self._texts(arms, tuned)
        checks = fit_checks(self.checks, own=self._rows.own_answers, base=texts[BASE])
        parts: dict[str, object] = {}
        if tuned is not None and measured is not None:
            own = Answered(texts[TUNED], [question.reference for question in self.questions])
            parts = self._measures.assess(measured, own, checks, tuned)
        tokenizer = self._loaded.base.tokenizer
        hosted = {arm.name: arm.answers(tokenizer) for arm in self._hosted}
        found = assess(
            AskedArms(self.questions, self.base, arms, self._answered, texts, self._timed, hosted),
            checks,
            self._config,
            forgetting=forgetting,
            training_seconds=tuned.training_seconds if tuned else None,
            parts=parts,
        )
        for name, note in found.answers.notes():
            self._progress.notice("checks", f"check `{name}`, {note}")
        caveats = [{"code": each.code, "text": each.text()} for each in self._rows.caveats]
        found.document["caveats"] = caveats
        losses = measured.losses if measured else None
        return replace(found, train_losses=losses.tuned.train if losses else None)

    def _texts(self, arms: Iterable[str], tuned: Tuned | None) -> dict[str, tuple[str, ...]]:
        """Each arm's answers as text, without what was thought before."""
        tokenizers = {TUNED: tuned.loaded.tokenizer(tuned.adapter)} if tuned else {}
        return {
            name: tuple(
                text_of(tokenizers.get(name, self._loaded.base.tokenizer), each.ids)
                for each in self._answered[name]
            )
            for name in arms
        }

    def first_score(self, loaded: LoadedBase, who: Respondent) -> float:
        """Mean of the first check as an adapter is now, of the rows that choose; NaN without."""
        found = self._first_check(loaded, who).summary.checks[0].arms.get(TUNED)
        return found.mean if found else math.nan

    def first_scores(self, loaded: LoadedBase, who: Respondent) -> tuple[float | None, ...]:
        """What ``first_score`` is the mean of: each row's own, None where it has none."""
        return self._first_check(loaded, who).scored[self.checks[0].name][TUNED].scores

    def _first_check(self, loaded: LoadedBase, who: Respondent) -> Answers:
        if BASE not in self._answered:  # what a check that learns compares with
            self._ask(self.base.arms, None)
        asked, wanted = self._rows.validation_conversations, self._config.evaluate
        questions = questions_of(asked, loaded.base.tokenizer, limit=wanted.rows) or self.questions
        arm = arm_of(loaded, TUNED, questions, adapter=who.adapter)
        phase = self._progress.phase(f"answering {pluralize(len(questions), 'held-out question')}")
        texts = answers_now(loaded, arm, who, limit=wanted.longest_answer, phase=phase)
        base = self._texts([BASE], None)[BASE]
        checks = fit_checks(self.checks[:1], own=self._rows.own_answers, base=base)
        return score(questions, {TUNED: texts}, checks, seed=self._config.train.seed)

    def forgetting(
        self, loaded: LoadedBase, who: Respondent, probes: Sequence[str] | None = None
    ) -> Forgetting | None:
        """What an adapter forgot, or the whole model as it is now, by some probes or all.

        None where it is not asked for.
        """
        if self.probing is None:
            return None
        self.probing.base = self._known_probes
        self.probing.loaded = loaded
        found = self.probing.forgetting(who.adapter, probes, fingerprint=who.fingerprint)
        if self.probing.base is not None:
            self._known.scores[self.probing.settings] = self.probing.base
        return found

    def _ask(self, arms: Mapping[str, Arm], tuned: Tuned | None, *, alone: bool = False) -> None:
        """Answers of arms that one engine answers together, from the cache or generated, and the
        seconds that single requests take; first it is reported how long all this will take, which
        for the base ``alone`` is all there is.
        """
        loaded = tuned.loaded if tuned else self._loaded
        participants = {name: fingerprint(self._loaded.base) for name in arms}
        if tuned is not None:
            participants[TUNED] = tuned.participant
        caches = self._caches(participants)
        self._estimate(arms, unanswered(arms, caches), tuned, alone=alone)
        asked = pluralize(len(self.questions), "held-out question")
        phase = f"answering {asked} ({', '.join(arms)})"
        self._answered |= answer_arms(
            loaded.engine,
            arms,
            caches,
            sampling=Sampling(max_new_tokens=self._config.evaluate.longest_answer),
            stop_ids=loaded.base.stop_ids,
            phase=self._progress.phase(phase),
        )
        self._time(loaded.engine, arms)

    def _time(self, engine: Engine, arms: Mapping[str, Arm]) -> None:
        """Seconds of single requests; those of the base are measured once for all its runs."""
        rows = self._config.evaluate.timed_rows
        if not rows:
            return
        known = {name: self._known.timed.get((arm, rows)) for name, arm in arms.items()}
        new = {name: arm for name, arm in arms.items() if known[name] is None}
        self._timed |= {name: each for name, each in known.items() if each}
        if new:
            phase = f"timing {pluralize(rows, 'row')} one by one ({', '.join(new)})"
            counted = self._progress.phase(phase)
            timed = time_arms(engine, new, self._answered, rows=rows, phase=counted)
            self._timed |= timed
            self._known.timed |= {(arms[name], rows): each for name, each in timed.items()}

    def seconds_to_come(self, adapter: str | None, *, scales: bool) -> tuple[float, float]:
        """How long evaluating what is in training will take, without and with a search for its
        scale, which comes only where it ``scales`` and forgets too much.
        """
        if not self.questions:
            return 0.0, 0.0
        loaded = self._loaded
        left = {name: arm for name, arm in self.base.arms.items() if name not in self._answered}
        caches = self._caches(dict.fromkeys(left, fingerprint(loaded.base)))
        tuned = arm_of(loaded, TUNED, self.questions, adapter=adapter)
        waiting = [*unanswered(left, caches), *((TUNED, prompt) for prompt in tuned.prompts)]
        scored = 1 if self._knows_base else 2
        remaining = self._remaining(loaded, adapter)
        work = remaining.work({**left, TUNED: tuned}, waiting, scored=scored, scales=scales)
        return remaining.seconds(work)

    @property
    def _known_probes(self) -> ProbeScores | None:
        """The base's scores, where they are known."""
        if self.probing is None:
            return None
        return self.probing.base or self._known.scores.get(self.probing.settings)

    @property
    def _knows_base(self) -> bool:
        is_kept = self.probing is not None and self.probing.knows_base
        return is_kept or self._known_probes is not None

    def _caches(self, participants: Mapping[str, str]) -> dict[str, AnswerCache]:
        """The answers of each arm; arms of one participant share theirs."""
        sampling = Sampling(max_new_tokens=self._config.evaluate.longest_answer)
        stop_ids = self._loaded.base.stop_ids
        opened = {each: open_cache(each, sampling, stop_ids) for each in {*participants.values()}}
        return {name: opened[participant] for name, participant in participants.items()}

    def _remaining(
        self, loaded: LoadedBase, adapter: str | None, *, alone: bool = False
    ) -> Remaining:
        return Remaining(
            loaded,
            adapter,
            self._config.evaluate,
            references=[question.reference for question in self.questions],
            base=self.base.arms,
            measures=None if alone else self._measures,
            probing=None if alone else self.probing,
        )

    def _estimate(
        self,
        arms: Mapping[str, Arm],
        waiting: Sequence[tuple[str, Prompt]],
        tuned: Tuned | None,
        *,
        alone: bool,
    ) -> None:
        """Report about how long answering, timing and scoring will take."""
        scored = (not self._knows_base) + (tuned is not None and tuned.forgetting is None)
        adapter = tuned.adapter if tuned else None
        loaded = tuned.loaded if tuned else self._loaded
        remaining = self._remaining(loaded, adapter, alone=alone)
        work = remaining.work(arms, waiting, scored=scored)
        counts = {name: len(arm.prompts) for name, arm in arms.items()}
        self._progress.notice("judging", describe(remaining.seconds(work), work, arms=counts))
