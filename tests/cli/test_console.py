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
