"""The inventory of the lab, and its settings: small enough to be read whole, made to be edited."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from metalwright.lab.machine import HOST_ADDRESS, Machine

SETTINGS = """\
# One installation of Metalwright: the lab on this computer.
repository = "inventory"
branch = "main"
state_dir = "state"
secrets_dir = "secrets"
cycle_interval_s = 5

[boot]
listen = "127.0.0.1:{port}"
url = "{service}"

[observe]
interval_s = 5
busy_interval_s = 1
"""

POLICY = """\
# The limits of this fleet, and the ramdisk that wipes disks and writes images to them.
apiVersion: metalwright/v1
kind: Policy
metadata:
  name: fleet
spec:
  ramdisk: ramdisk
  limits:
    # Two machines at once: as many as this computer boots in comfort.
    fleet: 2
  retries:
    attemptsMax: 3
    backoffMin: 5s
    backoffMax: 30s
  timeouts:
    # The systems of the lab listen to the power button; a ramdisk that wipes does not.
    softPowerOff: 10s
    powerOff: 30s
    boot: 3m
    install: 5m
    wipe: 5m
"""

TEMPLATES = """\
# What a machine can run. `red` and `blue` run from memory and touch no disk; `green` is written to
# the disk and boots from there; `clean` is `red` on a machine whose disk was overwritten before.
---
apiVersion: metalwright/v1
kind: BootTemplate
metadata:
  name: red
spec:
  method: netboot
  image: red
  kernelArgs: [{arguments}]
---
apiVersion: metalwright/v1
kind: BootTemplate
metadata:
  name: blue
spec:
  method: netboot
  image: blue
  kernelArgs: [{arguments}]
---
apiVersion: metalwright/v1
kind: BootTemplate
metadata:
  name: green
spec:
  method: disk
  image: green
  wipe: metadata
---
apiVersion: metalwright/v1
kind: BootTemplate
metadata:
  name: clean
spec:
  extends: red
  wipe: full
"""

POOL = """\
# The machines, and what they run while nobody holds them.
apiVersion: metalwright/v1
kind: Pool
metadata:
  name: lab
spec:
  owner: Lab <lab@example.net>
  nodes: ["{nodes}"]
  resting:
    template: red
  # A machine that somebody else switches off comes back.
  drift: correct
  # A change of template may erase what is on the disks.
  dataLossConsent: true
"""

ASSIGNMENT = """\
# One machine, for somebody who wants {template}.
apiVersion: metalwright/v1
kind: Assignment
metadata:
  name: {name}
spec:
  pool: lab
  nodes: ["{node}"]
  template: {template}
  # An edit of this file is followed at once, not when the assignment ends.
  templateEdits: immediate
  dataLossConsent: true
  owner: Grace <grace@example.net>
"""

_NODE = """\
---
apiVersion: metalwright/v1
kind: Node
metadata:
  name: m{number}
spec:
  driver: ipmi
  bmc:
    address: {host}
    port: {port}
    credentials: bmc/lab
  bootMode: bios
  systemUuid: {system_uuid}
  nics:
    - mac: {mac}
      boot: true
  properties:
    disks:
      - serial: {disk_serial}
"""

_IMAGE = """\
---
apiVersion: metalwright/v1
kind: Image
metadata:
  name: {name}
spec:
"""


def write_inventory(
    directory: Path, machines: Iterable[Machine], images: Mapping[str, Mapping[str, Path]],
    arguments: Iterable[str],
) -> None:  # fmt: skip
    """Write the documents into `directory`, which is made.

    `images` has the files of each image by their part (`kernel`, `initrd`, `disk`); `arguments` are
    the kernel's.
    """
    directory.mkdir(parents=True)
    every = list(machines)
    listed = ", ".join(arguments)
    nodes = f"m[1-{len(every)}]" if len(every) > 1 else "m1"
    texts = {
        "policy.yaml": POLICY,
        "pool.yaml": POOL.format(nodes=nodes),
        "templates.yaml": TEMPLATES.format(arguments=listed),
        "images.yaml": "# The digest makes an image this image and no other.\n"
        + "".join(_image(name, parts) for name, parts in images.items()),
        "nodes.yaml": "# What git knows of each machine: another machine is not touched.\n"
        + "".join(_node(machine) for machine in every),
    }
    for name, text in texts.items():
        (directory / name).write_text(text, encoding="utf-8")


def write_settings(config: Path, port: int, secret: Path, machine: Machine) -> None:
    """Write the settings file, and the secret that opens the BMCs."""
    service = f"http://{HOST_ADDRESS}:{port}"
    config.write_text(SETTINGS.format(port=port, service=service), encoding="utf-8")
    secret.mkdir(parents=True, mode=0o700)
    for name, value in (("username", machine.username), ("password", machine.password)):
        path = secret / name
        path.touch(mode=0o600)
        path.write_text(value, encoding="utf-8")


def _node(machine: Machine) -> str:
    return _NODE.format(
        number=machine.number,
        host=machine.host,
        port=machine.port,
        system_uuid=machine.system_uuid,
        mac=machine.mac,
        disk_serial=machine.disk_serial,
    )


def _image(name: str, parts: Mapping[str, Path]) -> str:
    lines = [_IMAGE.format(name=name)]
    for part, path in parts.items():
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        lines.append(f'  {part}:\n    url: {path.as_uri()}\n    sha256: "{sha256}"\n')
    return "".join(lines)
