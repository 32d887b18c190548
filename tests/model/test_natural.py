"""Names in the order in which people count."""

from metalwright.model.natural import natural


def test_numbers_are_compared_as_numbers() -> None:
    names = ["n10", "n2", "n1", "r2-n1", "r10-n1", "n"]
    assert sorted(names, key=natural) == ["n", "n1", "n2", "n10", "r2-n1", "r10-n1"]


def test_names_of_one_value_are_still_told_apart() -> None:
    assert natural("n01") != natural("n1")
    assert sorted(["n1", "n01"], key=natural) == sorted(["n01", "n1"], key=natural)
