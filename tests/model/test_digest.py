"""Digests: one content, one digest, on every machine; and findings as one line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metalwright.model.digest import canonical_json, digest_of
from metalwright.model.finding import Finding, Severity

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)


def test_the_digest_is_that_of_the_canonical_text() -> None:
    assert canonical_json({"b": [1, None, True], "a": "é"}) == '{"a":"\\u00e9","b":[1,null,true]}'
    assert digest_of({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


@given(st.dictionaries(st.text(max_size=4), JSON, max_size=6))
def test_the_order_of_keys_is_no_content(value: dict[str, object]) -> None:
    backwards = dict(reversed(list(value.items())))
    assert digest_of(backwards) == digest_of(value)


@given(JSON, JSON)
def test_another_content_has_another_digest(one: object, other: object) -> None:
    same = canonical_json(one) == canonical_json(other)
    assert (digest_of(one) == digest_of(other)) is same


@pytest.mark.parametrize("value", [{"a": {1}}, object(), b"bytes"])
def test_what_is_not_json_has_no_digest(value: object) -> None:
    with pytest.raises(TypeError):
        digest_of(value)


@pytest.mark.parametrize(
    ("finding", "text"),
    [
        (
            Finding(path="a.yaml", line=3, column=7, code="x/y", message="is wrong"),
            "a.yaml:3:7: error: is wrong [x/y]",
        ),
        (
            Finding(path="a.yaml", code="x/y", message="is wrong", value="1", hint="write 2"),
            "a.yaml: error: is wrong (got 1); write 2 [x/y]",
        ),
        (
            Finding(path="", code="x/y", message="is odd", severity=Severity.WARNING),
            "repository: warning: is odd [x/y]",
        ),
    ],
)
def test_a_finding_is_one_line(finding: Finding, text: str) -> None:
    assert str(finding) == text
