"""Few rows are told with their number."""

from tunesmith.data.quality.distribution import told_of_few


def test_few_rows_are_told_but_not_none():
    assert [note.count for note in told_of_few(3, "p-tuning", enough=4)] == [3]
    assert told_of_few(0, "lora", enough=4) == ()
