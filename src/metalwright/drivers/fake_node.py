"""One simulated machine as a value: what an effect makes of it, and what it would answer at a time.

An effect writes down the instants at which its consequences will be seen (the power comes on, the
firmware has done its tests, the system runs, the wipe ends); a reading only compares them with the
time. So there is no thread and no timer, any process may ask, and a virtual clock may jump. This
module reads no clock and draws no random number: every duration follows from seed, node and count.

It never holds a node's identity, which is git's, nor a fault of its BMC: see `fake_faults`.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from statistics import NormalDist

from metalwright.errors import PermanentError, TemporaryError
from metalwright.model.altered import altered
from metalwright.model.observed import BootDevice, BootProgress, Identity, Power, Reading
from metalwright.model.operation import Effect, EffectKind
from metalwright.model.template import Method, WipePolicy

STAGE_SPANS_S = {
    "power on": (1.0, 4.0),
    "power off": (1.0, 5.0),
    "soft power off": (5.0, 60.0),
    "post": (60.0, 180.0),
    "netboot": (45.0, 120.0),
    "local boot": (20.0, 60.0),
    "install": (300.0, 900.0),
    "wipe metadata": (10.0, 30.0),
    "wipe discard": (30.0, 120.0),
    "wipe full": (3_600.0, 10_800.0),
}
"""Shortest and longest time of each stage in seconds, as servers of the last decade take them."""

SOFT_POWER_OFF_IGNORED_RATE = 0.05
"""How often a healthy system does not react to the power button: no ACPI daemon, a hung service."""

_LOADER_SHARE = 0.3  # the part of a boot that passes before the system's kernel starts
_NORMAL = NormalDist()


def fraction(*of: object) -> float:
    """A number in (0, 1) that looks random and is the same for the same arguments everywhere."""
    text = "\x00".join(str(part) for part in of)
    word = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return (int.from_bytes(word) // 2**11 + 0.5) / 2**53


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long things take in one simulated fleet; `speed` 60 makes a minute of it a second."""

    seed: int
    speed: float = 1.0

    def stage_s(self, node: str, stage: str, attempt: int) -> float:
        """Seconds that a stage takes this time: log-normal over its span, cut off at both ends."""
        low, high = STAGE_SPANS_S[stage]
        sigma = math.log(high / low) / 4  # the span holds two sigma to either side
        z = _NORMAL.inv_cdf(fraction(self.seed, node, stage, attempt))
        return min(high, max(low, math.sqrt(low * high) * math.exp(sigma * z))) / self.speed

    def soft_power_off_ignored(self, node: str, attempt: int) -> bool:
        """Whether the running system does not react to the power button this time."""
        return fraction(self.seed, node, "ignored", attempt) < SOFT_POWER_OFF_IGNORED_RATE


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeNode:
    """A simulated machine. Times are seconds since the epoch; `None` is "not, or not any more".

    With `on_at` the machine is on, or comes on then; `off_at` is when it goes off again. A boot has
    all of `post_at`, `loader_at` and `running_at`, but for the last when it hangs. `digest` is what
    the system that was booted reports: from `running_at`, or from `installed_at` where an installer
    runs first. `disk_digest` is what the disk was installed with. The counts make every try
    different, and are what a test or a lock-out guard is measured by.
    """

    boot_device: str | None = None
    on_at: float | None = None
    off_at: float | None = None
    post_at: float | None = None
    loader_at: float | None = None
    running_at: float | None = None
    installed_at: float | None = None
    digest: str = ""
    disk_digest: str = ""
    wipe_id: str | None = None
    wiped_at: float | None = None
    last_wipe: str | None = None
    power_ons: int = 0
    power_offs: int = 0
    soft_power_offs: int = 0
    wipes: int = 0
    refused_logins: int = 0


NEW_NODE = FakeNode()
"""A machine that nobody has touched yet: off, no boot device chosen, no evidence of a wipe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """When and on which machine an effect arrives, and what is wrong with the machine then."""

    node: str
    now: float
    pace: Pace
    boot_hangs: bool = False
    soft_power_off_ignored: bool = False

    def after(self, stage: str, attempt: int) -> float:
        """The instant at which a stage that starts now ends."""
        return self.now + self.pace.stage_s(self.node, stage, attempt)


def settled(state: FakeNode, now: float) -> FakeNode:
    """The same machine with what has happened by `now` folded in; a reading does not change."""
    if state.wiped_at is not None and state.wiped_at <= now:
        state = altered(state, last_wipe=state.wipe_id, wipe_id=None, wiped_at=None)
    lived_until = now if state.off_at is None else min(now, state.off_at)
    if state.installed_at is not None and state.installed_at <= lived_until:
        state = altered(state, disk_digest=state.digest, installed_at=None)
    if state.off_at is not None and state.off_at <= now:
        state = _without_power(state)
    return state


def reading_at(state: FakeNode, now: float, identity: Identity) -> Reading:
    """What the machine and its BMC would answer at `now`."""
    state = settled(state, now)
    device = BootDevice(state.boot_device) if state.boot_device is not None else None
    if state.on_at is None or state.on_at > now:
        return Reading(
            power=Power.OFF,
            boot_device=device,
            boot_progress=BootProgress.NONE,
            last_wipe=state.last_wipe,
            identity=identity,
        )
    progress = _progress(state, now)
    reports = progress is BootProgress.OS_RUNNING and state.installed_at is None
    return Reading(
        power=Power.ON,
        boot_device=device,
        boot_progress=progress,
        template_digest=(state.digest or None) if reports else None,
        last_wipe=state.last_wipe,
        identity=identity,
    )


def runs(state: FakeNode, now: float) -> str:
    """Why no system of the machine answers at `now`; empty when one does."""
    reading = reading_at(state, now, Identity())
    if reading.boot_progress is BootProgress.OS_RUNNING:
        return ""
    progress = reading.boot_progress
    return f"no answer: the power is {reading.power}, the boot at {progress}"


def carry_out(state: FakeNode, effect: Effect, call: Call) -> FakeNode:
    """The machine after an effect. A level that is there already leaves it as it is.

    Raises:
        PermanentError: the effect's argument is not one that a machine knows.
        TemporaryError: a wipe while the power is on.
    """
    state = settled(state, call.now)
    if effect.kind is EffectKind.POWER_ON:
        return _power_on(state, effect, call)
    if effect.kind is EffectKind.POWER_OFF:
        return _power_off(state, call)
    if effect.kind is EffectKind.SOFT_POWER_OFF:
        return _soft_power_off(state, call)
    if effect.kind is EffectKind.SET_BOOT_DEVICE:
        if effect.argument not in set(BootDevice):
            raise PermanentError(f"no boot device {effect.argument!r}; there are pxe and disk")
        return altered(state, boot_device=effect.argument)
    return _wipe(state, effect, call)


def pressed(state: FakeNode, power: Power, call: Call) -> FakeNode:
    """The machine after somebody in the room held its power button: the power changes at once."""
    state = settled(state, call.now)
    if power is Power.OFF:
        return _without_power(state)
    if state.on_at is not None and state.on_at <= call.now and state.off_at is None:
        return state
    return _booting(state, Effect(kind=EffectKind.POWER_ON), call, call.now)


def _power_on(state: FakeNode, effect: Effect, call: Call) -> FakeNode:
    if state.on_at is not None:
        return state  # also while it shuts down: a real BMC answers "already on" and it goes off
    state = altered(state, power_ons=state.power_ons + 1)
    return _booting(state, effect, call, call.after("power on", state.power_ons))


def _booting(state: FakeNode, effect: Effect, call: Call, on_at: float) -> FakeNode:
    """Powered on at `on_at`; a boot from the network with method `disk` is an installation."""
    attempt = state.power_ons
    network = state.boot_device == BootDevice.PXE
    installs = network and effect.argument == Method.DISK
    boot_s = call.pace.stage_s(call.node, "netboot" if network else "local boot", attempt)
    post_at = on_at + call.pace.stage_s(call.node, "post", attempt)
    running_at = None if call.boot_hangs else post_at + boot_s
    installed_at = None
    if installs and running_at is not None:
        installed_at = running_at + call.pace.stage_s(call.node, "install", attempt)
    return altered(
        state,
        on_at=on_at,
        off_at=None,
        post_at=post_at,
        loader_at=post_at + _LOADER_SHARE * boot_s,
        running_at=running_at,
        installed_at=installed_at,
        digest=effect.template_digest or ("" if network else state.disk_digest),
        disk_digest="" if installs else state.disk_digest,
        wipe_id=None,  # a wipe under way is cut short and leaves no evidence
        wiped_at=None,
    )


def _power_off(state: FakeNode, call: Call) -> FakeNode:
    if state.on_at is None:
        return state
    off_at = _cut_at(state, state.on_at, call)
    if state.off_at is not None and state.off_at <= off_at:
        return state
    return altered(state, off_at=off_at, power_offs=state.power_offs + 1)


def _cut_at(state: FakeNode, on_at: float, call: Call) -> float:
    """When the power is gone; told again, the same machine goes off no sooner."""
    return max(on_at, call.after("power off", state.power_ons))


def _soft_power_off(state: FakeNode, call: Call) -> FakeNode:
    if state.on_at is None or state.off_at is not None:
        return state
    attempt = state.soft_power_offs + 1
    pressed_once = altered(state, soft_power_offs=attempt)
    if call.soft_power_off_ignored:
        return pressed_once
    if state.loader_at is None or call.now < state.loader_at:
        # Before a system has taken the power button over, the chipset itself cuts the power.
        return altered(pressed_once, off_at=_cut_at(state, state.on_at, call))
    if state.running_at is None or call.pace.soft_power_off_ignored(call.node, attempt):
        return pressed_once
    return altered(pressed_once, off_at=call.after("soft power off", attempt))


def _wipe(state: FakeNode, effect: Effect, call: Call) -> FakeNode:
    if effect.argument not in set(WipePolicy) or effect.argument == WipePolicy.NONE:
        raise PermanentError(
            f"no wipe level {effect.argument!r}; there are metadata, discard and full"
        )
    if not effect.operation_id:
        raise PermanentError("a wipe needs the operation that its evidence is to name")
    if state.on_at is not None:
        raise TemporaryError("the power is on; disks are wiped while it is off")
    if effect.operation_id in (state.last_wipe, state.wipe_id):
        return state
    attempt = state.wipes + 1
    return altered(
        state,
        wipe_id=effect.operation_id,
        wiped_at=call.after(f"wipe {effect.argument}", attempt),
        wipes=attempt,
        disk_digest="",
    )


def _without_power(state: FakeNode) -> FakeNode:
    return altered(
        state,
        on_at=None,
        off_at=None,
        post_at=None,
        loader_at=None,
        running_at=None,
        installed_at=None,
        digest="",
    )


def _progress(state: FakeNode, now: float) -> BootProgress:
    if state.running_at is not None and state.running_at <= now:
        return BootProgress.OS_RUNNING
    if state.loader_at is not None and state.loader_at <= now:
        return BootProgress.OS_BOOT_STARTED
    if state.post_at is not None and state.post_at <= now:
        return BootProgress.HARDWARE_INITIALIZATION
    return BootProgress.NONE
