"""Start rates: all tokens at once, then one after the other, whatever the clock does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metalwright.execute.rates import Granted, WaitUntil, take
from metalwright.model.policy import StartRate

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
PDU = StartRate(label="pdu", starts=3, per=60)
FLEET = StartRate(starts=2, per=60)
LEFT = {"pdu": "a01-left"}


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def test_without_rates_everything_may_start() -> None:
    assert take((), LEFT, {}, NOW) == Granted()
    assert take((PDU,), {"rack": "a01"}, {}, NOW) == Granted()


def test_all_at_once_then_one_after_the_other() -> None:
    starts: dict[str, datetime] = {}
    for _ in range(3):
        granted = take((PDU,), LEFT, starts, NOW)
        assert isinstance(granted, Granted)
        starts |= granted.starts
    assert list(starts) == ["start/pdu=a01-left"]
    refused = take((PDU,), LEFT, starts, NOW)
    assert refused == WaitUntil(at=after(20), bucket="start/pdu=a01-left")
    assert isinstance(take((PDU,), LEFT, starts, after(19.9)), WaitUntil)
    granted = take((PDU,), LEFT, starts, after(20))
    assert isinstance(granted, Granted)
    again = take((PDU,), LEFT, {**starts, **granted.starts}, after(20))
    assert isinstance(again, WaitUntil)
    assert again.at == after(40)


def test_domains_have_buckets_of_their_own() -> None:
    starts = {"start/pdu=a01-left": after(60)}
    assert isinstance(take((PDU,), LEFT, starts, NOW), WaitUntil)
    assert isinstance(take((PDU,), {"pdu": "a01-right"}, starts, NOW), Granted)


def test_no_token_is_taken_while_another_bucket_is_empty() -> None:
    starts = {"start/fleet": after(60)}
    refused = take((PDU, FLEET), LEFT, starts, NOW)
    assert refused == WaitUntil(at=after(30), bucket="start/fleet")


def test_two_rates_of_one_domain_both_hold() -> None:
    rates = (StartRate(starts=2, per=10), StartRate(starts=3, per=3_600))
    starts: dict[str, datetime] = {}
    instants = []
    for second in range(100):
        said = take(rates, {}, starts, after(second))
        if isinstance(said, Granted):
            instants.append(second)
            starts |= said.starts
    assert instants == [0, 1, 5]
    assert set(starts) == {"start/fleet", "start/fleet#2"}


def test_after_the_clock_was_set_back_a_bucket_is_empty_and_fills_again() -> None:
    starts = {"start/fleet": after(86_400)}
    refused = take((FLEET,), {}, starts, NOW)
    assert refused == WaitUntil(
        at=after(30), bucket="start/fleet", starts={"start/fleet": after(60)}
    )
    starts |= refused.starts
    assert isinstance(take((FLEET,), {}, starts, after(29)), WaitUntil)
    assert isinstance(take((FLEET,), {}, starts, after(30)), Granted)


def test_what_is_mended_is_stored_with_a_token_too() -> None:
    rates = (StartRate(starts=1, per=10),)
    granted = take(rates, {}, {"start/fleet": NOW}, after(100))
    assert granted == Granted(starts={"start/fleet": after(110)})


@pytest.mark.parametrize(
    ("rate", "at"),
    [
        (StartRate(starts=6, per=60), 10),  # more starts: the next token comes sooner
        (StartRate(starts=3, per=6), 2),  # a shorter time: empty now
        (StartRate(starts=3, per=600), None),  # a longer one: what was taken weighs less
    ],
)
def test_a_rate_may_change_while_it_is_in_use(rate: StartRate, at: int | None) -> None:
    starts = {"start/fleet": after(60)}  # three of three in a minute were taken now
    said = take((rate,), {}, starts, NOW)
    if at is None:
        assert isinstance(said, Granted)
    else:
        assert isinstance(said, WaitUntil)
        assert said.at == after(at)


@given(
    st.integers(1, 5),
    st.integers(1, 50),
    st.lists(st.integers(-30, 30), min_size=1, max_size=80),
)
def test_no_span_of_time_sees_more_starts_than_a_full_bucket_and_what_came_back(
    starts_max: int, per: int, steps: list[int]
) -> None:
    """Also while the clock is set back now and then: time is what has really passed."""
    rate = StartRate(starts=starts_max, per=per)
    starts: dict[str, datetime] = {}
    shown = really = NOW
    taken: list[datetime] = []
    for step in steps:
        shown += timedelta(seconds=step)
        really += timedelta(seconds=max(0, step))
        said = take((rate,), {}, starts, shown)
        starts |= said.starts
        if isinstance(said, Granted):
            taken.append(really)
        else:
            assert shown < said.at <= shown + timedelta(seconds=per / starts_max)
    for first, since in enumerate(taken):
        for last in range(first, len(taken)):
            span_s = (taken[last] - since).total_seconds()
            assert last - first + 1 <= starts_max + span_s * starts_max / per + 1e-6


def test_two_rates_of_one_domain_may_be_written_in_another_order() -> None:
    rates = (StartRate(starts=2, per=10), StartRate(starts=3, per=3_600))
    starts: dict[str, datetime] = {}
    for seconds in (0, 0, 10):
        granted = take(rates, LEFT, starts, after(seconds))
        assert isinstance(granted, Granted)
        starts |= granted.starts
    assert isinstance(take(rates, LEFT, starts, after(20)), WaitUntil)
    refused = take(rates[::-1], LEFT, starts, after(20))
    assert isinstance(refused, WaitUntil), "an edit gives no tokens back"
    assert refused.at == after(1_200)
