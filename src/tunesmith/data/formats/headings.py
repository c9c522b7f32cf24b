"""Which of our columns does a heading of a spreadsheet in Korean, Japanese or Chinese name?"""

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence

from tunesmith.data.faults import Fault
from tunesmith.data.formats.layout import Format, Row, flag, renamed, resolved

# The parts of a row; a heading names one of them.
QUESTION, ANSWER, SYSTEM = "question", "answer", "system"
INSTRUCTION, INPUT, OUTPUT = "instruction", "input", "output"
TEXT, CHOICES, GOLD = "text", "choices", "gold"

_HEADINGS = {
    QUESTION: """
        질문, 질의, 물음, 문제, 문의, 질문 내용, 문의 내용, 질의 내용, 문의 사항, 고객 질문,
        고객 문의, 고객 문의 내용, 고객, 손님, 손님 질문, 사용자, 사용자 질문, 사용자 입력,
        유저, 프롬프트, 質問, 質問内容, 質問文, 問い, 問い合わせ, お問い合わせ,
        問い合わせ内容, お問い合わせ内容, お客様, 顧客, ユーザー, ユーザ, プロンプト, 問題,
        问题, 提问, 询问, 咨询, 客户, 客户问题, 客户咨询, 顾客, 用户, 用户问题, 用户输入,
        提示, 提示词, 提問, 詢問, 諮詢, 客戶, 客戶問題, 用戶, 用戶問題, 使用者, 提示詞
    """,
    ANSWER: """
        답변, 대답, 답, 응답, 회신, 답변 내용, 응답 내용, 상담 답변, 상담 내용, 상담원,
        상담원 답변, 상담사, 상담사 답변, 모범 답변, 모범 답안, 고객 응대, 직원 답변,
        사장님 답변, 어시스턴트, 도우미, 챗봇, 챗봇 답변, 모델 답변, 回答, 回答内容, 回答文,
        答え, 応答, 返答, 返信, アシスタント, オペレーター, 答案, 回复, 答复, 响应, 助手,
        客服, 客服回复, 客服回答, 模型回答, 回覆, 答覆, 回應, 客服回覆
    """,
    SYSTEM: """
        시스템, 시스템 프롬프트, 시스템 메시지, 시스템 메세지, システム, システムプロンプト,
        システムメッセージ, 系统, 系统提示, 系统提示词, 系统消息, 系統, 系統提示, 系統提示詞
    """,
    INSTRUCTION: """
        지시, 지시문, 지시 사항, 명령, 명령어, 명령문, 인스트럭션, 指示, 指示文, 命令,
        インストラクション, 指令, 任务指令
    """,
    INPUT: "입력, 입력문, 입력 내용, 인풋, 入力, 入力文, インプット, 输入, 输入内容, 輸入",
    OUTPUT: "출력, 출력문, 출력 내용, 아웃풋, 出力, 出力文, アウトプット, 输出, 输出内容, 輸出",
    TEXT: "텍스트, 본문, テキスト, 本文, 文本, 正文",
    CHOICES: "보기, 선택지, 選択肢, 选项, 選項",
    GOLD: "정답, 正解, 正答, 正确答案, 正確答案",
}
_BRACKETED = re.compile(r"\([^()]*\)|\[[^\[\]]*\]")


def _plain(name: str) -> str:
    """A heading without what makes no other: spaces, case, width, what is in brackets, a mark."""
    text = unicodedata.normalize("NFKC", name)  # macOS takes syllables apart
    bare = _BRACKETED.sub("", text)
    return "".join((bare if bare.strip() else text).split()).casefold().strip("*:.-_#")


_PARTS = {
    _plain(heading): part for part, names in _HEADINGS.items() for heading in names.split(",")
}
# Which of our columns a part is, format by format: the first that has all the parts is taken.
_COLUMNS: Mapping[str, Mapping[str, str]] = {
    "prompt-completion": {QUESTION: "prompt", ANSWER: "completion"},
    "query-response": {QUESTION: "query", ANSWER: "response", SYSTEM: "system"},
    "alpaca": {QUESTION: "instruction", INPUT: "input", ANSWER: "output", SYSTEM: "system"},
    "multiple-choice": {QUESTION: "query", CHOICES: "choices", GOLD: "gold"},
    "text": {TEXT: "text"},
}
# Parts of which a row has one: instruction and input together are the one exception.
_ASKED, _ANSWERED = (QUESTION, INSTRUCTION, INPUT), (ANSWER, OUTPUT, GOLD)
# Our own names beside a heading in another language, so that half a table need not be mapped.
_OWN = {
    **dict.fromkeys(("prompt", "query", "question"), QUESTION),
    **dict.fromkeys(("completion", "response", "answer"), ANSWER),
    **{name: name for name in (SYSTEM, INSTRUCTION, INPUT, OUTPUT, TEXT, CHOICES, GOLD)},
}


def part_named(heading: object) -> str | None:
    """The part of a row that a heading in one of these languages names; None for any other."""
    return _PARTS.get(_plain(heading)) if isinstance(heading, str) else None


def _part_by_last_word(heading: object) -> str | None:
    """Whether the last word names a question or an answer, as in `우리 가게 답변`."""
    words = heading.split() if isinstance(heading, str) else []
    part = part_named(words[-1]) if len(words) > 1 else None
    return part if part in (QUESTION, ANSWER) else None


def with_headings(
    rows: Sequence[Row], columns: Mapping[str, str], formats: Collection[Format]
) -> tuple[Mapping[str, str], tuple[Fault, ...]]:
    """The map, and in it the headings of ``rows`` in one of these languages, or what to ask.

    Rows that have one of the ``formats`` under the names that they have keep those.
    """
    under_ours = [renamed(row, columns) for row in rows]
    others = [format for format in formats if format.name != TEXT]
    if any(format.fits(row) for format in others for row in under_ours):
        return columns, ()
    found = dict.fromkeys(column for row in rows for column in row)
    more, problems = _mapped(found, columns, formats)
    return {**more, **columns}, problems


def _mapped(
    found: Iterable[str], columns: Mapping[str, str], formats: Collection[Format]
) -> tuple[dict[str, str], tuple[Fault, ...]]:
    """Our column -> heading, where headings name the parts of a row of one of the ``formats``.

    ``columns`` are mapped already, ours -> theirs, and stay so. Where two headings could be the
    same part, the question which is it comes back as a fault. Empty: no heading is in these
    languages, or those that are make no row.
    """
    parts = _parts_of(found, columns)
    names = [name for each in parts.values() for name in each]
    if not any(part_named(name) or _part_by_last_word(name) for name in names):
        return {}, ()
    for group in (_ASKED, _ANSWERED):
        names = [name for part in group for name in parts.get(part, ())]
        is_pair = group is _ASKED and {INSTRUCTION, INPUT} == parts.keys() & set(group)
        if len(names) > (2 if is_pair else 1):
            return {}, (_several(names, "prompt" if group is _ASKED else "completion"),)
    if twice := next((names for names in parts.values() if len(names) > 1), None):
        return {}, (_several(twice, "system"),)
    named = _as_rows({part: names[0] for part, names in parts.items()})
    for name, ours in _COLUMNS.items():
        format = next((each for each in formats if each.name == name), None)
        own = None if format is None else resolved(columns, format)
        if format is None or own is None or not named.keys() <= ours.keys():
            continue
        both = {ours[part]: heading for part, heading in named.items() if ours[part] not in own}
        if format.columns.keys() <= both.keys() | own.keys():
            return both, ()
    return {}, ()


def _parts_of(found: Iterable[str], columns: Mapping[str, str]) -> dict[str, list[str]]:
    """The headings of each part, without parts that a map names already."""
    given = {_OWN.get(ours, ours) for ours in columns}
    groups = [set(group) for group in (_ASKED, _ANSWERED) if given & set(group)]
    gone = given.union(*groups)
    free = [name for name in found if name not in columns.values()]
    parts: dict[str, list[str]] = {}
    for name in free:
        part = part_named(name) or _OWN.get(name)
        if part is not None and part not in gone:
            parts.setdefault(part, []).append(name)
    exact = {part for group in (_ASKED, _ANSWERED) if parts.keys() & set(group) for part in group}
    for name in free:  # where no heading is just that
        part = _part_by_last_word(name)
        if part is not None and part not in gone | exact and part_named(name) is None:
            parts.setdefault(part, []).append(name)
    if CHOICES in parts and GOLD in parts:
        parts = {part: names for part, names in parts.items() if part != ANSWER}
    if parts.keys() - {TEXT, SYSTEM}:
        parts.pop(TEXT, None)
    return parts


def _as_rows(parts: Mapping[str, str]) -> dict[str, str]:
    """The parts that formats know: an instruction, or an input alone, is what is asked."""
    named = dict(parts)
    for part in (INSTRUCTION, INPUT):
        if part in named and QUESTION not in named:
            named[QUESTION] = named.pop(part)
    for part in (OUTPUT, *([] if CHOICES in named else [GOLD])):
        if part in named:
            named[ANSWER] = named.pop(part)
    return named


def _several(names: Sequence[str], ours: str) -> Fault:
    """The question which of several columns is a part of the row."""
    listed = " and ".join(f"`{name}`" for name in names)
    what = f'the columns {listed} could each be "{ours}".'
    ways = " or ".join(flag(ours, name) for name in names)
    return Fault("ambiguous_columns", what, f"Say which: {ways}.")
