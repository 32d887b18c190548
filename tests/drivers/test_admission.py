"""No sort of call takes all workers, no BMC has two calls, and first come is first served."""

from __future__ import annotations

import random
import threading
import time

import pytest

from metalwright.drivers.admission import WAITING_MAX, Admission, Lane, Ticket

OBSERVE, CHANGE = Lane.OBSERVE, Lane.CHANGE


def enter_all(admission: Admission, lane: Lane, count: int, prefix: str = "bmc") -> list[Ticket]:
    """The tickets that are to be had at once."""
    tickets = [admission.enter(f"{prefix}{number}", lane, 0) for number in range(count)]
    return [ticket for ticket in tickets if ticket is not None]


def suspects(admission: Admission, count: int) -> None:
    """Make bmc0, bmc1, ... suspects."""
    for number in range(count):
        ticket = admission.enter(f"bmc{number}", CHANGE, 0)
        assert ticket is not None
        admission.leave(ticket, slow=True)


@pytest.mark.parametrize(("workers", "observe", "change"), [(3, 2, 2), (4, 3, 3), (8, 6, 7)])
def test_each_lane_leaves_workers_to_the_other(workers: int, observe: int, change: int) -> None:
    assert len(enter_all(Admission(workers), OBSERVE, 20)) == observe
    assert len(enter_all(Admission(workers), CHANGE, 20)) == change
    both = Admission(workers)
    assert len(enter_all(both, OBSERVE, 20)) == observe
    assert len(enter_all(both, CHANGE, 20, "other")) == workers - observe


@pytest.mark.parametrize("workers", [-1, 0, 1, 2])
def test_too_few_workers_are_refused(workers: int) -> None:
    with pytest.raises(ValueError, match="3 at least"):
        Admission(workers)


def test_a_bmc_has_one_call_at_a_time() -> None:
    admission = Admission(8)
    first = admission.enter("bmc", OBSERVE, 0)
    assert first is not None
    assert admission.enter("bmc", CHANGE, 0) is None
    assert admission.enter("bmc", OBSERVE, 0) is None
    admission.leave(first, slow=False)
    assert admission.enter("bmc", CHANGE, 0) is not None


def test_suspects_leave_workers_to_the_healthy() -> None:
    admission = Admission(8)
    suspects(admission, 20)
    assert len(enter_all(admission, OBSERVE, 20)) == 4
    assert len(enter_all(admission, OBSERVE, 20, "healthy")) == 2
    assert len(enter_all(admission, CHANGE, 20, "healthy-too")) == 2


def test_one_good_call_clears_a_suspect() -> None:
    admission = Admission(8)
    suspects(admission, 20)
    for number in range(20):
        ticket = admission.enter(f"bmc{number}", OBSERVE, 0)
        assert ticket is not None
        admission.leave(ticket, slow=False)
    assert len(enter_all(admission, OBSERVE, 20)) == 6


def test_who_waits_is_admitted_in_order_as_soon_as_there_is_room() -> None:
    admission = Admission(3)
    running = enter_all(admission, OBSERVE, 2)
    order: list[str] = []

    def wait(name: str) -> None:
        ticket = admission.enter(name, OBSERVE, 10)
        assert ticket is not None
        order.append(name)

    threads = []
    for name in ("a", "b"):
        threads.append(threading.Thread(target=wait, args=(name,)))
        threads[-1].start()
        time.sleep(0.1)
    assert order == []
    for ticket in running:
        admission.leave(ticket, slow=False)
        time.sleep(0.1)
    for thread in threads:
        thread.join()
    assert order == ["a", "b"]


def test_who_waits_for_his_bmc_does_not_hold_up_the_next() -> None:
    admission = Admission(8)
    held = admission.enter("bmc", OBSERVE, 0)
    assert held is not None
    thread = threading.Thread(target=admission.enter, args=("bmc", OBSERVE, 5))
    thread.start()
    time.sleep(0.05)
    assert admission.enter("another", OBSERVE, 0) is not None
    admission.leave(held, slow=False)
    thread.join()


def test_waiting_ends_in_time_and_leaves_no_trace() -> None:
    admission = Admission(3)
    running = enter_all(admission, OBSERVE, 2)
    began = time.monotonic()
    assert admission.enter("late", OBSERVE, 0.2) is None
    assert 0.2 <= time.monotonic() - began < 1
    admission.leave(running[0], slow=False)
    assert admission.enter("next", OBSERVE, 0) is not None


def test_the_queue_is_bounded() -> None:
    admission = Admission(3)
    enter_all(admission, OBSERVE, 2)
    threads = [
        threading.Thread(target=admission.enter, args=(f"w{number}", OBSERVE, 30))
        for number in range(WAITING_MAX)
    ]
    for thread in threads:
        thread.start()
    began = time.monotonic()
    assert admission.enter("one-too-many", OBSERVE, 30) is None
    assert time.monotonic() - began < 5, "it is sent away at once"
    admission.close()
    for thread in threads:
        thread.join()


def test_closing_sends_everybody_away() -> None:
    admission = Admission(3)
    running = enter_all(admission, OBSERVE, 2)
    got: list[object] = []
    thread = threading.Thread(target=lambda: got.append(admission.enter("w", OBSERVE, 30)))
    thread.start()
    time.sleep(0.05)
    admission.close()
    thread.join(timeout=2)
    assert got == [None]
    assert admission.enter("later", CHANGE, 0) is None
    admission.leave(running[0], slow=False)


@pytest.mark.parametrize("seed", range(20))
def test_no_limit_is_passed_in_any_order_of_events(seed: int) -> None:
    chance = random.Random(seed)
    workers = chance.randrange(3, 12)
    admission = Admission(workers)
    held: list[Ticket] = []
    for _ in range(500):
        if held and chance.random() < 0.4:
            admission.leave(held.pop(chance.randrange(len(held))), slow=chance.random() < 0.3)
            continue
        lane = chance.choice([OBSERVE, CHANGE])
        ticket = admission.enter(f"bmc{chance.randrange(30)}", lane, 0)
        if ticket is not None:
            held.append(ticket)
        assert len(held) <= workers
        assert len({each.bmc for each in held}) == len(held)
        assert sum(each.suspect for each in held) <= workers // 2
        for each in Lane:
            assert sum(one.lane is each for one in held) <= admission.lane_max[each]
