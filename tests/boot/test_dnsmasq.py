"""The DHCP configuration: dnsmasq takes it, and only declared machines are in it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from metalwright.boot.dnsmasq import DnsmasqError, Network, configuration
from metalwright.model.hardware import Nic

from .boot_world import MAC, OTHER_MAC, a_node

URL = "http://10.20.0.2:8800"
NETWORK = Network(
    ranges=("10.20.0.100,10.20.0.200,1h", "fd00::,ra-only,64,1h"),
    loaders_url="http://10.20.0.2/ipxe",
)


def nodes() -> dict[str, object]:
    two = (Nic(mac="52:54:00:00:00:0a"), Nic(mac=OTHER_MAC, boot=True))
    return {
        "n1": a_node("n1", MAC, address="10.20.0.11"),
        "n_2.lab": a_node("n_2.lab", nics=two, address="n2.lab.example"),
        "old": a_node("old", "52:54:00:00:00:0b", lifecycle="retired"),
        "six": a_node("six", "52:54:00:00:00:0c", address="fd00::1"),
    }


def text(network: Network = NETWORK) -> str:
    return configuration(nodes(), URL, network, "c" * 40)  # type: ignore[arg-type]


def test_declared_machines_are_in_it_and_no_others() -> None:
    lines = text().splitlines()
    hosts = [line for line in lines if line.startswith("dhcp-host=")]
    assert hosts == [
        f"dhcp-host={MAC},10.20.0.11,n1",
        "dhcp-host=52:54:00:00:00:0a",
        f"dhcp-host={OTHER_MAC}",
        "dhcp-host=52:54:00:00:00:0c,[fd00::1],six",
    ]
    assert "dhcp-ignore=tag:!known" in lines
    assert f"dhcp-boot=tag:ipxe,{URL}/boot.ipxe" in lines
    assert "dhcp-boot=tag:bios,tag:!ipxe,undionly.kpxe" in lines
    assert "dhcp-boot=tag:http,tag:!ipxe,http://10.20.0.2/ipxe/ipxe.efi" in lines
    assert "HTTPClient" not in text(Network(ranges=("10.0.0.0,static",)))


@pytest.mark.live
@pytest.mark.parametrize("network", [NETWORK, Network(ranges=("10.0.0.0,static",), interface="lo")])
def test_dnsmasq_takes_it(tmp_path: Path, network: Network) -> None:
    program = shutil.which("dnsmasq", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        said = "dnsmasq is not installed: apt-get install dnsmasq-base"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(said)
    made = tmp_path / "dnsmasq.conf"
    made.write_text(text(network))
    done = subprocess.run(
        [program, "--test", f"--conf-file={made}"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr.strip()) == (0, "dnsmasq: syntax check OK.")


@pytest.mark.parametrize(
    "network",
    [
        Network(ranges=("10.0.0.1\ndhcp-script=/bin/sh",)),
        Network(ranges=("10.0.0.1,10.0.0.9",), loaders_dir="/srv\nuser=root"),
        Network(ranges=("10.0.0.1,10.0.0.9",), interface="eth0 #"),
    ],
)
def test_nothing_else_gets_into_it(network: Network) -> None:
    with pytest.raises(DnsmasqError):
        text(network)
