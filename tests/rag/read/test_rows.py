import pytest

from tunesmith.rag.read.rows import read_csv


@pytest.mark.parametrize(
    "text",
    [
        "name,price\nTea,3\n\nCoffee,\n",
        "name;price\r\nTea;3\r\nCoffee;\r\n",
        "name\tprice\nTea\t3\nCoffee\t\n",
    ],
)
def test_a_row_names_its_columns_and_leaves_out_empty_fields(text):
    document = read_csv(text.encode())
    assert [document.text[a:b] for a, b in document.rows] == ["name: Tea\nprice: 3", "name: Coffee"]
    assert document.heading_path(*document.rows[1]) == ("row 2",)


def test_quoted_fields_and_rows_longer_than_the_names_are_kept():
    document = read_csv(b'a,b\n"x\ny",2,more\n')
    assert document.text == "a: x\ny\nb: 2\nmore"


def test_a_table_of_one_column_is_read():
    assert read_csv(b"name\nTea\n").text == "name: Tea"


def test_a_large_field_is_read():
    assert len(read_csv(b"a,b\n" + b"x" * 300_000 + b",1\n").text) > 300_000
