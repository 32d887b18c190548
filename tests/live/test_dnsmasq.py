"""What `mw dnsmasq` prints, with the clients that it is for: BIOS and UEFI firmware which knows
nothing of iPXE, on a network that has nothing but a real dnsmasq and the daemon's boot service.

QEMU has no BIOS network ROM but iPXE's, which says so in every DHCP message. So the cable of the
BIOS machine takes those words out, until the machine fetches a loader: to the server it is firmware
like any other, and the ROM does load and start what it is given, as any PXE ROM. The UEFI machine
has no iPXE at all: it is OVMF's own PXE.
"""

from __future__ import annotations

import http.server
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from metalwright.boot.dnsmasq import Network, configuration
from metalwright.lab import power
from metalwright.lab.machine import Machine
from metalwright.model.documents import Metadata, Node
from metalwright.model.hardware import Lifecycle, Nic, NodeSpec
from metalwright.model.report import Phase

from .lab import document
from .machines import MachineFarm, Systems, require_machines
from .machines_lab import POLICY, MachinesLab
from .namespace import ADDRESS, BRIDGE, Cable, Namespace, Wire, program, require_namespace

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]

BOOT_S = 300.0
"""For both machines, from the commit to their reports: a loader that goes through the ROM for each
packet is slow in an emulated processor.
"""

READY_S = 30.0
ANSWER_S = 60.0
SERVICE = f"http://{ADDRESS}:8800"
LEASES = "dhcp-leasefile=/var/lib/misc/metalwright.leases"
LOADERS = Path("/usr/lib/ipxe")
FIRMWARE = Path("/usr/share/OVMF")
BIOS_ADDRESS, UEFI_ADDRESS = "10.77.0.11", "10.77.0.12"
MEMORY_UEFI_MIB = "320"

IPXE = (175, b"\xb0\x01\x01")
LAB_MAC = "52:54:00:4c:61:{:02x}"
STRANGER = "52:54:00:99:99:99"


@pytest.fixture(scope="module", autouse=True)
def parts() -> None:
    """Skips, or fails in CI, where a component is missing."""
    require_machines()
    needed = {
        "dnsmasq-base": program("dnsmasq") is not None,
        "ipxe": (LOADERS / "undionly.kpxe").exists(),
        "ovmf": (FIRMWARE / "OVMF_CODE_4M.fd").exists(),
        "iproute2": program("ip") is not None,
    }
    missing = [name for name, there in needed.items() if not there]
    if missing:
        said = f"not installed: {', '.join(missing)}"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(said)
    require_namespace()


@pytest.fixture
def network() -> Iterator[Namespace]:
    require_namespace()
    with Namespace() as made:
        yield made


@pytest.fixture
def stack(network: Namespace) -> Iterator[ExitStack]:
    del network  # what is opened in it is closed before it
    with ExitStack() as opened:
        yield opened


class Dnsmasq:
    """dnsmasq with a configuration, in the network of this thread, and what it says."""

    def __init__(self, directory: Path, configuration: str) -> None:
        assert LEASES in configuration
        made = directory / "dnsmasq.conf"
        made.write_text(configuration.replace(LEASES, f"dhcp-leasefile={directory / 'leases'}"))
        self._log = directory / "dnsmasq.log"
        tool = program("dnsmasq")
        assert tool is not None
        command = [tool, f"--conf-file={made}", "--keep-in-foreground", "--log-facility=-"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, "--log-dhcp", "--pid-file"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        self.wait(lambda: "DHCP, IP range" in self.said, "its first words")

    @property
    def said(self) -> str:
        return self._log.read_text(errors="replace")

    def lines(self, *words: str) -> list[str]:
        """The lines that have all of these words."""
        return [line for line in self.said.splitlines() if all(word in line for word in words)]

    def ignored(self, mac: str) -> bool:
        """Whether it has said that it does not answer this machine."""
        return any(line.endswith("ignored") for line in self.lines("DHCPDISCOVER", mac))

    def wait(self, reached: Callable[[], bool], what: str, timeout_s: float = READY_S) -> None:
        until = time.monotonic() + timeout_s
        while not reached():
            assert self._process.poll() is None, self.said
            assert time.monotonic() < until, f"no {what}:\n{self.said[-6000:]}"
            time.sleep(0.05)

    def __enter__(self) -> Dnsmasq:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._process.kill()
        self._process.wait(timeout=READY_S)


class Disguise:
    """Takes iPXE's own options out of the DHCP messages of a machine, until it fetches a loader."""

    def __init__(self) -> None:
        self.over = False
        self.changed = 0

    def __call__(self, frame: bytes) -> bytes:
        port = _udp_port(frame)
        if port == 69:
            self.over = True
        if port != 67 or self.over:
            return frame
        head = 14 + (frame[14] & 15) * 4
        plain, at = bytearray(frame), head + 8 + 240
        while at < len(frame) and frame[at] != 255:
            size = 1 if frame[at] == 0 else 2 + frame[at + 1]
            if frame[at] in (77, 175):  # the user class, and iPXE's encapsulated options
                plain[at : at + size] = bytes(size)
                self.changed += 1
            at += size
        plain[head + 6 : head + 8] = b"\0\0"  # no checksum
        return bytes(plain)


def _udp_port(frame: bytes) -> int:
    """The port that a UDP packet of IPv4 is for, 0 for anything else."""
    if len(frame) < 42 or frame[12:14] != b"\x08\x00" or frame[23] != 17:
        return 0
    head = 14 + (frame[14] & 15) * 4
    return int.from_bytes(frame[head + 2 : head + 4], "big")


def test_firmware_that_knows_nothing_of_ipxe_boots_what_git_says(
    tmp_path: Path, systems: Systems, network: Namespace, stack: ExitStack
) -> None:
    farm = stack.enter_context(MachineFarm(2, tmp_path / "farm", f"{SERVICE}/boot.ipxe"))
    lab = _lab(tmp_path / "lab", farm, systems)
    stack.callback(lab.close)
    disguise = Disguise()
    cable = stack.enter_context(Cable("bios", 1, disguise))
    _rewire(farm[0], cable.netdev)
    network.tap("uefi")
    _rewire(farm[1], "tap,ifname=uefi,script=no,downscript=no", uefi=True)
    ranges = ("10.77.0.100,10.77.0.200,1h", "fd00:77::,ra-only,64,1h")
    printed = lab.mw("dnsmasq", *(f"--range={each}" for each in ranges), "--interface", BRIDGE)
    assert printed.returncode == 0, printed.stderr
    dnsmasq = stack.enter_context(Dnsmasq(tmp_path, printed.stdout))
    assert lab.mw("adopt", "*").returncode == 0
    lab.start()
    lab.wants("red", "n01", "n02")
    lab.wait(lambda: lab.runs("red", "n01", "n02"), BOOT_S, "red on both")

    assert disguise.changed >= 4, "a DISCOVER and a REQUEST without iPXE's words"
    for index, (address, loader) in enumerate(
        ((BIOS_ADDRESS, "undionly.kpxe"), (UEFI_ADDRESS, "ipxe.efi"))
    ):
        machine, name = farm[index], lab.name(index)
        assert f"sent {LOADERS / loader} to {address}" in dnsmasq.said
        given = {line.split()[-3] for line in dnsmasq.lines("DHCPACK", machine.mac)}
        assert given == {address}, "its firmware, iPXE and its system got the declared address"
        assert "/boot.ipxe... ok" in machine.console
        assert lab.console(index) == ["red"]
        heard, applied = lab.heard()[name].report, lab.applied(name)
        assert heard.phase is Phase.RUNNING
        assert applied is not None
        assert applied.target.template is not None
        assert heard.template_digest == applied.target.template.digest
    assert "PXE-NBP" in farm[0].console, "the ROM started the loader that was sent"
    assert "using undionly" in farm[0].console
    assert "using virtio-net" not in farm[1].console, "there is no ROM of iPXE"


def test_uefi_that_boots_by_http_gets_ipxe_from_the_web_server(
    tmp_path: Path, network: Namespace, stack: ExitStack
) -> None:
    machine = Machine(
        home=tmp_path / "m1", number=1, port=623, username="", password="", boot_url=""
    )
    machine.build()
    stack.callback(machine.close)
    network.tap("uefi")
    _rewire(machine, "tap,ifname=uefi,script=no,downscript=no", uefi=True)
    _add(machine, "-fw_cfg", "name=opt/org.tianocore/IPv4PXESupport,string=n")
    _add(machine, "-fw_cfg", "name=opt/org.tianocore/IPv6Support,string=n")
    web = stack.enter_context(_Web(8800))
    nodes = {"n1": _node("n1", machine.mac, address=BIOS_ADDRESS)}
    dnsmasq = stack.enter_context(
        Dnsmasq(tmp_path, _printed(nodes, loaders_url=f"{SERVICE}/loaders"))
    )
    power.switch_on(machine.home)
    dnsmasq.wait(lambda: "/boot.ipxe" in web.asked, "question for the first script", BOOT_S)
    assert web.asked[0] == "/loaders/ipxe.efi"
    assert dnsmasq.lines("sent /") == [], "nothing went by TFTP"


def test_only_declared_machines_are_answered_each_by_what_it_is(
    tmp_path: Path, network: Namespace, stack: ExitStack
) -> None:
    del network
    two = (Nic(mac=LAB_MAC.format(2)), Nic(mac=LAB_MAC.format(3), boot=True))
    nodes = {
        "n1": _node("n1", LAB_MAC.format(1), address=BIOS_ADDRESS),
        "n2": _node("n2", "", nics=two, address=UEFI_ADDRESS),
        "old": _node("old", LAB_MAC.format(4), lifecycle=Lifecycle.RETIRED),
    }
    loaders_url = f"{SERVICE}/loaders"
    dnsmasq = stack.enter_context(Dnsmasq(tmp_path, _printed(nodes, loaders_url=loaders_url)))
    wire = stack.enter_context(Wire("probe"))
    script = f"{SERVICE}/boot.ipxe"
    for architecture, ipxe, file in (
        (0, False, "undionly.kpxe"), (7, False, "ipxe.efi"), (9, False, "ipxe.efi"),
        (11, False, "ipxe-arm64.efi"), (0, True, script), (7, True, script), (11, True, script),
        (16, False, f"{loaders_url}/ipxe.efi"), (16, True, script),
    ):  # fmt: skip
        offer = _offer(wire, LAB_MAC.format(1), architecture, ipxe=ipxe)
        assert offer is not None, dnsmasq.said
        assert (offer.address, offer.file) == (BIOS_ADDRESS, file), (architecture, ipxe)
        assert (offer.vendor_class == "HTTPClient") == (architecture == 16 and not ipxe)
        assert (b"\xb0\x01\x01" in offer.options.get(175, b"")) == ipxe
    first, boots = (_offer(wire, mac, 0, ipxe=False) for mac in (two[0].mac, two[1].mac))
    assert first is not None
    assert first.address.rpartition(".")[2] in [str(number) for number in range(100, 201)]
    assert boots is not None
    assert boots.address == UEFI_ADDRESS
    for mac in (STRANGER, LAB_MAC.format(4)):
        assert _offer(wire, mac, 0, ipxe=False, ignored=lambda m=mac: dnsmasq.ignored(m)) is None


def test_nothing_is_left_of_a_network_whose_test_failed() -> None:
    here = Path("/proc/thread-self/ns/net")
    before = here.stat().st_ino
    with pytest.raises(RuntimeError, match="failed"), Namespace() as network:  # noqa: PT012
        network.tap("tap1")
        assert here.stat().st_ino != before
        left = subprocess.Popen(["sleep", "600"])
        assert network.processes() == [left.pid]
        raise RuntimeError("failed")
    assert here.stat().st_ino == before
    assert left.wait(timeout=READY_S) == -9
    assert network.processes() == []
    assert not Path("/sys/class/net/tap1").exists()


class Offer:
    """A DHCPOFFER, as RFC 2131 and RFC 2132 lay it out."""

    def __init__(self, message: bytes) -> None:
        self.address = ".".join(str(byte) for byte in message[16:20])
        self.options: dict[int, bytes] = {}
        at = 240
        while at < len(message) and message[at] != 255:
            if message[at]:
                size = message[at + 1]
                self.options[message[at]] = message[at + 2 : at + 2 + size]
                at += 1 + size
            at += 1
        named = self.options.get(67) or message[108:236]
        self.file = named.rstrip(b"\0").decode()
        self.vendor_class = self.options.get(60, b"").decode()


def _offer(
    wire: Wire,
    mac: str,
    architecture: int,
    *,
    ipxe: bool,
    ignored: Callable[[], bool] | None = None,
) -> Offer | None:
    """What a machine of this kind is offered; `None` once the server says that it ignores it."""
    kind = "HTTPClient" if architecture == 16 else "PXEClient"
    options = {
        53: b"\1",
        55: bytes((1, 3, 43, 60, 66, 67, 175)),
        60: f"{kind}:Arch:{architecture:05}:UNDI:003000".encode(),
        93: architecture.to_bytes(2, "big"),
    }
    options |= {175: IPXE[1], 77: b"iPXE"} if ipxe else {}
    number = os.urandom(4)
    until = time.monotonic() + ANSWER_S
    while time.monotonic() < until:
        wire.send(_discover(mac, number, options))
        while frame := wire.receive(1.0):
            if _udp_port(frame) == 68 and frame[46:50] == number:
                return Offer(frame[42:])
        if ignored is not None and ignored():
            return None
    raise AssertionError("the server neither answers nor says that it does not")


def _discover(mac: str, number: bytes, options: dict[int, bytes]) -> bytes:
    hardware = bytes.fromhex(mac.replace(":", ""))
    said = b"".join(bytes((code, len(value))) + value for code, value in options.items())
    message = b"\1\1\6\0" + number + b"\0\0\x80\0" + bytes(16) + hardware + bytes(202)
    message += b"\x63\x82\x53\x63" + said + b"\xff"
    udp = bytes((0, 68, 0, 67)) + (8 + len(message)).to_bytes(2, "big") + b"\0\0" + message
    head = b"\x45\0" + (20 + len(udp)).to_bytes(2, "big") + bytes(4) + b"\x40\x11"
    addresses = bytes(4) + b"\xff" * 4
    total = sum(int.from_bytes((head + addresses)[at : at + 2], "big") for at in range(0, 18, 2))
    total = (total & 0xFFFF) + (total >> 16)
    checksum = (~((total & 0xFFFF) + (total >> 16)) & 0xFFFF).to_bytes(2, "big")
    return b"\xff" * 6 + hardware + b"\x08\0" + head + checksum + addresses + udp


class _Web:
    """A web server with iPXE below /loaders and a script that ends there; it notes who asks."""

    def __init__(self, port: int) -> None:
        self.asked: list[str] = []
        asked = self.asked

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                asked.append(self.path)
                self._answer(send=True)

            def do_HEAD(self) -> None:
                self._answer(send=False)

            def _answer(self, *, send: bool) -> None:
                name = self.path.rpartition("/")[2]
                script = b"#!ipxe\nsleep 600\n"
                body = script if name == "boot.ipxe" else (LOADERS / name).read_bytes()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if send:
                    self.wfile.write(body)

            def log_message(self, *arguments: object) -> None:
                pass

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, request: object, client_address: object) -> None:
                """Firmware resets its connections when it has what it wanted."""

        self._server = Server((ADDRESS, port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> _Web:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _lab(home: Path, farm: MachineFarm, systems: Systems) -> MachinesLab:
    """A lab whose boot service is on the bridge, and whose machines have addresses there."""
    lab = MachinesLab(home, farm, systems, 8800)
    settings = lab.config.read_text().replace("http://10.0.2.2:8800", SERVICE)
    lab.config.write_text(settings.replace("127.0.0.1:8800", f"{ADDRESS}:8800"))
    timeouts = {"boot": f"{BOOT_S:.0f}s", "softPowerOff": "10s", "powerOff": "15s"}
    lab.write("policy.yaml", document("Policy", "lab", POLICY | {"timeouts": timeouts}))
    lab.declare(0, address=BIOS_ADDRESS)
    lab.declare(1, address=UEFI_ADDRESS, bootMode="uefi")
    lab.commit("Their addresses")
    return lab


def _node(name: str, mac: str, **more: object) -> Node:
    given = {"driver": "ipmi", "nics": (Nic(mac=mac),) if mac else (), **more}
    return Node(metadata=Metadata(name=name), spec=NodeSpec(**given))  # type: ignore[arg-type]


def _printed(nodes: dict[str, Node], *, loaders_url: str) -> str:
    network = Network(
        ranges=("10.77.0.100,10.77.0.200,1h",), interface=BRIDGE, loaders_url=loaders_url
    )
    return configuration(nodes, SERVICE, network, "c" * 40)


def _rewire(machine: Machine, netdev: str, *, uefi: bool = False) -> None:
    """Connect a machine otherwise than the lab does; with UEFI, without a ROM of iPXE."""
    path = machine.home / "machine.json"
    command: list[str] = json.loads(path.read_text())["command"]
    for at, word in enumerate(command):
        if word.startswith("user,"):
            command[at] = f"{netdev},id=net0"
        elif word.startswith("virtio-net-pci,") and uefi:
            command[at] = f"{word},romfile=,bootindex=1"
    path.write_text(json.dumps({"command": command}))
    if not uefi:
        return
    variables = machine.home / "variables.fd"
    shutil.copyfile(FIRMWARE / "OVMF_VARS_4M.fd", variables)
    code = FIRMWARE / "OVMF_CODE_4M.fd"
    _add(machine, "-drive", f"if=pflash,format=raw,readonly=on,file={code}")
    _add(machine, "-drive", f"if=pflash,format=raw,file={variables}", "-m", MEMORY_UEFI_MIB)


def _add(machine: Machine, *words: str) -> None:
    path = machine.home / "machine.json"
    command: list[str] = json.loads(path.read_text())["command"]
    path.write_text(json.dumps({"command": [*command, *words]}))
