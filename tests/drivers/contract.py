"""What every driver promises, as tests: a driver passes by subclassing with a `rig` fixture.

    class TestFoo(DriverContract):
        @pytest.fixture
        def rig(self): ...

The rig owns a driver and at least four nodes, can tell and set what the hardware truly is without
asking the driver, and can make a BMC fall ill. The contract never looks into the driver.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Protocol, TypeVar

import pytest

from metalwright.errors import (
    CredentialsError,
    DriverError,
    NotSupportedError,
    PermanentError,
    TemporaryError,
)
from metalwright.model.documents import Node
from metalwright.model.observed import BootDevice, Power, Reading
from metalwright.model.operation import Effect, EffectKind

T = TypeVar("T")

MARGIN_S = 1.0
"""How much later than its `timeout_s` a driver may give up: two busy cores, a process to reap."""


class Driver(Protocol):
    """What a rig drives."""

    @property
    def capabilities(self) -> frozenset[EffectKind]: ...
    def observe(self, node: Node, timeout_s: float) -> Reading: ...
    def apply(self, node: Node, effect: Effect, timeout_s: float) -> None: ...
    def close(self) -> None: ...


class Rig(Protocol):
    """The hardware behind a driver. All nodes are off, healthy, with no boot device at the start.

    `timeout_s` is ample for one healthy call, `patience_s` for giving up on silence (shorter, so
    that the suite is quick), `secrets` the texts that must never show.
    """

    driver: Driver
    nodes: Sequence[Node]
    timeout_s: float
    patience_s: float
    secrets: Sequence[str]

    def power(self, node: Node) -> Power:
        """The true power state, once everything that was started has had its time."""

    def set_power(self, node: Node, power: Power) -> None:
        """Somebody presses the button: the state changes at once."""

    def boot_device(self, node: Node) -> BootDevice | None:
        """What the machine would truly boot from next."""

    def power_commands(self, node: Node) -> int:
        """How many commands that change power have reached the hardware since the start."""

    def login_attempts(self, node: Node) -> int:
        """How often a user name was presented to the BMC since the start."""

    def silence(self, node: Node) -> None:
        """The BMC answers nothing from now on."""

    def slow(self, node: Node) -> None:
        """The BMC answers clearly later than usual, and well within `timeout_s`."""

    def garbage(self, node: Node) -> None:
        """The BMC answers what no BMC should."""

    def wrong_password(self, node: Node) -> None:
        """The BMC accepts another password than the driver has."""

    def heal(self, node: Node) -> None:
        """Undo silence, slow, garbage and wrong_password."""


def effect(kind: EffectKind, argument: str = "") -> Effect:
    return Effect(kind=kind, argument=argument, operation_id="op-1", template_digest="0" * 64)


POWER_ON = effect(EffectKind.POWER_ON)
POWER_OFF = effect(EffectKind.POWER_OFF)
SOFT_POWER_OFF = effect(EffectKind.SOFT_POWER_OFF)
BOOT_FROM = {
    device: effect(EffectKind.SET_BOOT_DEVICE, device.value)
    for device in (BootDevice.PXE, BootDevice.DISK)
}


class DriverContract:
    """The promises. Every test gets a fresh rig."""

    def test_observe_tells_the_power_that_the_machine_has(self, rig: Rig) -> None:
        node = rig.nodes[0]
        for power in (Power.OFF, Power.ON, Power.OFF):
            rig.set_power(node, power)
            assert rig.driver.observe(node, rig.timeout_s).power is power

    def test_observe_changes_nothing(self, rig: Rig) -> None:
        node = rig.nodes[0]
        rig.set_power(node, Power.ON)
        rig.driver.observe(node, rig.timeout_s)
        assert rig.power(node) is Power.ON
        assert rig.power_commands(node) == 0
        assert rig.boot_device(node) is None

    def test_power_on_and_off_reach_the_machine(self, rig: Rig) -> None:
        node = rig.nodes[0]
        rig.driver.apply(node, POWER_ON, rig.timeout_s)
        assert rig.power(node) is Power.ON
        assert rig.driver.observe(node, rig.timeout_s).power is Power.ON
        rig.driver.apply(node, POWER_OFF, rig.timeout_s)
        assert rig.power(node) is Power.OFF
        assert rig.driver.observe(node, rig.timeout_s).power is Power.OFF

    def test_soft_power_off_ends_with_power_off(self, rig: Rig) -> None:
        node = rig.nodes[0]
        rig.set_power(node, Power.ON)
        rig.driver.apply(node, SOFT_POWER_OFF, rig.timeout_s)
        assert rig.power(node) is Power.OFF

    @pytest.mark.parametrize("trouble", ["silence", "garbage", "wrong_password"])
    def test_trouble_is_not_taken_for_a_machine_that_cannot_be_shut_down(
        self, rig: Rig, trouble: str
    ) -> None:
        node = rig.nodes[0]
        rig.set_power(node, Power.ON)
        getattr(rig, trouble)(node)
        with pytest.raises(DriverError) as caught:
            rig.driver.apply(node, SOFT_POWER_OFF, rig.patience_s)
        assert not isinstance(caught.value, NotSupportedError), "its power would be cut for that"

    def test_power_that_is_already_there_is_success_and_disturbs_nobody(self, rig: Rig) -> None:
        node = rig.nodes[0]
        for wanted, effects in (
            (Power.ON, (POWER_ON, POWER_ON)),
            (Power.OFF, (POWER_OFF, SOFT_POWER_OFF, POWER_OFF)),
        ):
            rig.set_power(node, wanted)
            before = rig.power_commands(node)
            for each in effects:
                rig.driver.apply(node, each, rig.timeout_s)
            assert rig.power(node) is wanted
            assert rig.power_commands(node) == before

    def test_boot_device_is_set_and_set_again(self, rig: Rig) -> None:
        node = rig.nodes[0]
        for device in (BootDevice.PXE, BootDevice.PXE, BootDevice.DISK, BootDevice.DISK):
            rig.driver.apply(node, BOOT_FROM[device], rig.timeout_s)
            assert rig.boot_device(node) is device
            assert rig.driver.observe(node, rig.timeout_s).boot_device in (device, None)
        assert rig.power(node) is Power.OFF, "a boot device is not a power command"

    def test_one_node_is_changed_and_no_other(self, rig: Rig) -> None:
        node, *others = rig.nodes
        rig.driver.apply(node, BOOT_FROM[BootDevice.PXE], rig.timeout_s)
        rig.driver.apply(node, POWER_ON, rig.timeout_s)
        assert [rig.power(other) for other in others] == [Power.OFF] * len(others)
        assert [rig.boot_device(other) for other in others] == [None] * len(others)

    def test_what_a_driver_cannot_do_is_permanent(self, rig: Rig) -> None:
        node = rig.nodes[0]
        impossible = [effect(EffectKind.SET_BOOT_DEVICE, "floppy")]
        impossible += [
            effect(kind, "full" if kind is EffectKind.WIPE else "")
            for kind in EffectKind
            if kind not in rig.driver.capabilities
        ]
        for each in impossible:
            with pytest.raises(PermanentError):
                rig.driver.apply(node, each, rig.timeout_s)
        assert rig.power(node) is Power.OFF
        assert rig.boot_device(node) is None

    @pytest.mark.parametrize("call", ["observe", "apply"])
    def test_wrong_credentials_are_tried_once_and_told_at_once(self, rig: Rig, call: str) -> None:
        node = rig.nodes[0]
        rig.wrong_password(node)
        before = rig.login_attempts(node)
        with pytest.raises(CredentialsError) as caught:
            _call(rig, node, call)
        assert rig.login_attempts(node) == before + 1
        assert_no_secret(rig, caught.value)
        rig.heal(node)
        assert rig.driver.observe(node, rig.timeout_s).power is Power.OFF

    @pytest.mark.parametrize("call", ["observe", "apply"])
    def test_silence_is_temporary_and_ends_in_time(self, rig: Rig, call: str) -> None:
        node, other, *_ = rig.nodes
        rig.driver.observe(other, rig.timeout_s)  # whatever starts lazily has started
        rig.silence(node)
        began = time.monotonic()
        with pytest.raises(TemporaryError) as caught:
            _call(rig, node, call, rig.patience_s)
        assert time.monotonic() - began < rig.patience_s + MARGIN_S
        assert_no_secret(rig, caught.value)
        rig.heal(node)
        assert rig.driver.observe(node, rig.timeout_s).power is Power.OFF
        rig.driver.apply(node, POWER_ON, rig.timeout_s)
        assert rig.power(node) is Power.ON

    def test_a_slow_bmc_is_read_rightly(self, rig: Rig) -> None:
        node = rig.nodes[0]
        rig.set_power(node, Power.ON)
        rig.slow(node)
        assert rig.driver.observe(node, rig.timeout_s).power is Power.ON

    @pytest.mark.parametrize("call", ["observe", "apply"])
    def test_garbage_is_an_error_of_ours_and_passes(self, rig: Rig, call: str) -> None:
        node = rig.nodes[0]
        rig.garbage(node)
        began = time.monotonic()
        with pytest.raises((TemporaryError, PermanentError)) as caught:
            _call(rig, node, call, rig.patience_s)
        assert not isinstance(caught.value, CredentialsError), "garbage must not lock a node out"
        assert time.monotonic() - began < rig.patience_s + MARGIN_S
        assert_no_secret(rig, caught.value)
        rig.heal(node)
        assert rig.driver.observe(node, rig.timeout_s).power is Power.OFF

    def test_sick_bmcs_do_not_hold_up_the_healthy(self, rig: Rig) -> None:
        *sick, healthy = rig.nodes
        for node in sick:
            rig.silence(node)
        with ThreadPoolExecutor(len(sick)) as executor:
            asked = [executor.submit(rig.driver.observe, node, rig.patience_s) for node in sick]
            time.sleep(0.1)
            assert rig.driver.observe(healthy, rig.patience_s).power is Power.OFF
            rig.driver.apply(healthy, POWER_ON, rig.patience_s)
            for each in asked:
                assert isinstance(each.exception(), TemporaryError)
        assert rig.power(healthy) is Power.ON

    def test_many_threads_read_many_nodes_rightly(self, rig: Rig) -> None:
        truth = {}
        for index, node in enumerate(rig.nodes):
            truth[node.metadata.name] = (Power.ON, Power.OFF)[index % 2]
            rig.set_power(node, truth[node.metadata.name])
        asked = list(rig.nodes) * 3

        def read(node: Node) -> tuple[str, Power]:
            reading = rig.driver.observe(node, rig.timeout_s)
            return node.metadata.name, reading.power

        for name, power in _together([partial(read, node) for node in asked]):
            assert power is truth[name], name

    def test_many_threads_on_one_node_are_right(self, rig: Rig) -> None:
        node = rig.nodes[0]
        _together([partial(rig.driver.apply, node, POWER_ON, rig.timeout_s)] * 3)
        assert rig.power(node) is Power.ON
        readings = _together([partial(rig.driver.observe, node, rig.timeout_s)] * 3)
        assert [reading.power for reading in readings] == [Power.ON] * 3

    def test_many_threads_change_many_nodes_rightly(self, rig: Rig) -> None:
        for index, node in enumerate(rig.nodes):
            rig.set_power(node, (Power.ON, Power.OFF)[index % 2])
        wanted = [(POWER_OFF, POWER_ON)[index % 2] for index in range(len(rig.nodes))]
        _together(
            [
                partial(rig.driver.apply, node, each, rig.timeout_s)
                for node, each in zip(rig.nodes, wanted, strict=True)
            ]
        )
        expected = [(Power.OFF, Power.ON)[index % 2] for index in range(len(rig.nodes))]
        assert [rig.power(node) for node in rig.nodes] == expected

    def test_nothing_that_is_shown_carries_a_secret(self, rig: Rig) -> None:
        rig.driver.observe(rig.nodes[0], rig.timeout_s)
        for shown in (repr(rig.driver), str(rig.driver), repr(vars_of(rig.driver))):
            for secret in rig.secrets:
                assert secret not in shown

    def test_a_closed_driver_says_so_and_closes_twice(self, rig: Rig) -> None:
        rig.driver.observe(rig.nodes[0], rig.timeout_s)
        rig.driver.close()
        rig.driver.close()
        with pytest.raises((TemporaryError, PermanentError)):
            rig.driver.observe(rig.nodes[0], rig.timeout_s)


def assert_no_secret(rig: Rig, error: BaseException) -> None:
    """Neither the error nor anything in its chain spells a secret."""
    seen: BaseException | None = error
    while seen is not None:
        for secret in rig.secrets:
            assert secret not in f"{seen!s} {seen!r} {getattr(seen, '__notes__', '')}"
        seen = seen.__cause__ or seen.__context__


def vars_of(value: object) -> object:
    """The attributes of a value, however they are kept."""
    return getattr(value, "__dict__", None) or [
        getattr(value, name, None) for name in getattr(type(value), "__slots__", ())
    ]


def _call(rig: Rig, node: Node, call: str, timeout_s: float | None = None) -> None:
    timeout_s = rig.timeout_s if timeout_s is None else timeout_s
    if call == "observe":
        rig.driver.observe(node, timeout_s)
    else:
        rig.driver.apply(node, POWER_ON, timeout_s)


def _together(calls: Sequence[Callable[[], T]]) -> list[T]:
    with ThreadPoolExecutor(len(calls)) as executor:
        return [each.result() for each in [executor.submit(call) for call in calls]]
