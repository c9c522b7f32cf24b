"""rouge, bleu and chrf agree with what the libraries that are cited for them say."""

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.config.checks import BleuSettings, ChrfSettings, RougeSettings
from tunesmith.evaluation.checks.check import Case
from tunesmith.evaluation.checks.similarity import MEASURES
from tunesmith.evaluation.checks.table import build_checks

PAIRS = [
    ("The quick brown fox jumps over the lazy dog", "The lazy dog was jumped over by the fox"),
    ("Alimentum is a pub in the city centre.", "In the city centre there is a pub, Alimentum!"),
    ("It costs $3.50, not 3,500", "it costs 3.50 dollars"),
    ("a a a b", "a b a b"),
    ("nothing shared", "quite other words"),
]
# rouge-score 0.1.2, RougeScorer(["rouge1", "rouge2", "rougeL"]), f-measures of PAIRS in order.
ROUGE_SCORE = [
    {"rouge1": 0.666666666667, "rouge2": 0.25, "rougeL": 0.333333333333},
    {"rouge1": 0.941176470588, "rouge2": 0.666666666667, "rougeL": 0.470588235294},
    {"rouge1": 0.666666666667, "rouge2": 0.6, "rougeL": 0.666666666667},
    {"rouge1": 0.75, "rouge2": 0.333333333333, "rougeL": 0.75},
    {"rouge1": 0.0, "rouge2": 0.0, "rougeL": 0.0},
]
WORDS = st.lists(st.sampled_from("abcde"), min_size=1, max_size=12)


def check(settings):
    (built,) = build_checks([settings])
    return built


@pytest.mark.parametrize("row", range(len(PAIRS)))
def test_rouge_of_ascii_text_is_rouge_scores(row):
    answer, reference = PAIRS[row]
    for measure, expected in ROUGE_SCORE[row].items():
        found = check(RougeSettings(measure=measure)).score(answer, reference)
        assert found == pytest.approx(expected, abs=1e-9), measure


def test_words_of_scripts_whose_vowels_are_marks_are_whole():
    rouge = check(RougeSettings(measure="rouge1"))
    assert rouge.score("की किताब", "का किताब") == pytest.approx(0.5)
    assert rouge.score("हिन्दी", "हिन्दी") == 1.0


def longest_common_subsequence(a, b):
    """The textbook's table."""
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            table[i + 1][j + 1] = (
                table[i][j] + 1 if x == y else max(table[i][j + 1], table[i + 1][j])
            )
    return table[-1][-1]


@given(WORDS, WORDS)
def test_rouge_is_what_its_definition_counts(a, b):
    def f1(shared, given_, wanted):
        return 2 * shared / (given_ + wanted) if shared else 0.0

    pairs_a, pairs_b = Counter(pairwise(a)), Counter(pairwise(b))
    assert MEASURES["rouge1"](a, b) == f1((Counter(a) & Counter(b)).total(), len(a), len(b))
    assert MEASURES["rouge2"](a, b) == f1((pairs_a & pairs_b).total(), len(a) - 1, len(b) - 1)
    assert MEASURES["rougeL"](a, b) == f1(longest_common_subsequence(a, b), len(a), len(b))


def test_rouge_counts_words_of_every_script():
    settings = RougeSettings(measure="rouge1")
    assert check(settings).score("오늘 날씨가 좋아요", "오늘 날씨가 나빠요") == pytest.approx(2 / 3)
    assert check(settings).score("서울에서", "서울로") == 0.0
    by_character = RougeSettings(measure="rouge1", by="characters")
    assert check(by_character).score("서울에서", "서울로") == pytest.approx(4 / 7)


def test_figures_of_rouge_have_each_measure():
    cases = [Case(*pair) for pair in PAIRS]
    figures = check(RougeSettings()).aggregate(cases)
    for measure in MEASURES:
        scores = [check(RougeSettings(measure=measure)).score(*pair) for pair in PAIRS]
        assert figures[measure] == pytest.approx(sum(scores) / len(scores))


def test_a_reference_too_short_for_its_measure_is_a_fault():
    assert "fewer than 2 words" in check(RougeSettings(measure="rouge2")).reference_fault("one")
    assert "fewer than 1 word" in check(RougeSettings()).reference_fault("?!")
    assert check(RougeSettings()).reference_fault("one") is None


def test_corpus_bleu_is_that_of_sacrebleus_readme():
    # https://github.com/mjpost/sacrebleu, "Using SacreBLEU from Python", its first reference.
    references = ["The dog bit the man.", "It was not unexpected.", "The man bit him first."]
    answers = [
        "The dog bit the man.",
        "It wasn't surprising.",
        "The man had just bitten him.",
    ]
    cases = [Case(a, r) for a, r in zip(answers, references, strict=True)]
    import sacrebleu

    figures = check(BleuSettings()).aggregate(cases)
    assert figures["corpus_bleu"] == sacrebleu.corpus_bleu(answers, [references]).score
    assert "tok:13a" in figures["signature"]
    assert "v:" in figures["signature"]
    figures = check(ChrfSettings(word_order=2)).aggregate(cases)
    expected = sacrebleu.corpus_chrf(answers, [references], word_order=2).score
    assert figures["corpus_chrf"] == expected


@pytest.mark.parametrize("settings", [BleuSettings(), ChrfSettings()], ids=lambda each: each.kind)
def test_a_row_is_scored_as_its_sentence_as_a_share(settings):
    import sacrebleu

    answer, reference = PAIRS[1]
    sentence = {"bleu": sacrebleu.sentence_bleu, "chrf": sacrebleu.sentence_chrf}[settings.kind]
    options = {"use_effective_order": True} if settings.kind == "bleu" else {}
    expected = sentence(answer, [reference], **options).score / 100
    assert 0 < expected < 1
    assert check(settings).score(answer, reference) == pytest.approx(expected)
    assert check(settings).score("unrelated zzz", "totally other") < 0.3
    assert check(settings).score("Yes.", "Yes.") == pytest.approx(1)  # shorter than a 4-gram
    assert "empty" in check(settings).reference_fault(" ")
