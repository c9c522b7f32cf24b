"""Did a run reach its purpose, and at what cost: all arms' answers, checks, probes, the verdict."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from tunesmith.adapters.loaded_base import LoadedBase
from tunesmith.config import RunConfig
from tunesmith.core.numbers import pluralize
from tunesmith.core.progress import Progress
from tunesmith.data.dataset import RunRows
from tunesmith.data.tokenizer import Tokenizer, encode
from tunesmith.engine.forward import Engine
from tunesmith.evaluation.answering import (
    CachedAnswer,
    answer_arms,
    answers_now,
    fingerprint,
    open_cache,
    unanswered,
)
from tunesmith.evaluation.answers import Answers, questions_of, score, text_of, warn_long_references
from tunesmith.evaluation.arms import BASE, Arm, arm_of, base_arms, kept, without_room
from tunesmith.evaluation.checks.check import Check, early_notes, fit_checks, require_references
from tunesmith.evaluation.checks.table import build_checks
from tunesmith.evaluation.comparison import TUNED
from tunesmith.evaluation.document import about_of, document, facts_of, request_of
from tunesmith.evaluation.duration import NONE, AnsweringWork, describe, speed_of
from tunesmith.evaluation.forgetting import Forgetting
from tunesmith.evaluation.forgetting_scores import ProbeRun
from tunesmith.evaluation.measures import Known, Measures, Result, Tuned
from tunesmith.evaluation.overfitting_evidence import Answered
from tunesmith.evaluation.requests import STEPS, BreakEven, Timed, break_even, time_arms
from tunesmith.evaluation.verdict import Verdict, decide
from tunesmith.generation.decoder import Prompt
from tunesmith.generation.sampling import Sampling
from tunesmith.runs.folder import RunFolder


class Evaluator:
    """A run's held-out questions, arms, checks and probes, and what the arms said so far."""

    def __init__(  # each is another part of a run
        self,
        loaded: LoadedBase,
        config: RunConfig,
        rows: RunRows,
        *,
        progress: Progress,
        virtual_tokens: int = 0,
        folder: RunFolder | None = None,
    ) -> None:
        """Raises DataError where a check cannot score a row, before anything is trained.

        Of training rows examples are drawn, and checks that learn are fitted on their answers.
        ``virtual_tokens`` are those of the adapter that is to be judged. ``known`` may be
        exchanged for that of other runs over this base. The run's ``folder`` has its losses.
        """
        self._loaded, self._config, self._progress = loaded, config, progress
        self._rows = rows.sample
        self.known = Known()
        self.checks = build_checks(config.evaluate.checks)
        wanted = rows.held_conversations if self.checks else []
        self.questions = questions_of(wanted, loaded.base.tokenizer, limit=config.evaluate.rows)
        self._build_arms(virtual_tokens)
        references = [question.reference for question in self.questions]
        asked = [question.text for question in self.questions]
        require_references(self.checks, references, asked)
        for note in early_notes(self.checks, references, asked):
            progress.notice("checks", note)
        if cut := warn_long_references(
            loaded.base.tokenizer, references, config.evaluate.max_new_tokens
        ):
            progress.notice("checks", cut)
        self.said: dict[str, tuple[CachedAnswer, ...]] = {}
        self.answers: Answers | None = None
        self.verdict: Verdict | None = None
        self.timed: dict[str, Timed] = {}
        self.cost: BreakEven | None = None
        self._probing = self._probes()
        self._measures = self._measuring(rows, folder)
        self._found: dict[str, object] = {}
        self._fitted: Sequence[Check] = ()

    def _build_arms(self, virtual_tokens: int) -> None:
        """The arms of the base over the questions that leave room for an answer."""
        settings, seed = self._config.evaluate, self._config.train.seed
        self.base = base_arms(self._loaded, self.questions, settings, rows=self._rows, seed=seed)
        if BASE in self.base.arms:
            full = without_room(self.base.arms[BASE], virtual_tokens)
            if full:
                said = f"{pluralize(len(full), 'held-out row')} not asked: no room for an answer"
                self._progress.notice("arms", said)
                stay = [i for i in range(len(self.questions)) if i not in set(full)]
                self.questions = tuple(self.questions[i] for i in stay)
                arms = {name: kept(arm, stay) for name, arm in self.base.arms.items() if stay}
                self.base = replace(self.base, arms=arms)
        for name, why in self.base.left_out.items():
            self._progress.notice("left_out", f"arm {name} left out: {why}")
        self.arms: dict[str, Arm] = dict(self.base.arms)

    def _probes(self) -> ProbeRun | None:
        """What tells of forgetting; a verdict needs questions first."""
        settings = self._config.evaluate.forgetting
        if settings is None or not self.questions:
            return None
        notice = partial(self._progress.notice, "forgetting")
        return ProbeRun(self._loaded, settings, seed=self._config.train.seed, notice=notice)

    def _measuring(self, rows: RunRows, folder: RunFolder | None) -> Measures | None:
        """What is measured beside the verdict; there is no such thing without questions."""
        if not self.questions:
            return None
        return Measures(
            loaded=self._loaded,
            config=self._config,
            rows=rows,
            questions=self.questions,
            base=self.base,
            folder=folder,
            progress=self._progress,
            known=lambda: self.known.measures,
        )

    def answer_before(self) -> None:
        """Let the base answer now, as training will change it, or as it is about to go."""
        if not self.questions:
            return
        self._ask(self.base.arms, None)
        if self._probing:
            phase = self._progress.phase("scoring probes of forgetting (base)")
            self._probing.score_base(phase=phase)
        if self._measures:
            self._measures.ask_base()

    def judge(self, tuned: Tuned | None) -> Answers | None:
        """All arms' answers under every check, with the verdict kept; None without checks or
        held-out rows. Without ``tuned`` only the base is asked.
        """
        if not self.questions:
            return None
        if tuned is not None:
            self.arms[TUNED] = arm_of(tuned.loaded, TUNED, self.questions, adapter=tuned.adapter)
        self._ask({name: arm for name, arm in self.arms.items() if name not in self.said}, tuned)
        forgetting = tuned.forgetting if tuned else None
        if tuned and forgetting is None:
            forgetting = self.forgetting(tuned.loaded, tuned.adapter)
        answers = self._scored(tuned)
        tokens = {name: arm.prompt_tokens + arm.virtual_tokens for name, arm in self.arms.items()}
        self.verdict = decide(answers.summary, forgetting=forgetting, prompt_tokens=tokens)
        self.cost = self._cost(self.verdict, tuned.training_seconds if tuned else None)
        if tuned is not None:
            self._measure(tuned, answers)
        self.answers = answers
        return answers

    def _measure(self, tuned: Tuned, answers: Answers) -> None:
        if self._measures is not None:
            references = [question.reference for question in self.questions]
            said = Answered(answers.texts[TUNED], references)
            result = Result(tuned.loaded, tuned.adapter, said, self._fitted)
            self._found = self._measures.of(result)

    def _scored(self, tuned: Tuned | None) -> Answers:
        """Every arm's answers under the checks, those that learn fitted."""
        texts = self._texts(tuned)
        checks = self._fitted = fit_checks(self.checks, own=self._own, base=texts[BASE])
        facts = facts_of(self.arms, self.said, self.timed, self._config.evaluate.prices)
        answers = score(self.questions, texts, checks, seed=self._config.train.seed, facts=facts)
        for name, arms in answers.scored.items():
            for arm, scored in arms.items():
                if scored.note:
                    self._progress.notice("checks", f"check `{name}`, {arm}: {scored.note}")
        return answers

    def to_json(self) -> dict[str, object] | None:
        """The evaluate document; None where nothing was judged."""
        if self.answers is None or self.verdict is None:
            return None
        about, found = about_of(self._config), self._found
        return document(
            self.answers, self.verdict, self.base, about=about, cost=self.cost, measures=found
        )

    def _cost(self, verdict: Verdict, training_seconds: float | None) -> BreakEven | None:
        """What a request saves against the arm that the verdict compares with."""
        if verdict.gain is None:
            return None
        against = verdict.gain.against
        mine, other = (
            request_of(self.arms[name], self.said[name], self.timed.get(name))
            for name in (TUNED, against)
        )
        return break_even(
            mine,
            other,
            against=against,
            prices=self._config.evaluate.prices,
            training_seconds=training_seconds,
        )

    def _texts(self, tuned: Tuned | None) -> dict[str, tuple[str, ...]]:
        """Each arm's answers as text, thinking aside."""
        tokenizers = {TUNED: tuned.loaded.tokenizer(tuned.adapter)} if tuned else {}
        return {
            name: tuple(
                text_of(tokenizers.get(name, self._loaded.base.tokenizer), said.ids)
                for said in self.said[name]
            )
            for name in self.arms
        }

    def first_score(self, loaded: LoadedBase, adapter: str | None) -> float:
        """Mean of the first check as an adapter is now; NaN without any score."""
        if BASE not in self.said:  # what a check that learns compares with
            self._ask(self.base.arms, None)
        arm = arm_of(loaded, TUNED, self.questions, adapter=adapter)
        phase = self._progress.phase(
            f"answering {pluralize(len(arm.prompts), 'held-out question')}"
        )
        limit = self._config.evaluate.max_new_tokens
        texts = answers_now(loaded, arm, adapter, limit=limit, phase=phase)
        checks = fit_checks(self.checks[:1], own=self._own, base=self._texts(None)[BASE])
        scored = score(self.questions, {TUNED: texts}, checks, seed=self._config.train.seed)
        found = scored.summary.checks[0].arms.get(TUNED)
        return found.mean if found else math.nan

    @property
    def _own(self) -> list[str]:
        """The data's own answers."""
        return [row.messages[row.supervised[-1]].content for row in self._rows if row.supervised]

    @property
    def probes(self) -> bool:
        """Whether forgetting is measured."""
        return self._probing is not None

    def forgetting(
        self, loaded: LoadedBase, adapter: str | None, probes: Sequence[str] | None = None
    ) -> Forgetting | None:
        """What an adapter forgot, or the whole model as it is now, by some probes or all.

        None where it is not asked for.
        """
        if self._probing is None:
            return None
        self._probing.base = self._probing.base or self.known.scores.get(self._probing.settings)
        self._probing.loaded = loaded
        phase = self._progress.phase("scoring probes of forgetting")
        found = self._probing.forgetting(adapter, probes, phase=phase)
        if self._probing.base is not None:
            self.known.scores[self._probing.settings] = self._probing.base
        return found

    def _ask(self, arms: Mapping[str, Arm], tuned: Tuned | None) -> None:
        """Answers of arms that one engine answers together, from the cache or generated, and the
        seconds that single requests take; first it is reported how long all this will take.
        """
        loaded = tuned.loaded if tuned else self._loaded
        sampling = Sampling(max_new_tokens=self._config.evaluate.max_new_tokens)
        participants = {name: fingerprint(self._loaded.base) for name in arms}
        if tuned is not None:
            participants[TUNED] = tuned.participant
        stop_ids = loaded.base.stop_ids
        caches = {
            name: open_cache(participant, sampling, stop_ids)
            for name, participant in participants.items()
        }
        self._foretell(arms, unanswered(arms, caches), tuned)
        phase = (
            f"answering {pluralize(len(self.questions), 'held-out question')} ({', '.join(arms)})"
        )
        self.said |= answer_arms(
            loaded.engine,
            arms,
            caches,
            sampling=sampling,
            stop_ids=stop_ids,
            phase=self._progress.phase(phase),
        )
        self._time(loaded.engine, arms)

    def _time(self, engine: Engine, arms: Mapping[str, Arm]) -> None:
        """Seconds of single requests; those of the base are measured once for all its runs."""
        rows = self._config.evaluate.timed_rows
        if not rows:
            return
        known = {name: self.known.timed.get((arm, rows)) for name, arm in arms.items()}
        new = {name: arm for name, arm in arms.items() if known[name] is None}
        self.timed |= {name: each for name, each in known.items() if each}
        if new:
            phase = f"timing {pluralize(rows, 'row')} one by one ({', '.join(new)})"
            timed = time_arms(engine, new, self.said, rows=rows, phase=self._progress.phase(phase))
            self.timed |= timed
            self.known.timed |= {(arms[name], rows): each for name, each in timed.items()}

    def _foretell(
        self, arms: Mapping[str, Arm], waiting: Sequence[tuple[str, Prompt]], tuned: Tuned | None
    ) -> None:
        """Say about how long answering, timing and scoring will take."""
        loaded, settings = tuned.loaded if tuned else self._loaded, self._config.evaluate
        prompts = [prompt for _, prompt in waiting]
        scored = 0
        if self._probing is not None:
            base = self._probing.base or self.known.scores.get(self._probing.settings)
            asked = (base is None) + (tuned is not None and tuned.forgetting is None)
            scored = asked * self._probing.tokens(tuned.adapter if tuned else None)
        tokenizer: Tokenizer = loaded.base.tokenizer
        references = encode(tokenizer, [question.reference for question in self.questions])
        singles = [arm.prompt_tokens + arm.virtual_tokens + STEPS for arm in arms.values()]
        work = AnsweringWork(
            prompts,
            expected=sum(map(len, references)) / len(references),
            longest=settings.max_new_tokens,
            scored=scored,
            measuring=self._measures.to_come(tuned=tuned is not None) if self._measures else NONE,
            timed=round(sum(singles) * (settings.timed_rows + 1) if settings.timed_rows else 0),
            again=60 * settings.consistency.minutes if settings.consistency else 0.0,
        )
        of_base = [prompt for prompt in prompts if prompt.adapter is None]
        speed = speed_of(loaded.engine, of_base or self.arms[BASE].prompts)
        counts = {name: len(arm.prompts) for name, arm in arms.items()}
        self._progress.notice("judging", describe(work.seconds(speed), work, arms=counts))
