"""The Redfish driver against a service that does what real ones do and the emulator does not."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.live.redfish_farm import write_secret

from metalwright.drivers.credentials import Credentials, Secrets, SecretsDownError
from metalwright.drivers.redfish import RedfishDriver
from metalwright.drivers.secrets_values import SecretError
from metalwright.errors import (
    CredentialsError,
    DriverError,
    NotBegunError,
    NotSupportedError,
    PermanentError,
    SettingsError,
    TemporaryError,
)
from metalwright.model.documents import Metadata, Node
from metalwright.model.hardware import Bmc, BmcProtocol, BootMode, NodeSpec
from metalwright.model.observed import BootDevice, Health, Power
from metalwright.model.operation import Effect

from .contract import BOOT_FROM, POWER_OFF, POWER_ON, SOFT_POWER_OFF
from .redfish_bmc import (
    PASSWORD,
    USERNAME,
    Answer,
    RedfishBmc,
    Request,
    make_certificate,
    refusal,
)

TIMEOUT_S, PATIENCE_S, MARGIN_S = 20.0, 1.5, 1.0
PXE = BOOT_FROM[BootDevice.PXE]


@pytest.fixture
def bmc() -> Iterator[RedfishBmc]:
    with RedfishBmc() as running:
        yield running


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    return write_secret(tmp_path / "secrets", USERNAME, PASSWORD)


@pytest.fixture
def driver(secrets: Path) -> Iterator[RedfishDriver]:
    found = RedfishDriver(Secrets(secrets, {}))
    yield found
    found.close()


def node(bmc: RedfishBmc, name: str = "n1", **changes: Any) -> Node:
    boot_mode = changes.pop("boot_mode", BootMode.UEFI)
    where = {"port": bmc.port, "credentials": "bmc/redfish", "protocol": BmcProtocol.HTTP}
    place = Bmc(address="127.0.0.1", **{**where, **changes})
    spec = NodeSpec(driver="redfish", bmc=place, boot_mode=boot_mode)
    return Node(metadata=Metadata(name=name), spec=spec)


def on(method: str, path: str, answer: Callable[[Request], Answer | None] | Answer) -> Any:
    """A rule for the requests of a method whose paths end like this."""

    def rule(request: Request) -> Answer | None:
        if request.method != method or not request.path.endswith(path):
            return None
        return answer if isinstance(answer, Answer) else answer(request)

    return rule


def hang(_request: Request) -> Answer:
    time.sleep(30)
    return Answer(500)


# --- what is read ------------------------------------------------------------------------------


def test_a_reading_has_what_the_service_tells(bmc: RedfishBmc, driver: RedfishDriver) -> None:
    reading = driver.observe(node(bmc), TIMEOUT_S)
    assert (reading.power, reading.boot_device) == (Power.OFF, None)
    assert reading.health is Health.WARNING
    assert reading.identity.serial == "SN-1"
    assert reading.identity.system_uuid == "00000000-0000-4000-8000-000000000049"
    assert reading.identity.macs == ("52:54:00:aa:00:01", "52:54:00:aa:00:02")


def test_interfaces_are_read_once_and_again_for_another_machine(
    bmc: RedfishBmc, driver: RedfishDriver
) -> None:
    driver.observe(node(bmc), TIMEOUT_S)
    assert driver.observe(node(bmc), TIMEOUT_S).identity.macs
    assert bmc.count("GET", "EthernetInterfaces/a") == 1
    bmc.systems["1"]["SerialNumber"] = "SN-swapped"
    bmc.systems["1"]["_parts"]["EthernetInterfaces/a"]["MACAddress"] = "52:54:00:aa:00:07"
    assert "52:54:00:aa:00:07" in driver.observe(node(bmc), TIMEOUT_S).identity.macs


def test_interfaces_that_cannot_be_read_leave_a_reading(
    bmc: RedfishBmc, driver: RedfishDriver
) -> None:
    bmc.rules.append(on("GET", "EthernetInterfaces/b", refusal(500, "sorry")))
    reading = driver.observe(node(bmc), TIMEOUT_S)
    assert (reading.power, reading.identity.macs) == (Power.OFF, ())
    bmc.rules.clear()
    assert len(driver.observe(node(bmc), TIMEOUT_S).identity.macs) == 2


def test_one_of_several_systems_is_named(driver: RedfishDriver) -> None:
    with RedfishBmc("a", "b") as bmc:
        assert driver.observe(node(bmc, system="b"), TIMEOUT_S).identity.serial == "SN-b"
        with pytest.raises(PermanentError, match=r"2 systems, a, b: spec\.bmc\.system"):
            driver.observe(node(bmc), TIMEOUT_S)
        with pytest.raises(PermanentError, match=r"no system c .* only a, b"):
            driver.observe(node(bmc, system="c"), TIMEOUT_S)
        driver.apply(node(bmc, "nb", system="b"), POWER_ON, TIMEOUT_S)
        assert [bmc.systems[name]["PowerState"] for name in "ab"] == ["Off", "On"]


def test_a_service_that_tells_of_no_system_may_be_starting(
    bmc: RedfishBmc, driver: RedfishDriver
) -> None:
    bmc.rules.append(on("GET", "/Systems", Answer(body={"Members": []})))
    with pytest.raises(TemporaryError, match="may be starting"):
        driver.observe(node(bmc), TIMEOUT_S)


# --- sessions ----------------------------------------------------------------------------------


def test_one_session_serves_every_call_and_is_ended_at_the_close(
    bmc: RedfishBmc, driver: RedfishDriver
) -> None:
    for _ in range(3):
        driver.observe(node(bmc), TIMEOUT_S)
    driver.apply(node(bmc), POWER_ON, TIMEOUT_S)
    assert (bmc.logins, len(bmc.tokens)) == (1, 1)
    driver.close()
    assert bmc.tokens == {}, "also where the service tells its place by another address"


@pytest.mark.parametrize("effect", [None, POWER_ON, PXE])
def test_a_session_that_has_ended_costs_one_login_and_nothing_is_done_twice(
    bmc: RedfishBmc, driver: RedfishDriver, effect: Effect | None
) -> None:
    driver.observe(node(bmc), TIMEOUT_S)
    bmc.tokens.clear()
    if effect is None:
        assert driver.observe(node(bmc), TIMEOUT_S).power is Power.OFF
    else:
        driver.apply(node(bmc), effect, TIMEOUT_S)
        assert bmc.count("POST", "Reset") + bmc.count("PATCH") == 1
    assert bmc.logins == 2


def test_a_session_that_is_never_good_is_given_up(bmc: RedfishBmc, driver: RedfishDriver) -> None:
    bmc.rules.append(on("GET", "/Systems/1", refusal(401, "who are you?")))
    with pytest.raises(CredentialsError):
        driver.observe(node(bmc), TIMEOUT_S)
    assert bmc.logins == 1


def test_a_rotated_secret_opens_a_new_session_and_ends_the_old_one(
    bmc: RedfishBmc, driver: RedfishDriver, secrets: Path
) -> None:
    driver.observe(node(bmc), TIMEOUT_S)
    bmc.password = "Rotated-pass-9"
    write_secret(secrets, USERNAME, bmc.password)
    driver.observe(node(bmc), TIMEOUT_S)
    assert (bmc.logins, list(bmc.tokens.values())) == (2, ["token-2"])


def test_without_sessions_each_request_carries_the_password(
    bmc: RedfishBmc, driver: RedfishDriver
) -> None:
    bmc.has_sessions = False
    assert driver.observe(node(bmc), TIMEOUT_S).power is Power.OFF
    assert not any("Authorization" in each.headers for each in bmc.requests[:1]), "the root"
    bmc.password = "changed"
    before = bmc.logins
    with pytest.raises(CredentialsError):
        driver.observe(node(bmc), TIMEOUT_S)
    assert bmc.logins == before + 1


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_session_service_that_is_switched_off_is_not_a_refusal(
    bmc: RedfishBmc, driver: RedfishDriver, status: int
) -> None:
    bmc.rules.append(on("POST", "/Sessions", refusal(status, "off")))
    assert driver.observe(node(bmc), TIMEOUT_S).power is Power.OFF


@pytest.mark.parametrize(
    "answer",
    [
        refusal(401, f"{USERNAME} with {PASSWORD}"),
        refusal(403, f"{USERNAME} with {PASSWORD}"),
        refusal(400, f"{PASSWORD}", "iLO.2.15.UnauthorizedLoginAttempt"),
    ],
)
def test_a_refused_login_is_tried_once_and_shows_no_secret(
    bmc: RedfishBmc, driver: RedfishDriver, answer: Answer
) -> None:
    bmc.rules.append(on("POST", "/Sessions", answer))
    with pytest.raises(CredentialsError, match="refused the user name") as caught:
        driver.apply(node(bmc), POWER_ON, TIMEOUT_S)
    seen: BaseException | None = caught.value
    while seen is not None:
        assert PASSWORD not in f"{seen} {seen!r}"
        seen = seen.__cause__ or seen.__context__
    assert bmc.logins == 1


def test_a_refusal_ends_the_tries_for_all_nodes_of_the_service_until_the_secret_changes(
    driver: RedfishDriver, secrets: Path
) -> None:
    with RedfishBmc("a", "b", "c") as bmc:
        bmc.password = "other"
        nodes = [node(bmc, f"n{name}", system=name) for name in "abc"]
        for each in (*nodes, *nodes):
            with pytest.raises(CredentialsError):
                driver.observe(each, TIMEOUT_S)
            with pytest.raises(CredentialsError):
                driver.apply(each, POWER_ON, TIMEOUT_S)
        assert bmc.logins == 1, "three would lock the account"
        write_secret(secrets, USERNAME, "other")
        for each in nodes:
            assert driver.observe(each, TIMEOUT_S).power is Power.OFF
        assert bmc.logins == 2
        assert driver.alerts() == ()


@pytest.mark.parametrize("sessions", [True, False])
def test_a_refused_login_is_an_alert_and_is_tried_once_more_when_somebody_says_that_it_was_mended(
    bmc: RedfishBmc, driver: RedfishDriver, *, sessions: bool
) -> None:
    bmc.has_sessions, right = sessions, bmc.password
    bmc.password = "other"
    for tries in (1, 2):
        for _ in range(3):
            with pytest.raises(CredentialsError):
                driver.observe(node(bmc), TIMEOUT_S)
        assert bmc.logins == tries
        (alert,) = driver.alerts()
        assert "bmc/redfish" in alert
        assert f"BMC 127.0.0.1:{bmc.port}" in alert
        assert PASSWORD not in alert
        driver.rearm()
        assert driver.alerts() == ()
    bmc.password = right
    assert driver.observe(node(bmc), TIMEOUT_S).power is Power.OFF
    assert driver.alerts() == ()


def test_wrong_credentials_of_one_system_do_not_count_for_those_of_another() -> None:
    class Both:
        def get(self, ref: str) -> Credentials:
            password = PASSWORD if ref == "bmc/redfish" else "wrong"
            return Credentials(username=USERNAME, password=password, version=password)

    driver = RedfishDriver(Both())
    with RedfishBmc("a", "b") as bmc:
        bad, good = (
            node(bmc, f"n{system}", system=system, credentials=reference)
            for system, reference in (("a", "bmc/wrong"), ("b", "bmc/redfish"))
        )
        for _ in range(3):
            with pytest.raises(CredentialsError):
                driver.observe(bad, TIMEOUT_S)
            assert driver.observe(good, TIMEOUT_S).power is Power.OFF
        assert bmc.logins == 2
    driver.close()


def test_what_is_for_one_boot_only_is_so_also_where_others_are_for_good(
    bmc: RedfishBmc, secrets: Path
) -> None:
    driver = RedfishDriver(Secrets(secrets, {}), boot_override="Continuous")
    for effect, enabled in ((PXE, "Continuous"), (replace(PXE, once=True), "Once")):
        driver.apply(node(bmc), effect, TIMEOUT_S)
        assert bmc.systems["1"]["Boot"]["BootSourceOverrideEnabled"] == enabled
    driver.close()


def test_the_look_up_of_credentials_is_part_of_the_time_of_a_call(
    bmc: RedfishBmc, secrets: Path
) -> None:
    found = Secrets(secrets, {})

    class Slow:
        def get(self, ref: str) -> Credentials:
            time.sleep(PATIENCE_S)
            return found.get(ref)

    driver = RedfishDriver(Slow())
    with pytest.raises(NotBegunError, match="all of the time"):
        driver.observe(node(bmc), PATIENCE_S)
    bmc.rules.append(hang)
    began = time.monotonic()
    with pytest.raises(TemporaryError):
        driver.observe(node(bmc), 2 * PATIENCE_S)
    assert time.monotonic() - began < 2 * PATIENCE_S + MARGIN_S
    driver.close()


@pytest.mark.parametrize(
    "answer",
    [refusal(503, "busy"), refusal(400, "x", "Base.1.5.SessionLimitExceeded")],
)
def test_full_session_slots_pass(bmc: RedfishBmc, driver: RedfishDriver, answer: Answer) -> None:
    bmc.rules.append(on("POST", "/Sessions", answer))
    with pytest.raises(TemporaryError):
        driver.observe(node(bmc), TIMEOUT_S)
    assert bmc.logins == 1


# --- power and boot device ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "power"),
    [
        *(("On", Power.ON), ("Off", Power.OFF), ("PoweringOff", Power.ON)),
        *(("PoweringOn", Power.ON), (None, Power.UNKNOWN), ("Sleepy", Power.UNKNOWN)),
    ],
)
def test_only_off_is_off(
    bmc: RedfishBmc, driver: RedfishDriver, state: str | None, power: Power
) -> None:
    bmc.systems["1"]["PowerState"] = state
    assert driver.observe(node(bmc), TIMEOUT_S).power is power


@pytest.mark.parametrize(
    ("offered", "effect", "sent"),
    [
        (["ForceOn", "PushPowerButton"], POWER_ON, "ForceOn"),
        (["On", "ForceOn"], POWER_ON, "On"),
        (["ForceOff", "GracefulShutdown"], POWER_OFF, "ForceOff"),
        (["ForceOff", "GracefulShutdown"], SOFT_POWER_OFF, "GracefulShutdown"),
        (["PushPowerButton", "PowerCycle"], POWER_OFF, None),
        (["ForceOff", "GracefulRestart"], SOFT_POWER_OFF, None),
    ],
)
def test_only_resets_that_set_a_level_are_sent(
    bmc: RedfishBmc, driver: RedfishDriver, offered: list[str], effect: Effect, sent: str | None
) -> None:
    found = bmc.systems["1"]
    found["PowerState"] = "Off" if effect is POWER_ON else "On"
    found["Actions"]["#ComputerSystem.Reset"]["ResetType@Redfish.AllowableValues"] = offered
    if sent is None:
        with pytest.raises(NotSupportedError, match="it offers no"):
            driver.apply(node(bmc), effect, TIMEOUT_S)
        assert bmc.count("POST", "Reset") == 0
    else:
        driver.apply(node(bmc), effect, TIMEOUT_S)
        assert [each.body for each in bmc.requests if each.path.endswith("Reset")] == [
            {"ResetType": sent}
        ]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (refusal(400, "no", "Base.1.8.ActionParameterValueNotInList"), NotSupportedError),
        (refusal(400, "no"), PermanentError),
        (refusal(404, "no"), PermanentError),
    ],
)
def test_only_a_reset_that_the_service_does_not_have_is_not_supported(
    bmc: RedfishBmc, driver: RedfishDriver, answer: Answer, kind: type
) -> None:
    bmc.systems["1"]["PowerState"] = "On"
    bmc.rules.append(on("POST", "Reset", answer))
    with pytest.raises(PermanentError) as caught:
        driver.apply(node(bmc), SOFT_POWER_OFF, TIMEOUT_S)
    assert type(caught.value) is kind


@pytest.mark.parametrize(
    ("error", "kind"), [(SecretsDownError, NotBegunError), (SecretError, PermanentError)]
)
def test_a_secret_that_cannot_be_had_now_may_be_had_later(
    bmc: RedfishBmc, error: type[Exception], kind: type
) -> None:
    class Down:
        def get(self, ref: str) -> Credentials:
            raise error(f"credentials {ref} (vault): it cannot be asked")

    driver = RedfishDriver(Down())
    with pytest.raises(DriverError, match="it cannot be asked") as caught:
        driver.apply(node(bmc), SOFT_POWER_OFF, TIMEOUT_S)
    driver.close()
    assert type(caught.value) is kind
    assert bmc.requests == []


def test_a_task_is_begun_and_its_end_is_seen_by_observing(
    bmc: RedfishBmc, driver: RedfishDriver
) -> None:
    task = {"Id": "7", "TaskState": "Running", "Name": "reset"}
    headers = {"Location": "/redfish/v1/TaskService/TaskMonitors/7"}
    bmc.rules.append(on("POST", "Reset", Answer(202, task, headers)))
    began = time.monotonic()
    driver.apply(node(bmc), POWER_ON, TIMEOUT_S)
    assert time.monotonic() - began < TIMEOUT_S / 2
    assert bmc.count("GET", "/7") == 0, "an action never waits"
    assert driver.observe(node(bmc), TIMEOUT_S).power is Power.OFF
    bmc.systems["1"]["PowerState"] = "On"
    assert driver.observe(node(bmc), TIMEOUT_S).power is Power.ON


@pytest.mark.parametrize("status", [400, 409, 503])
def test_a_refusal_of_what_has_come_about_is_success(
    bmc: RedfishBmc, driver: RedfishDriver, status: int
) -> None:
    def refuse(_request: Request) -> Answer:
        bmc.systems["1"]["PowerState"] = "On"
        return refusal(status, "it is on already")

    bmc.rules.append(on("POST", "Reset", refuse))
    driver.apply(node(bmc), POWER_ON, TIMEOUT_S)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (refusal(409, "the power is being switched off"), TemporaryError),
        (refusal(400, "SYS518: not ready"), TemporaryError),
        (refusal(400, "no"), PermanentError),
        (refusal(403, "no"), CredentialsError),
        (refusal(404, "no"), PermanentError),
        (refusal(500, "oops"), TemporaryError),
        (Answer(503), TemporaryError),
        (Answer(418, "no object"), PermanentError),
    ],
)
def test_a_refusal_is_told_apart_and_never_sent_again(
    bmc: RedfishBmc, driver: RedfishDriver, answer: Answer, error: type[Exception]
) -> None:
    bmc.rules.append(on("POST", "Reset", answer))
    with pytest.raises(error) as caught:
        driver.apply(node(bmc), POWER_ON, TIMEOUT_S)
    assert type(caught.value) is error
    assert f"HTTP {answer.status}" in str(caught.value)
    assert bmc.count("POST", "Reset") == 1


def test_the_boot_device_is_for_once_with_its_mode_and_never_written_twice(
    bmc: RedfishBmc, driver: RedfishDriver
) -> None:
    for _ in range(2):
        driver.apply(node(bmc), PXE, TIMEOUT_S)
    assert [each.body for each in bmc.requests if each.method == "PATCH"] == [
        {"Boot": {"BootSourceOverrideTarget": "Pxe", "BootSourceOverrideEnabled": "Once"}}
    ]
    assert driver.observe(node(bmc), TIMEOUT_S).boot_device is BootDevice.PXE
    driver.apply(node(bmc, boot_mode=BootMode.BIOS), PXE, TIMEOUT_S)
    assert bmc.systems["1"]["Boot"]["BootSourceOverrideMode"] == "Legacy"


def test_supermicro_is_told_the_mode_every_time(bmc: RedfishBmc, driver: RedfishDriver) -> None:
    bmc.systems["1"]["Manufacturer"] = "Supermicro"
    driver.apply(node(bmc), PXE, TIMEOUT_S)
    [patch] = [each.body for each in bmc.requests if each.method == "PATCH"]
    assert patch["Boot"]["BootSourceOverrideMode"] == "UEFI"


def test_a_boot_device_can_be_chosen_for_good(bmc: RedfishBmc, secrets: Path) -> None:
    driver = RedfishDriver(Secrets(secrets, {}), boot_override="Continuous")
    driver.apply(node(bmc), PXE, TIMEOUT_S)
    assert bmc.systems["1"]["Boot"]["BootSourceOverrideEnabled"] == "Continuous"
    driver.close()
    with pytest.raises(SettingsError, match="Once or Continuous"):
        RedfishDriver(Secrets(secrets, {}), boot_override="Twice")


def test_an_older_state_is_read_again_once(bmc: RedfishBmc, driver: RedfishDriver) -> None:
    def somebody_else(request: Request) -> None:
        if bmc.count("PATCH") == 1:
            bmc.etags["1"] += 1

    bmc.rules.append(on("PATCH", "/1", somebody_else))
    driver.apply(node(bmc), PXE, TIMEOUT_S)
    assert bmc.count("PATCH") == 2
    assert bmc.systems["1"]["Boot"]["BootSourceOverrideTarget"] == "Pxe"


def test_a_state_that_never_holds_still_passes(bmc: RedfishBmc, driver: RedfishDriver) -> None:
    bmc.rules.append(on("PATCH", "/1", refusal(412, "another one by now")))
    with pytest.raises(TemporaryError, match="412"):
        driver.apply(node(bmc), PXE, TIMEOUT_S)
    assert bmc.count("PATCH") == 2


def test_a_weak_etag_is_made_strong(bmc: RedfishBmc, driver: RedfishDriver) -> None:
    def strict(request: Request) -> Answer | None:
        wrong = request.headers.get("If-Match", "").startswith("W/")
        return refusal(412, "strongly") if wrong else None

    def weak(_request: Request) -> Answer:
        return Answer(body=bmc.systems["1"], headers={"ETag": 'W/"1"'})

    bmc.rules += [on("PATCH", "/1", strict), on("GET", "/Systems/1", weak)]
    driver.apply(node(bmc), PXE, TIMEOUT_S)
    assert [r.headers.get("If-Match") for r in bmc.requests if r.method == "PATCH"] == [
        'W/"1"',
        '"1"',
    ]


# --- silence, nonsense and certificates ---------------------------------------------------------


def test_a_command_without_an_answer_is_sent_once(bmc: RedfishBmc, driver: RedfishDriver) -> None:
    driver.observe(node(bmc), TIMEOUT_S)
    bmc.rules.append(on("POST", "Reset", hang))
    began = time.monotonic()
    with pytest.raises(TemporaryError) as caught:
        driver.apply(node(bmc), POWER_ON, PATIENCE_S)
    assert time.monotonic() - began < PATIENCE_S + MARGIN_S
    assert isinstance(caught.value.__cause__, TimeoutError)
    assert bmc.count("POST", "Reset") == 1


def test_an_answer_that_trickles_ends_in_time(bmc: RedfishBmc, driver: RedfishDriver) -> None:
    driver.observe(node(bmc), TIMEOUT_S)
    bmc.trickle_s = 0.2
    began = time.monotonic()
    with pytest.raises(TemporaryError):
        driver.observe(node(bmc), PATIENCE_S)
    assert time.monotonic() - began < PATIENCE_S + MARGIN_S


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n[1,2",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n[1,2]",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: -7\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 1_000,
        b"HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\n" + b" " * 5_000_000,
        b"HTTP/1.1 302 Found\r\nLocation: /redfish/v1/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: https://127.0.0.1/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 999 \xff\r\nContent-Length: 0\r\n\r\n",
    ],
)
@pytest.mark.parametrize("session", [False, True])
def test_nonsense_is_an_error_of_ours_and_passes(
    bmc: RedfishBmc, driver: RedfishDriver, raw: bytes, session: bool
) -> None:
    if session:
        driver.observe(node(bmc), TIMEOUT_S)
    bmc.raw = raw
    for call in (
        lambda: driver.observe(node(bmc), PATIENCE_S * 2),
        lambda: driver.apply(node(bmc), POWER_ON, PATIENCE_S * 2),
    ):
        with pytest.raises((TemporaryError, PermanentError)) as caught:
            call()
        assert not isinstance(caught.value, CredentialsError)
        assert str(caught.value).startswith(f"BMC 127.0.0.1:{bmc.port}: ")
    bmc.raw = None
    assert driver.observe(node(bmc), TIMEOUT_S).power is Power.OFF


def test_links_never_lead_to_another_address(bmc: RedfishBmc, driver: RedfishDriver) -> None:
    elsewhere = {"Members": [{"@odata.id": "http://192.0.2.1:9/redfish/v1/Systems/1"}]}
    bmc.rules.append(on("GET", "/Systems", Answer(body=elsewhere)))
    assert driver.observe(node(bmc), TIMEOUT_S).identity.serial == "SN-1"


def test_proxies_of_the_environment_are_not_for_bmcs(
    bmc: RedfishBmc, driver: RedfishDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://192.0.2.1:9")
    assert driver.observe(node(bmc), TIMEOUT_S).power is Power.OFF


def test_nobody_listening_is_temporary(driver: RedfishDriver) -> None:
    with RedfishBmc() as gone:
        pass
    with pytest.raises(TemporaryError, match="Connection refused"):
        driver.observe(node(gone), TIMEOUT_S)


def test_a_name_that_does_not_resolve_is_temporary(driver: RedfishDriver, bmc: RedfishBmc) -> None:
    lost = Bmc(address="no-such-bmc.invalid", credentials="bmc/redfish")
    spec = NodeSpec(driver="redfish", bmc=lost)
    with pytest.raises(TemporaryError, match=r"no-such-bmc\.invalid:443"):
        driver.observe(Node(metadata=Metadata(name="n1"), spec=spec), TIMEOUT_S)


def test_a_certificate_has_to_be_signed_by_a_known_authority(tmp_path: Path, secrets: Path) -> None:
    ours, theirs = make_certificate(tmp_path, "ours"), make_certificate(tmp_path, "theirs")
    with RedfishBmc(certificate=ours) as bmc:
        https = node(bmc, protocol=BmcProtocol.HTTPS)
        for authority in (None, theirs[0]):
            wary = RedfishDriver(Secrets(secrets, {}), ca_file=authority)
            with pytest.raises(PermanentError, match=r"not to be trusted.*verifyCa: false"):
                wary.observe(https, TIMEOUT_S)
            wary.close()
        assert bmc.requests == [], "a stranger gets no password"
        trusting = RedfishDriver(Secrets(secrets, {}), ca_file=ours[0])
        assert trusting.observe(https, TIMEOUT_S).power is Power.OFF
        trusting.apply(https, POWER_ON, TIMEOUT_S)
        trusting.close()
        careless = RedfishDriver(Secrets(secrets, {}), ca_file=theirs[0])
        node_of_lab = node(bmc, protocol=BmcProtocol.HTTPS, verify_ca=False)
        assert careless.observe(node_of_lab, TIMEOUT_S).power is Power.ON
        careless.close()


def test_http_to_https_and_back_is_told(bmc: RedfishBmc, driver: RedfishDriver) -> None:
    with pytest.raises(TemporaryError, match="TLS failed"):
        driver.observe(node(bmc, protocol=BmcProtocol.HTTPS), TIMEOUT_S)


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_authorities_that_cannot_be_read_are_a_wrong_setting(
    tmp_path: Path, secrets: Path, content: str | None
) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(SettingsError, match=r"drivers\.redfish\.ca_file .*ca\.pem"):
        RedfishDriver(Secrets(secrets, {}), ca_file=file)


# --- bounds ------------------------------------------------------------------------------------


def test_one_service_has_one_connection_whoever_calls(driver: RedfishDriver) -> None:
    with RedfishBmc("a", "b") as bmc:
        nodes = [node(bmc, f"n{name}", system=name) for name in "ab"] * 6
        with ThreadPoolExecutor(len(nodes)) as executor:
            found = list(executor.map(lambda each: driver.observe(each, TIMEOUT_S), nodes))
        assert [each.power for each in found] == [Power.OFF] * len(nodes)
        assert bmc.connections_most <= 2, "the next one may come before the last one has gone"
        assert bmc.logins == 1


def test_a_call_does_not_wait_for_ever_behind_another(
    bmc: RedfishBmc, driver: RedfishDriver
) -> None:
    driver.observe(node(bmc), TIMEOUT_S)
    bmc.rules.append(on("POST", "Reset", hang))
    sent = ThreadPoolExecutor(1)
    slow = sent.submit(driver.apply, node(bmc), POWER_ON, PATIENCE_S * 2)
    time.sleep(0.3)
    began = time.monotonic()
    with pytest.raises(TemporaryError, match="busy with another call"):
        driver.observe(node(bmc), PATIENCE_S)
    assert time.monotonic() - began < PATIENCE_S
    assert isinstance(slow.exception(), TemporaryError)
    sent.shutdown()


def test_the_close_does_not_wait_for_the_silent(bmc: RedfishBmc, driver: RedfishDriver) -> None:
    driver.observe(node(bmc), TIMEOUT_S)
    bmc.rules.append(on("DELETE", "", hang))
    began = time.monotonic()
    driver.close()
    assert time.monotonic() - began < 7.0


def test_without_sushy_it_says_what_to_install(secrets: Path) -> None:
    script = """
import sys
sys.modules["sushy"] = None
from pathlib import Path
from metalwright.drivers.credentials import Secrets
from metalwright.drivers.registry import open_drivers
from metalwright.model.documents import Metadata, Node
from metalwright.model.hardware import Bmc, NodeSpec
driver = open_drivers({}, Secrets(Path(sys.argv[1]), {}), None)["redfish"]
bmc = Bmc(address="127.0.0.1", credentials="bmc/redfish")
try:
    driver.observe(Node(metadata=Metadata(name="n"), spec=NodeSpec(driver="redfish", bmc=bmc)), 1)
except Exception as error:
    print(type(error).__name__, error)
"""
    shown = subprocess.run(
        [sys.executable, "-c", script, str(secrets)], capture_output=True, text=True, check=True
    )
    assert shown.stdout == (
        "PermanentError BMC 127.0.0.1:443: sushy is missing: pip install 'metalwright[redfish]'\n"
    )
