"""Messages are put into the user's language where they are shown; what has no words stays."""

import ast
import functools
import re
from itertools import pairwise

import pytest

from tests.source import modules
from tunesmith.core.errors import UsageError
from tunesmith.core.language import (
    _VALUE,
    LANGUAGES,
    MESSAGES,
    catalogue_of,
    current_language,
    language_of,
    localized,
    speaking,
    with_particles,
)
from tunesmith.core.phrases import languages
from tunesmith.evaluation.findings import words_in
from tunesmith.models.hub_bases import hub_bases


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({}, "en"),
        ({"LANG": "ko_KR.UTF-8"}, "ko"),
        ({"LANG": "ko"}, "ko"),
        ({"LANG": "ko_KR.UTF-8", "LC_ALL": "C.UTF-8"}, "en"),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "ko_KR.eucKR"}, "ko"),
        ({"LANG": "ko_KR.UTF-8", "LC_ALL": ""}, "ko"),
        ({"LANG": "kok_IN"}, "en"),
        ({"LANG": "fr_FR"}, "en"),
    ],
)
def test_the_locale_says_the_language(environment, language):
    assert language_of(environment) == language


def test_a_language_is_spoken_while_it_lasts():
    before = current_language()
    with speaking("ko"):
        assert current_language() == "ko"
        with speaking("en"):
            assert localized("No faults.") == "No faults."
        with speaking(None):
            assert current_language() == "ko"
    assert current_language() == before
    with pytest.raises(UsageError, match="fr"), speaking("fr"):
        pass


SAID = [
    ("1 row", "1행"),
    ("2,000 rows", "2,000행"),
    (
        "about 2.1 GB, 1 hour 20 minutes, 1 step of about 4,096 tokens, 4.9 M trainable parameters",
        "메모리 약 2.1 GB, 시간 약 1시간 20분, 약 4,096토큰씩 1스텝, 학습하는 수 4.9 M개",
    ),
    (
        "about 2.1 GB, 14 to 16 minutes (11 minutes of training, 3 to 5 minutes of evaluation), "
        "2 steps of about 4,096 tokens, 4.9 M trainable parameters, learning rate 0.0013",
        "메모리 약 2.1 GB, 시간 약 14~16분(학습 11분, 평가 3~5분), 약 4,096토큰씩 2스텝, "
        "학습하는 수 4.9 M개, 학습률 0.0013",
    ),
    (
        "9 steps, 100 tokens at 77 tokens/s; 75 seconds; at most 1.5 GB",
        "9스텝, 100토큰, 초당 77토큰; 75초; 메모리 최대 1.5 GB",
    ),
    (
        "9 steps, 100 tokens at 77 tokens/s; 75 seconds with the evaluation; at most 1.5 GB",
        "9스텝, 100토큰, 초당 77토큰; 평가까지 75초; 메모리 최대 1.5 GB",
    ),
    (
        "No such command 'show'. Did you mean `tunesmith adapters show`, `tunesmith runs show`?",
        "'show'라는 명령은 없습니다. "
        "`tunesmith adapters show`, `tunesmith runs show`를 뜻하셨나요?",
    ),
    (
        'a.csv:5: the column "답변" (completion) is empty. Write something, or remove the row.',
        'a.csv:5: 열 "답변" (completion)이 비어 있습니다. 내용을 적거나 그 행을 지우세요.',
    ),
    (
        "note: the same row appears earlier (1 row: line 22) [duplicates]",
        "알림: 앞에 같은 행이 이미 있습니다 (1행: 22번째 줄) [duplicates]",
    ),
    (
        "a.csv: does not exist. Paths are taken from the working directory.",
        "a.csv: 파일이 없습니다. 경로는 지금 있는 폴더를 기준으로 합니다.",
    ),
    (
        "2 faults: a run would refuse this data. 1 note: docs/data-quality.md explains them.",
        "오류가 2개 있어 이 데이터로는 학습을 시작하지 않습니다. "
        "알림 1개는 docs/data-quality.md에 설명되어 있습니다.",
    ),
    (  # of one message with two sentences, behind another
        "a.csv: this is not a header: 3 of 4 columns without a name. The first row must name the "
        "columns: write one, or remove what is above it. If it is a row, count the columns from 0: "
        "--data.map prompt=0.",
        "a.csv: 열 이름 행이 아닙니다: 열 4개 가운데 3개에 이름이 없습니다. "
        "첫 행에는 열 이름이 있어야 합니다. 열 이름을 적거나 그 위에 있는 것을 지우세요. "
        "자료라면 열을 0부터 세어 알려 주세요: "
        "--data.map prompt=0.",
    ),
    (
        "step 7/120 · 1:06:05 left · loss 0.500 · held-out 0.750 (step 5, the best by its answers) "
        "· 745 tokens/s · 2.0 GB · evaluation 2:00",
        "스텝 7/120 · 1:06:05 남음 · 손실 0.500 · 따로 둔 행의 손실 0.750 (스텝 5, 답이 가장 좋음) "
        "· 초당 745토큰 · 2.0 GB · 평가 2:00",
    ),
    ("48 minutes to 1 hour 8 minutes", "48분~1시간 8분"),
    ("1 hour 50 minutes to 2 hours", "1시간 50분~2시간"),
    (
        "step 30 has the lowest held-out loss (1.22), but 62 % of the answers to training rows "
        "pass the first check there, and 96 % at step 75 (1.52)",
        "따로 둔 행의 손실은 스텝 30에서 가장 낮지만(1.22) 그때는 학습 행에 대한 답의 62%만 "
        "첫 검사를 통과했고, 스텝 75(1.52)에서는 96%가 통과했습니다",
    ),
    (
        "the chat template inserts this system prompt where a row has none: 'I am, you are' "
        "(64 rows)",
        "시스템 프롬프트가 없는 행에는 채팅 템플릿이 이것을 넣습니다: 'I am, you are' (64행)",
    ),
    ("system prompt: Be brief. Be kind.", "시스템 프롬프트: Be brief. Be kind."),
    (
        "note: rows left out by --data.drop empty (2 rows: line 21, 22) [dropped]",
        "알림: --data.drop empty로 뺀 행 (2행: 21, 22번째 줄) [dropped]",
    ),
    (
        "error: a.csv: does not exist. Paths are taken from the working directory.",
        "오류: a.csv: 파일이 없습니다. 경로는 지금 있는 폴더를 기준으로 합니다.",
    ),
    (
        "note: the evaluation takes about 1 to 3 minutes: 8 answers (base, tuned); "
        "1,404 tokens of rows for their losses",
        "알림: 평가에 약 1~3분 걸립니다: 답변 8개 (원본, 튜닝); 손실을 볼 행 1,404토큰",
    ),
    (
        "잊었는지 보는 시험 56 of 2,060, 36:20 left ...",
        "잊었는지 보는 시험: 2,060 중 56, 36:20 남음 ...",
    ),
    (
        "note: nearly the same row appears earlier (case, punctuation, a word in short texts) "
        "(12 rows: line 12, 13) [near_duplicates]",
        "알림: 앞에 거의 같은 행이 이미 있습니다 (대소문자, 문장 부호, 짧은 글의 한 낱말 차이) "
        "(12행: 12, 13번째 줄) [near_duplicates]",
    ),
    (
        "note: a.jsonl: the tokens of its 30 rows are in the cache",
        "알림: a.jsonl: 30행의 토큰은 캐시에 있습니다",
    ),
    (
        'a.csv:1: "completion" is missing (found: prompt, name and 3 more). Add it.',
        'a.csv:1: 열 "completion"이 없습니다 (있는 열: prompt, name 외 3개). 그 열을 넣으세요.',
    ),
    (
        "a.jsonl: the rows have no known format (found: no columns).",
        "a.jsonl: 아는 형식의 행이 아닙니다 (있는 열: 열 없음).",
    ),
    ("Write it as text.\nRemove the row.", "텍스트로 적으세요.\n그 행을 지우세요."),
    ("  \nDone.\n", "  \n끝났습니다.\n"),
    ("What no catalogue has.", "What no catalogue has."),
    ("", ""),
]


@pytest.mark.parametrize(("english", "korean"), SAID)
def test_a_message_is_said_with_its_values(english, korean):
    assert localized(english, "ko") == korean
    assert localized(english, "en") == english


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("사과이(가)", "사과가"),
        ("귤이(가)", "귤이"),
        ("'귤'을(를) 사과을(를)", "'귤'을 사과를"),
        ("`LoRA`은(는) prompt (x)은(는) 3은(는)", "`LoRA`는 prompt (x)는 3은"),
        ("p-tuning은(는) `config`을(를)", "p-tuning은 `config`를"),
        ("서울(으)로 부산(으)로 제주(으)로 1(으)로", "서울로 부산으로 제주로 1로"),
        ("lora(이)라는 qwen(이)라는", "lora라는 qwen이라는"),
        ("95%을(를)", "95%를"),
        ("data.map을(를) data.drop(이)라는 step은(는)", "data.map을 data.drop이라는 step은"),
        ("help을(를) p은(는)", "help를 p는"),
        ("…을(를)", "…을(를)"),
    ],
)
def test_particles_follow_the_word_before_them(text, said):
    assert with_particles(text) == said


OTHERS = languages(MESSAGES)
VALUE = re.compile(r"\{\w+(?::\w+)?\}|\(s\)")
WORD = re.compile(r"[A-Za-z0-9.'-]+")
# Messages of the libraries that read the command line, JSON and YAML, and of the system.
OF_OTHERS = ("No such ", "Missing ", "Expecting ", "Unterminated ", "Invalid ", "Read-only ")
OF_OTHERS += (
    *("Polite endings ", "Thirty intents "),  # of methods/choice.yaml
    "'{value}' is ",
    "Option '{name}' ",
    "Got unexpected ",
    "mapping values ",
    "could not find ",
    "No space ",
)


def pairs(text):
    """Each two words that follow each other."""
    return set(pairwise(WORD.findall(text)))


@functools.cache
def pairs_in_the_source():
    """Those of all texts in the code, where a value is no word, and of the table of bases."""
    found = set().union(*(pairs(base.fit) for base in hub_bases()))
    for kind in ("checkpoint-share", "checkpoint-loss", "checkpoint-nats"):
        found |= set().union(*map(pairs, words_in().phrases["overfitting"][kind].values()))
    found |= set().union(*map(pairs, words_in().phrases["scale"].values()))
    for module in modules():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.JoinedStr):
                parts = (each.value for each in node.values if isinstance(each, ast.Constant))
                found |= set().union(*map(pairs, parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found |= pairs(node.value)
    return found


def test_there_are_messages_in_every_language():
    assert sorted((*OTHERS, "en")) == sorted(LANGUAGES)


@pytest.mark.parametrize("language", OTHERS)
def test_no_message_is_left_over_that_nothing_says_any_more(language):
    known = pairs_in_the_source()
    stale = []
    for english in catalogue_of(language):
        own = set().union(*map(pairs, VALUE.split(english)))
        if len(own) >= 3 and len(own & known) * 3 < len(own) and not english.startswith(OF_OTHERS):
            stale.append(english)
    assert not stale


@pytest.mark.parametrize("language", OTHERS)
def test_every_message_keeps_its_values(language):
    for english, said in catalogue_of(language).items():
        given = {m[1] for m in _VALUE.finditer(english)}
        assert {m[1] for m in _VALUE.finditer(said)} <= given, english
        assert said.strip() == said
