"""Machines that boot by the boot disc: QEMU with the disc in its drive, in BIOS and in UEFI mode;
and the whole line, where the BMC (the emulator of sushy-tools) is told to show it. Nothing of it
finds the boot service by its network card's firmware.
"""

from __future__ import annotations

import contextlib
import functools
import http.server
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from metalwright.boot.images import ImageCache
from metalwright.boot.limits import BootLimits
from metalwright.boot.media import build, open_disc
from metalwright.boot.server import BootServer, bind
from metalwright.inventory import check_directory
from metalwright.lab import system
from metalwright.model.desired import Holder, Target
from metalwright.model.documents import Metadata, Node
from metalwright.model.frozen import FrozenDict
from metalwright.model.hardware import Nic, NodeSpec
from metalwright.model.inventory import Commit, Inventory, ResolvedTemplate, Source
from metalwright.model.operation import Applied, EffectKind
from metalwright.model.report import Phase
from metalwright.model.template import Artifact, ImageSpec, Method
from metalwright.model.tenancy import PowerState
from metalwright.store import Store

from .lab import document
from .machines import Systems, free_port, service_url
from .machines_lab import POLICY, MachinesLab
from .redfish_farm import basic
from .redfish_machines import PASSWORD, PYTHON, USERNAME, RedfishMachines

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]

BOOT_S = 150.0
"""For one machine, from its power-on to its report; on a quiet computer it is a tenth of that."""

DOWNLOAD_S = 300.0
NOW = datetime(2026, 11, 20, 8, tzinfo=UTC)
MAC, UUID = "52:54:00:4c:62:01", "5d1e0000-0000-4000-8000-000000000001"
FIRMWARE = Path("/usr/share/OVMF")
IPXE = Path("/usr/lib/ipxe")
NEEDED = {
    "/usr/bin/xorriso": "xorriso",
    "/usr/bin/mformat": "mtools",
    "/usr/lib/ISOLINUX/isolinux.bin": "isolinux",
    "/usr/lib/ipxe/ipxe.lkrn": "ipxe",
    str(FIRMWARE / "OVMF_CODE_4M.fd"): "ovmf",
}
POOL = """\
import libvirt, sys
pool = libvirt.open(sys.argv[1]).storagePoolDefineXML(
    f'<pool type="dir"><name>default</name><target><path>{sys.argv[2]}</path></target></pool>'
)
pool.create()
"""


def absent(words: str) -> None:
    """Skip the test; fail where CI promises that all of it is there."""
    (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(words)


@pytest.fixture(scope="module", autouse=True)
def components() -> None:
    missing = [package for path, package in NEEDED.items() if not Path(path).exists()]
    if missing:
        absent(f"not installed: {', '.join(missing)}")


@pytest.fixture(scope="module")
def ipxe() -> Path:
    """A directory with an iPXE that runs a script from a disc in UEFI mode: this computer's, or
    that of the next Debian, of which the package is downloaded once.
    """
    kept = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "metalwright" / "ipxe"
    for directory in (IPXE, kept / "usr" / "lib" / "ipxe"):
        program = directory / "ipxe.efi"
        if program.exists() and b"autoexec.ipxe" in program.read_bytes().replace(b"\0", b""):
            return directory
    try:
        download(kept)
    except (subprocess.SubprocessError, OSError, StopIteration) as error:
        absent(f"no iPXE of 2021 or later: {error}")
    return kept / "usr" / "lib" / "ipxe"


def download(kept: Path) -> None:
    """Unpack Debian 13's iPXE; apt keeps its own lists as they are, and needs no privilege."""
    run = functools.partial(
        subprocess.run, check=True, capture_output=True, text=True, timeout=DOWNLOAD_S
    )
    form = "$(REPO_URI) $(ORIGIN)"
    told = run(["apt-get", "indextargets", "--format", form, "Created-By: Packages"]).stdout
    mirror = next(
        uri
        for uri, _, origin in (line.partition(" ") for line in told.splitlines())
        if origin == "Debian" and "security" not in uri
    )
    part = kept.with_name("ipxe.part")
    shutil.rmtree(part, ignore_errors=True)
    for name in ("lists/partial", "cache/archives/partial"):
        (part / name).mkdir(parents=True)
    key = "/usr/share/keyrings/debian-archive-keyring.gpg"
    (part / "sources.list").write_text(f"deb [signed-by={key}] {mirror} trixie main\n")
    apt = ["apt-get", "-o", f"Dir::Etc::SourceList={part}/sources.list"]
    apt += ["-o", "Dir::Etc::SourceParts=/dev/null", "-o", f"Dir::State::Lists={part}/lists"]
    apt += ["-o", f"Dir::Cache={part}/cache", "-o", "APT::Sandbox::User=root"]
    run([*apt, "update", "-qq"])
    run([*apt, "download", "ipxe"], cwd=part)
    run(["dpkg-deb", "-x", str(next(part.glob("*.deb"))), str(part)])
    for name in ("lists", "cache"):
        shutil.rmtree(part / name)
    shutil.rmtree(kept, ignore_errors=True)
    part.rename(kept)


def wait(reached: Callable[[], bool], what: str, timeout_s: float = BOOT_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not reached():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


# --- the disc itself -----------------------------------------------------------------------------


@contextlib.contextmanager
def service(directory: Path, systems: Systems) -> Iterator[tuple[BootServer, Store, str]]:
    """A boot service with one node, which runs the system `red` and so gets it again."""
    spec = {
        role: Artifact(**found) for role, found in systems.system("red").items()
    }  # fmt: skip
    template = ResolvedTemplate(
        name="red",
        chain=("red",),
        method=Method.NETBOOT,
        image=ImageSpec(**spec),
        kernel_args=system.ARGUMENTS,
        phone_home=True,
        digest="d" * 64,
    )
    target = Target(power=PowerState.ON, template=template, digest=template.digest)
    holder = Holder(kind="Pool", name="ci", owner="lab")
    source = Source(path="pools/ci.yaml", line=1)
    node = Node(
        metadata=Metadata(name="n1"),
        spec=NodeSpec(driver="redfish", nics=(Nic(mac=MAC, boot=True),), system_uuid=UUID),
    )
    commit = Commit(id="c" * 40, author="Ada <ada@lab.example>", subject="x", at=NOW)
    with Store.open(f"sqlite:///{directory}/store.sqlite") as store, bind("127.0.0.1:0") as socket:
        store.claim("the test", NOW)
        applied = Applied(target=target, holder=holder, revision=commit.id, source=source, at=NOW)
        store.adopt({"n1": applied}, "ada", NOW)
        url = service_url(socket.getsockname()[1])
        images = ImageCache(directory / "cache")
        clock = functools.partial(datetime.now, UTC)
        with BootServer(url, store, images, str, clock, BootLimits()) as server:
            nodes = FrozenDict({"n1": node})
            server.follow(Inventory(revision=commit, nodes=nodes, pool_of=FrozenDict(n1="ci")))
            server.start(socket, lambda _node: None, print)
            yield server, store, url


def qemu(directory: Path, disc: Path, firmware: list[str]) -> list[str]:
    """A machine with an empty disk and the disc in its drive. Its network card has no ROM."""
    disk = directory / "disk.raw"
    with disk.open("wb") as file:
        file.truncate(16 << 20)
    return [
        *("qemu-system-x86_64", "-accel", "tcg,tb-size=64", "-cpu", "max", "-m", "256"),
        *("-nodefaults", "-display", "none", "-monitor", "none", "-no-reboot", *firmware),
        *("-netdev", "user,id=net0"),
        *("-device", f"virtio-net-pci,netdev=net0,mac={MAC},romfile="),
        *("-smbios", f"type=1,serial=DISC-1,uuid={UUID}"),
        *("-drive", f"id=disk0,if=none,format=raw,file={disk}", "-device"),
        *("virtio-blk-pci,drive=disk0,serial=D1", "-cdrom", str(disc), "-boot", "d"),
        *("-serial", f"file:{directory / 'console.log'}"),
    ]


@pytest.mark.parametrize("mode", ["bios", "uefi"])
def test_a_machine_boots_by_the_disc_what_its_node_runs(
    mode: str, tmp_path: Path, systems: Systems, request: pytest.FixtureRequest
) -> None:
    uefi = mode == "uefi"
    firmware = ["-machine", "pc,graphics=off"]
    if uefi:
        shutil.copyfile(FIRMWARE / "OVMF_VARS_4M.fd", tmp_path / "vars.fd")
        flash = "if=pflash,format=raw"
        firmware = ["-machine", "q35", "-drive"]
        firmware += [f"{flash},readonly=on,file={FIRMWARE / 'OVMF_CODE_4M.fd'}", "-drive"]
        firmware += [f"{flash},file={tmp_path / 'vars.fd'}"]
    with service(tmp_path, systems) as (_, store, url):
        disc = tmp_path / "boot.iso"
        build(disc, url, request.getfixturevalue("ipxe") if uefi else IPXE, uefi=uefi)
        assert open_disc(disc, url).uefi is uefi
        command = qemu(tmp_path, disc, firmware)
        with (tmp_path / "qemu.log").open("wb") as log:
            machine = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            wait(lambda: "n1" in store.heard(), "its report")
        finally:
            machine.kill()
            machine.wait(10)
            print((tmp_path / "console.log").read_text(errors="replace")[-3_000:])
        report = store.heard()["n1"].report
        assert (report.phase, report.template_digest) == (Phase.RUNNING, "d" * 64)
        assert report.facts is not None
        assert report.facts.system_uuid == UUID
        (served,) = [line.detail for line in store.journal(None, 100) if line.event == "served"]
        assert f"mac={MAC} uuid={UUID} serial=DISC-1" in served
        assert "This is the system red." in (tmp_path / "console.log").read_text(errors="replace")


# --- the whole line ------------------------------------------------------------------------------


class DiscMachines(RedfishMachines):
    """Machines whose network cards are told to boot from nowhere, and whose BMC shows discs."""

    def node_spec(self, index: int, **more: Any) -> dict[str, Any]:
        return super().node_spec(index) | {"bootInterface": "virtual-media"} | more

    def _start_libvirt(self) -> None:
        super()._start_libvirt()
        discs = self.root / "discs"
        discs.mkdir()
        discs.chmod(0o777)  # libvirt's daemon is somebody else where we are root
        done = subprocess.run(
            [PYTHON, "-c", POOL, self.uri, discs],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


@pytest.fixture
def lab(tmp_path: Path, systems: Systems) -> Iterator[MachinesLab]:
    """One machine, its daemon running, with a boot disc that its own command made."""
    port = free_port()
    farm = DiscMachines(1, tmp_path / "farm", f"{service_url(1)}/nowhere")
    made: MachinesLab | None = None
    try:
        farm.__enter__()
        made = MachinesLab(tmp_path / "lab", farm, systems, port)
        patient = {"softPowerOff": "10s", "boot": "500s", "wipe": "500s"}
        policy = POLICY | {"timeouts": patient, "retries": {"attemptsMax": 1}}
        made.write("policy.yaml", document("Policy", "lab", policy))
        made.commit("However slow this computer is")
        disc = tmp_path / "lab" / "boot.iso"
        settings = made.config.read_text()
        url = f'url = "{service_url(port)}"\n'
        more = f'media = "{disc}"\nmedia_url = "http://127.0.0.1:{port}"\n'
        assert url in settings
        made.config.write_text(settings.replace(url, url + more))
        done = made.mw("boot-media", str(disc), "--bios-only")
        assert done.returncode == 0, done.stderr
        assert f"BIOS only, leads to {service_url(port)}/boot.ipxe" in done.stdout
        done = made.mw("adopt", "*")
        assert done.returncode == 0, done.stderr
        made.start()
        yield made
    finally:
        if made is not None:
            made.close()
        farm.close()


@pytest.fixture
def rescue(tmp_path: Path) -> Iterator[str]:
    """The address of somebody else's disc, on which nothing boots."""
    folder = tmp_path / "somebody"
    folder.mkdir()
    (folder / "rescue.iso").write_bytes(bytes(1 << 20))
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/rescue.iso"
    server.shutdown()
    server.server_close()
    thread.join()


def drive(lab: MachinesLab, image: str | None = None) -> str:
    """What the emulator says is in the machine's drive; with `image`, somebody puts that in."""
    import http.client
    import json

    machine = lab.machines[0]
    path = f"/redfish/v1/Systems/{machine.system_uuid}/VirtualMedia/Cd"
    connection = http.client.HTTPConnection("127.0.0.1", machine.port, timeout=60)
    with contextlib.closing(connection):
        headers = basic(USERNAME, PASSWORD)
        if image is not None:
            body = json.dumps({"Image": image})
            place = f"{path}/Actions/VirtualMedia.InsertMedia"
            connection.request("POST", place, body, headers | {"Content-Type": "application/json"})
            answer = connection.getresponse()
            assert answer.status == 204, answer.read()
            answer.read()
        connection.request("GET", path, headers=headers)
        found = json.loads(connection.getresponse().read())
    return str(found["Image"] or "") if found["Inserted"] else ""


def media_events(lab: MachinesLab) -> list[str]:
    return [entry.detail for entry in lab.journal() if entry.event == "media"]


def test_a_commit_decides_what_a_machine_boots_by_the_disc_of_its_bmc(
    lab: MachinesLab, rescue: str
) -> None:
    assert not check_directory(lab.inventory)
    out = "its boot disc was taken out of its virtual CD drive"
    lab.wants("clean", "n01")
    lab.wait(lambda: bool(drive(lab)), BOOT_S, "the disc in the drive")
    image = drive(lab)
    lab.wait(lambda: lab.runs("clean", "n01"), 3 * BOOT_S, "a clean disk, and red")
    lab.wait(lambda: media_events(lab) == [out], BOOT_S, "the disc to be taken out")
    assert drive(lab) == ""
    assert lab.console(0) == ["red"]

    assert drive(lab, rescue) == rescue
    lab.wants("blue", "n01")
    lab.wait(lambda: lab.runs("blue", "n01"), 2 * BOOT_S, "blue")
    other = f"its virtual CD drive had another disc, which was taken out: {rescue}"
    lab.wait(lambda: media_events(lab) == [out, other, out], BOOT_S, "the disc to be taken out")
    assert drive(lab) == ""
    assert lab.console(0) == ["red", "blue"]
    (evidence,) = lab.wipes("n01")
    assert evidence.wipe.verified
    assert lab.plan()[0] == 0

    effects = [entry.effect for entry in lab.journal() if entry.event == "intent" and entry.effect]
    kinds = [each.kind for each in effects]
    assert kinds.count(EffectKind.WIPE) == 1
    assert kinds.count(EffectKind.SET_BOOT_DEVICE) == 2, "told once for each boot, the wipe apart"
    assert [how for _, how in lab.machines[0].switched] == ["on", "off", "on", "off", "on"]
    assert image.endswith(open_disc(lab.home / "boot.iso", service_url(port_of(lab))).name)


def port_of(lab: MachinesLab) -> int:
    """The port of its boot service."""
    line = next(line for line in lab.config.read_text().splitlines() if line.startswith("listen"))
    return int(line.rpartition(":")[2].strip('"'))
