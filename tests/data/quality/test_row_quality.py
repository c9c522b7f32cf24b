"""Few rows are told with their number."""

from tunesmith.data.quality.distribution import few_rows


def test_few_rows_are_told_but_not_none():
    assert [note.count for note in few_rows(3, "p-tuning", enough=4)] == [3]
    assert few_rows(0, "lora", enough=4) == ()
