from tunesmith.cli.sparkline import sparkline


def test_the_lowest_and_the_highest_value_get_the_lowest_and_the_highest_block():
    assert sparkline([3.0, 0.5, 1.0, 2.0]) == "█▁▂▅"


def test_long_series_are_averaged_to_the_width_and_keep_their_ends():
    line = sparkline([float(i) for i in range(1000)], width=20)
    assert len(line) == 20
    assert line[0] == "▁"
    assert line[-1] == "█"
    assert list(line) == sorted(line)


def test_short_series_are_not_stretched():
    assert len(sparkline([1.0, 2.0, 3.0])) == 3


def test_equal_and_missing_values_are_drawn():
    assert sparkline([1.0, 1.0]) == "▁▁"
    assert sparkline([1.0, float("nan"), 2.0]) == "▁×█"
    assert sparkline([]) == ""
