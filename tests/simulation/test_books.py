"""The books of the oracles find what they are there to find."""

from __future__ import annotations

from sim_brakes import BrakeBooks, RightBooks
from sim_checks import CheckBooks
from sim_inventory import CHECKS, Model, Shape, initial
from sim_limits import LimitBooks, StartBooks
from sim_record import Book, Known, Moment
from sim_room import CallLog, Machine, MachineRoom, Tried
from sim_time import Scheduler

from metalwright.model.observed import Identity
from metalwright.model.operation import Effect, EffectKind

SHAPE = Shape(nodes=20, pools=2, speed=10.0)


class Listener:
    """Hears what is broken, and says what time it is."""

    def __init__(self, book: Book) -> None:
        self.heard: list[str] = []
        self.at_s = 0.0
        book.broken = lambda oracle, _text: self.heard.append(oracle)
        book.now_s = lambda: self.at_s


def moment(**keys: object) -> Moment:
    model: Model = initial(SHAPE, 10, None)
    model |= {name.replace("_", "/", 1).replace("_", "-"): value for name, value in keys.items()}
    return Moment(model=model, plan=None, began_s=0.0, process=1)


def known(number: int, verb: str = "deploy", **fields: object) -> Known:
    return Known(f"op{number}", f"n{number:05}", verb, **fields)  # type: ignore[arg-type]


def admit(book: LimitBooks, operation: Known, at: Moment) -> None:
    operation.attempts += 1
    book.admitted(operation, at)


def test_every_scope_is_counted_until_it_is_released() -> None:
    for keys, operations in (
        ({"policy_fleet": 1}, [known(0), known(19)]),
        ({"limit_p1": 1}, [known(10), known(19)]),
        ({"policy_rack": 1}, [known(0), known(1)]),
        ({"policy_driver": 1}, [known(0), known(19)]),
        ({"policy_conductors": {"g0": 1}}, [known(0), known(1)]),
        (
            {"policy_images": {"images.example": 1}},
            [known(0, template="t0"), known(19, template="t3")],
        ),
        ({"policy_reserved": {"releases": 9}}, [known(0), known(19)]),
        ({"policy_reserved": {"operators": 9}}, [known(0), known(19, "undeploy")]),
        ({"policy_retries": 1}, [known(0, attempts=1), known(19, attempts=1)]),
    ):
        book = LimitBooks(SHAPE)
        listener = Listener(book)
        admit(book, operations[0], moment(**keys))
        book.released(operations[0])
        admit(book, operations[0], moment(**keys))
        assert listener.heard == [], keys
        admit(book, operations[1], moment(**keys))
        assert set(listener.heard) == {"limits hold"}, keys


def test_what_is_in_no_such_scope_does_not_count() -> None:
    book = LimitBooks(SHAPE)
    listener = Listener(book)
    at = moment(policy_reserved={"releases": 9}, policy_images={"slow.example:8080": 1})
    for operation in (known(0), known(1, "undeploy"), known(2, "power off", template="t5")):
        admit(book, operation, at)
    assert listener.heard == []


def test_more_power_ons_than_the_rate_are_found() -> None:
    book = StartBooks(SHAPE)
    listener = Listener(book)
    at = moment(policy_rates=[{"starts": 2, "per": "20s", "label": "pdu"}])
    book.intended(known(0), "power on", at)
    book.intended(known(1), "power on", at)
    book.intended(known(18), "power on", at)  # of another domain
    listener.at_s = 10.0
    book.intended(known(2), "power on", at)
    assert listener.heard == []
    book.intended(known(3), "power on", at)
    assert listener.heard == ["start rates hold"]


def test_what_begins_under_a_brake_is_found() -> None:
    book = BrakeBooks()
    listener = Listener(book)
    book.line("n00000", "hold", "by ada: why", moment())
    book.admitted(known(0), moment())
    book.line("n00000", "resumed", "", moment())
    book.admitted(known(0), moment())
    book.line("n00001", "quarantined", "", moment())
    book.created(known(1), moment())
    book.created(known(2), moment(hold_n00002=True))
    assert listener.heard == ["nothing begins under a brake"] * 3


def test_what_is_made_again_after_it_was_cancelled_is_found() -> None:
    book = BrakeBooks()
    listener = Listener(book)
    book.line("n00000", "cancel", "asked for by ada", moment())
    book.ended(known(0, want="a"), "cancelled", moment())
    book.created(known(0, want="b"), moment())
    assert listener.heard == []
    book.created(known(0, want="a"), moment())
    assert listener.heard == ["what was cancelled stays ended"]
    book.line("n00000", "retry", "asked for by ada", moment())
    book.created(known(0, want="a"), moment())
    assert len(listener.heard) == 1


def test_a_call_of_a_former_daemon_is_found() -> None:
    book = RightBooks()
    listener = Listener(book)
    book.process = 2
    effect = Effect(kind=EffectKind.POWER_ON)
    book.called(known(0), CallLog("n00000", effect, 0.0, process=2))
    assert listener.heard == []
    book.called(known(0), CallLog("n00000", effect, 0.0, process=1))
    assert listener.heard == ["a former daemon does nothing"]


def test_what_ends_well_was_validated_and_passed_every_check_in_the_stage() -> None:
    """Each case: what the journal said, the checks that the machine truly had, what is wrong."""
    entered = ("stage", "entered validating; deadline 60s, of the policy")
    good = [Tried(name, 11.0, passed=True) for name in CHECKS]
    early = [Tried(name, 9.0, passed=True) for name in CHECKS]
    failed = [*good[:-1], Tried(CHECKS[-1], 11.0, passed=False)]
    none, lacks = "what boots is validated", "what is active has passed its checks"
    for lines, tries, verb, template, wrong in (
        ([entered], good, "deploy", "t1", []),
        ([entered], early, "deploy", "t1", [lacks]),
        ([entered], failed, "rebuild", "t3", [lacks]),
        ([entered], good[:-1], "reboot", "t1", [lacks]),
        ([], good, "deploy", "t1", [none]),
        ([entered, ("retry", "")], good, "deploy", "t1", [none]),
        ([], [], "deploy", "t0", []),
        ([], [], "power on", "t1", []),
    ):
        room = MachineRoom(Scheduler(0), 0, 10.0, 10)
        room.machines["n00001"] = Machine(identity=Identity(), checked=list(tries))
        book = CheckBooks(room)
        listener = Listener(book)
        listener.at_s = 10.0
        for event, detail in lines:
            book.line("n00001", event, detail, moment())
        book.ended(known(1, verb, template=template), "active", moment())
        assert listener.heard == wrong, (lines, tries, verb)
