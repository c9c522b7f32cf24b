import io

from tunesmith.cli.console import harmless, messages, results


def test_text_from_outside_cannot_steer_the_terminal():
    assert harmless("a\x1b[31mb\x07c\x9bd\re") == "a␛[31mb␛c␛d␛e"


def test_lines_tabs_and_other_scripts_stay():
    assert harmless("가\tб\nñ 😉") == "가\tб\nñ 😉"


def test_brackets_and_colons_of_a_message_stay(capsys):
    results().print("see [bold] and :smile:", soft_wrap=True)
    messages().print("[red]x")
    captured = capsys.readouterr()
    assert captured.out == "see [bold] and :smile:\n"
    assert captured.err == "[red]x\n"


def test_a_pipe_gets_no_colours(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr("sys.stdout", stream)
    results().print("x", style="bold red")
    assert stream.getvalue() == "x\n"


def test_a_message_is_wrapped_in_a_terminal_and_one_line_elsewhere():
    from io import StringIO

    from rich.console import Console

    from tunesmith.cli.console import paragraph

    text = "rows.jsonl:3: " + "several words " * 12
    for is_terminal in (True, False):
        console = Console(file=StringIO(), width=60, force_terminal=is_terminal, color_system=None)
        paragraph(console, text)
        lines = console.file.getvalue().rstrip().splitlines()
        assert (len(lines) > 1) == is_terminal
        assert " ".join(line.strip() for line in lines) == text.strip()
