from tests.data.quality.rows import asked, found
from tunesmith.data.quality.distribution import MIN_ROWS, LongTail


def of_lengths(*lengths):
    return found(LongTail(), asked(*(("q", "a" * (n - 1)) for n in lengths)))


def test_a_row_far_beyond_the_others_is_told():
    assert of_lengths(*[100] * 40, 401) == [("long_tail", [40])]
    assert of_lengths(*[100] * 40, 399) == []


def test_rows_of_every_length_have_no_tail():
    assert of_lengths(*range(10, 1000, 10)) == []


def test_of_a_few_rows_nothing_is_said():
    assert of_lengths(*[10] * (MIN_ROWS - 2), 1000) == []
