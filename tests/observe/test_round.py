"""The bookkeeping of a sweep where no sweep can bring it: answers in the wrong order."""

from __future__ import annotations

import random
from datetime import timedelta

from metalwright.model.observed import ErrorKind, ObservationError, Power, Reading
from metalwright.observe.entry import Answer, Ask
from metalwright.observe.pace import SweepSettings
from metalwright.observe.round import Round

from .parts import Clock, nodes


def test_an_older_answer_never_replaces_a_newer_whatever_the_clock_said(clock: Clock) -> None:
    book = Round(SweepSettings(), random.Random(1), None)
    book.reconcile(nodes(1), frozenset(), clock.now)
    book.enqueue(clock.now)
    older = book.next_ask()
    assert older is not None
    newer = Ask(entry=older.entry, lane=older.lane, order=older.order + 1)
    set_back = clock.now - timedelta(hours=1)
    book.record(newer, Answer(at=set_back, reading=Reading(power=Power.ON)), clock.now)
    before = book.snapshot()
    assert not book.record(older, Answer(at=clock.now, reading=Reading()), clock.now)
    assert book.snapshot() is before
    assert before.nodes["n00001"].power is Power.ON


def test_an_answer_after_giving_up_replaces_it(clock: Clock) -> None:
    book = Round(SweepSettings(), random.Random(1), None)
    book.reconcile(nodes(1), frozenset(), clock.now)
    book.enqueue(clock.now)
    ask = book.next_ask()
    assert ask is not None
    error = ObservationError(kind=ErrorKind.TIMEOUT, message="no answer")
    book.give_up(["n00001", "no-such-node"], Answer(at=clock.now, error=error), clock.now)
    assert book.snapshot().nodes["n00001"].failures == 1
    book.withdraw(ask)
    book.record(ask, Answer(at=clock.now, reading=Reading(power=Power.OFF)), clock.now)
    seen = book.snapshot().nodes["n00001"]
    assert (seen.failures, seen.power) == (0, Power.OFF)


def test_other_limits_count_for_every_lane(clock: Clock) -> None:
    def asked(book: Round, busy: frozenset[str]) -> int:
        book.reconcile(nodes(40), busy, clock.now)
        book.enqueue(clock.now)
        count = 0
        while book.next_ask() is not None:
            count += 1
        return count

    everybody = frozenset(each.metadata.name for each in nodes(40))
    for busy in (frozenset[str](), everybody):
        for before, after in ((32, 4), (4, 32)):
            book = Round(SweepSettings(in_flight_max=before), random.Random(1), None)
            book.configure(SweepSettings(in_flight_max=after))
            fresh = Round(SweepSettings(in_flight_max=after), random.Random(1), None)
            assert asked(book, busy) == asked(fresh, busy)


def test_what_is_queued_twice_is_asked_once(clock: Clock) -> None:
    book = Round(SweepSettings(), random.Random(1), None)
    book.reconcile(nodes(2), frozenset(), clock.now)
    book.enqueue(clock.now)
    first = book.next_ask()
    book.enqueue(clock.now)
    book.forget("n00002")
    assert first is not None
    assert book.next_ask() is None, "one is being asked, the other was forgotten"
    assert (book.asking, book.outstanding) == (1, 1)
