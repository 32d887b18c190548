"""Hardware interfaces for Ironic itself, loaded by its conductor in the live tests: a machine that
exists in a directory, writes down what was done to it, and fails when a file says so.

Named `rig`, for nodes of the type fake-hardware. Runs in Ironic's environment, never in ours.
"""

import os
import time
from pathlib import Path

from ironic.common import boot_devices, exception, states
from ironic.conductor import utils
from ironic.conf import CONF
from ironic.drivers import base
from ironic.drivers.modules import fake

HOME = Path(os.environ.get("IRONIC_RIG", "/nonexistent"))
BUSY_MAX_S = 120.0
"""How long a machine that nobody healed stays busy."""


def note(book, *words):
    """One line, written whole however many write."""
    descriptor = os.open(HOME / book, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, f"{time.time():.3f} {' '.join(words)}\n".encode())
    finally:
        os.close(descriptor)


def fail_if_told(node, what):
    fault = HOME / "faults" / f"{node.name}.{what}"
    if fault.exists():
        raise exception.InstanceDeployFailure(f"the rig was told to fail: {fault.read_text()}")


class RigPower(fake.FakePower):
    def set_power_state(self, task, power_state, timeout=None):
        note("power.log", task.node.name, power_state)
        super().set_power_state(task, power_state, timeout)


class RigManagement(fake.FakeManagement):
    def get_supported_boot_devices(self, task):
        return [boot_devices.PXE, boot_devices.DISK]

    def set_boot_device(self, task, device, persistent=False):
        super().set_boot_device(task, device, persistent)
        note("boot.log", task.node.name, device)


class RigDeploy(fake.FakeDeploy):
    """Takes its time, and leaves the machine switched on, as real ones do."""

    @base.deploy_step(priority=100)
    def deploy(self, task):
        node = task.node
        note("deploy.log", node.name, "begin")
        utils.node_power_action(task, states.POWER_ON)
        busy_until = time.monotonic() + BUSY_MAX_S
        while (HOME / "faults" / f"{node.name}.busy").exists() and time.monotonic() < busy_until:
            time.sleep(0.1)
        fake.sleep(CONF.fake.deploy_delay)
        fail_if_told(node, "deploy")
        note("deploy.log", node.name, "end")

    def tear_down(self, task):
        note("deploy.log", task.node.name, "torn-down")
        utils.node_power_action(task, states.POWER_OFF)
        return states.DELETED

    def prepare(self, task):
        pass

    def clean_up(self, task):
        pass

    @base.clean_step(priority=0, requires_ramdisk=False)
    def erase_devices_metadata(self, task):
        self._erase(task, "metadata")

    @base.clean_step(priority=0, requires_ramdisk=False)
    def erase_devices_express(self, task):
        self._erase(task, "discard")

    @base.clean_step(priority=10, requires_ramdisk=False)
    def erase_devices(self, task):
        self._erase(task, "full")

    def _erase(self, task, level):
        fail_if_told(task.node, "clean")
        note("erase.log", task.node.name, level)
