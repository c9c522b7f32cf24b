"""Few rows are told under every name of a method."""

from tunesmith.data.quality.distribution import told_of_few


def test_few_rows_are_told_under_every_name_of_the_method():
    assert [note.count for note in told_of_few(3, "prefix")] == [3]
    assert told_of_few(0, "lora") == ()
