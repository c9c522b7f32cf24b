"""Headings in Korean, Japanese and Chinese name columns; what could be two things is asked."""

import json
import unicodedata

import pytest

from tunesmith.data.read import scan

PAIRS = [
    ("질문", "답변"),
    ("고객 문의", "상담 답변"),
    ("문의", "응답"),
    ("지시", "출력"),
    ("입력", "출력"),
    ("사용자", "어시스턴트"),
    ("고객문의내용", "답변 (상담원)"),
    ("꽃집 손님 질문", "우리 가게 답변"),
    ("질문", "정답"),
    ("質問", "回答"),
    ("お問い合わせ内容", "返信"),
    ("指示", "出力"),
    ("问题", "答案"),
    ("指令", "输出"),
    ("用户", "助手"),
    ("客戶問題", "客服回覆"),
    ("prompt", "답변"),
    ("질문", "completion"),
]


def said(reading):
    assert reading.faults == ()
    return [[(m.role, m.content) for m in c.messages] for c in reading.conversations]


@pytest.mark.parametrize(("asked", "answered"), PAIRS)
def test_a_table_with_such_headings_needs_no_map(write, asked, answered):
    path = write(f"번호,{asked},{answered}", "1,안녕?,네.", "2,얼마?,천 원.", name="a.csv")
    reading = scan(path)
    assert said(reading)[0] == [("user", "안녕?"), ("assistant", "네.")]
    assert f"{asked} as prompt" in reading.reason or f"{answered} as completion" in reading.reason


def test_a_last_word_names_a_column_only_where_no_heading_does_so_alone(write):
    header = "지난 달 질문,질문,답변,담당 답변"
    path = write(header, "왜?,안녕?,네.,음", name="a.csv")
    assert said(scan(path))[0] == [("user", "안녕?"), ("assistant", "네.")]
    several = scan(write("첫 질문,둘째 질문,답변", "안녕?,왜?,네.", name="b.csv"))
    assert [fault.code for fault in several.faults] == ["ambiguous_columns"]


def test_syllables_that_macos_took_apart_are_the_same_heading(write):
    header = unicodedata.normalize("NFD", "질문,답변")
    assert said(scan(write(header, "안녕?,네.", name="a.csv")))


@pytest.mark.parametrize(
    ("header", "roles"),
    [
        ("시스템,질문,답변", ["system", "user", "assistant"]),
        ("系统,问题,答案", ["system", "user", "assistant"]),
        ("システム,質問,回答", ["system", "user", "assistant"]),
        ("지시,입력,출력", ["user", "assistant"]),
        ("指令,输入,输出", ["user", "assistant"]),
    ],
)
def test_a_system_prompt_and_an_input_have_their_columns(write, header, roles):
    (messages,) = said(scan(write(header, "가,나,다", name="a.csv")))
    assert [role for role, _ in messages] == roles
    assert all(text in json.dumps(messages, ensure_ascii=False) for text in "가나다")


def test_choices_and_a_text_are_known_too(write):
    row = {"문제": "수도는?", "보기": ["부산", "서울"], "정답": 1}
    assert said(scan(write(row)))[0][-1] == ("assistant", "서울")
    assert said(scan(write({"본문": "옛날에"}))) == [[("text", "옛날에")]]


@pytest.mark.parametrize(
    ("header", "ours", "names"),
    [
        ("질문,답변,상담 답변", "completion", ("답변", "상담 답변")),
        ("질문,답변(초안),답변(최종)", "completion", ("답변(초안)", "답변(최종)")),
        ("질문,답변,정답", "completion", ("답변", "정답")),
        ("고객,질문,답변", "prompt", ("고객", "질문")),
        ("지시,질문,출력", "prompt", ("질문", "지시")),
        ("question,질문,답변", "prompt", ("question", "질문")),
    ],
)
def test_two_columns_that_could_be_the_same_are_asked_about(write, header, ours, names):
    path = write(header, "가,나,다", name="a.csv")
    (fault,) = scan(path).faults
    assert fault.code == "ambiguous_columns"
    for name in names:
        assert f"`{name}`" in fault.message
        assert f"{ours}={name}" in fault.remedy
    chosen = scan(path, columns={ours: names[1]})
    assert chosen.faults == ()
    assert len(chosen.conversations) == 1


def test_what_is_mapped_stays_and_the_rest_is_recognized(write):
    path = write("질문,메모,답변", "가,나,다", name="a.csv")
    assert said(scan(path, columns={"completion": "메모"})) == [
        [("user", "가"), ("assistant", "나")]
    ]
    assert said(scan(path, columns={"response": "메모"}))[0][1] == ("assistant", "나")


@pytest.mark.parametrize("name", ["prompt-completion", "query-response", "alpaca"])
def test_a_format_that_is_asked_for_gets_its_own_columns(write, name):
    reading = scan(write("질문,답변", "가,나", name="a.csv"), format=name)
    assert reading.format == name
    assert said(reading) == [[("user", "가"), ("assistant", "나")]]


@pytest.mark.parametrize("header", ["질문,메모", "이름,나이", "답변,메모"])
def test_half_a_row_is_none(write, header):
    (fault,) = scan(write(header, "가,나", name="a.csv")).faults
    assert fault.code == "unknown_format"


def test_rows_that_have_our_names_are_read_by_those(write):
    row = {"prompt": "q", "completion": "a", "질문": "x", "답변": "y"}
    assert said(scan(write(row))) == [[("user", "q"), ("assistant", "a")]]


def test_such_a_header_is_not_taken_for_a_row(write):
    header = "질문,답변"
    assert said(scan(write(header, "가,나", header, name="a.csv")))


def test_faults_name_the_column_as_the_file_has_it(write):
    path = write("질문,답변", "가,", ",나", name="a.csv")
    messages = [fault.message for fault in scan(path).faults]
    assert messages == [
        'the column "답변" (completion) is empty.',
        'the column "질문" (prompt) is empty.',
    ]
    rows = [{"질문": "가", "답변": "나"}, {"질문": "다", "답변": ["x"]}, {"질문": "라"}]
    messages = [fault.message for fault in scan(write(*rows)).faults]
    assert messages[0].startswith('message 1 of "답변" (completion) must be an object')
    assert messages[-1] == '"답변", which is mapped to "completion", is missing (found: 질문).'


def test_a_synonym_is_named_as_the_file_has_it(write):
    (fault,) = scan(write({"question": ["q"], "answer": "a"})).faults
    assert fault.message == '"question" (query) must be text, this is a list.'
