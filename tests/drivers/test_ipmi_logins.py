"""One refused login ends the tries of a version, the former stands in, and people are told."""

from __future__ import annotations

import pytest

from metalwright.drivers.credentials import Credentials
from metalwright.drivers.ipmi_logins import BMCS_MAX, NO_SLOT_PAUSE_S, VERSIONS_MAX, Logins
from metalwright.errors import CredentialsError, TemporaryError

BMC, REF, WORDS = "BMC 192.0.2.1:623", "bmc/a", "it refused the password"


class Clock:
    now = 50.0

    def __call__(self) -> float:
        return self.now


def version(number: int) -> Credentials:
    return Credentials(username="canary-u", password=f"canary-{number}", version=f"v{number}")


V1, V2, V3 = version(1), version(2), version(3)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def logins(clock: Clock) -> Logins:
    return Logins(1_000.0, clock)


def stopped(logins: Logins, current: Credentials, bmc: str = BMC) -> bool:
    try:
        logins.choose(bmc, REF, current)
    except CredentialsError as error:
        told = str(error)
    else:
        return False
    assert REF in told
    assert "canary" not in told
    return True


def test_a_refused_version_is_not_tried_again_until_the_secret_changes(
    logins: Logins, clock: Clock
) -> None:
    assert logins.choose(BMC, REF, V1) is V1
    logins.refused(BMC, REF, V1, WORDS)
    clock.now += 1e9
    assert stopped(logins, V1)
    assert logins.choose("BMC 192.0.2.2:623", REF, V1) is V1, "each BMC has its own accounts"
    assert logins.choose(BMC, REF, V2) is V2
    logins.refused(BMC, REF, V2, WORDS)
    assert stopped(logins, V1)
    assert stopped(logins, V2)


def test_the_former_version_stands_in_for_a_bounded_time(logins: Logins, clock: Clock) -> None:
    logins.accepted(BMC, REF, V1, V1)
    logins.refused(BMC, REF, V2, WORDS)
    assert logins.choose(BMC, REF, V2) is V1
    clock.now += 999
    logins.accepted(BMC, REF, V1, V2)
    assert logins.choose(BMC, REF, V2) is V1
    clock.now += 1
    assert stopped(logins, V2), "using it does not make the time longer"
    assert logins.choose(BMC, REF, V3) is V3


def test_no_time_for_former_credentials_means_none(clock: Clock) -> None:
    logins = Logins(0.0, clock)
    logins.accepted(BMC, REF, V1, V1)
    logins.refused(BMC, REF, V2, WORDS)
    assert stopped(logins, V2)


def test_a_bmc_that_changes_after_the_secret_gets_the_new_version_once_more(
    logins: Logins,
) -> None:
    logins.accepted(BMC, REF, V1, V1)
    logins.refused(BMC, REF, V2, WORDS)
    logins.accepted(BMC, REF, V1, V2)  # it stood in
    logins.refused(BMC, REF, V1, WORDS)  # and now the BMC has changed
    assert logins.choose(BMC, REF, V2) is V2
    logins.refused(BMC, REF, V2, WORDS)
    assert stopped(logins, V2)
    assert stopped(logins, V1)


def test_where_neither_was_taken_there_is_no_more_than_one_try_of_each(logins: Logins) -> None:
    logins.accepted(BMC, REF, V1, V1)
    logins.refused(BMC, REF, V2, WORDS)
    logins.refused(BMC, REF, V1, WORDS)  # it never stood in
    assert stopped(logins, V2)
    assert stopped(logins, V1)


def test_a_taken_version_is_the_good_one_and_ends_the_alert(logins: Logins) -> None:
    logins.accepted(BMC, REF, V1, V1)
    logins.refused(BMC, REF, V2, WORDS)
    assert len(logins.alerts()) == 1
    logins.accepted(BMC, REF, V3, V3)
    assert logins.alerts() == ()
    logins.refused(BMC, REF, version(4), WORDS)
    assert logins.choose(BMC, REF, version(4)) is V3


def test_a_version_that_is_put_back_ends_the_alert(logins: Logins, clock: Clock) -> None:
    logins.accepted(BMC, REF, V1, V1)
    logins.refused(BMC, REF, V2, WORDS)
    logins.accepted(BMC, REF, V1, V2)
    assert len(logins.alerts()) == 1
    logins.accepted(BMC, REF, V1, V1)
    assert logins.alerts() == ()
    clock.now += 10_000
    assert logins.alerts() == ()


def test_alerts_name_reference_and_bmcs_and_no_secret(logins: Logins) -> None:
    for number in range(5):
        logins.refused(f"BMC 192.0.2.{number}:623", REF, V1, WORDS)
    logins.accepted("BMC x:623", "bmc/b", V1, V1)
    logins.refused("BMC x:623", "bmc/b", V2, WORDS)
    first, second = logins.alerts()
    assert first.startswith("credentials bmc/a were refused by BMC 192.0.2.0:623, ")
    assert "and 2 more" in first
    assert second.startswith("the new version of credentials bmc/b was refused by BMC x:623")
    assert "canary" not in first + second + repr(vars(logins))


def test_an_operator_arms_everything_again(logins: Logins) -> None:
    logins.refused(BMC, REF, V1, WORDS)
    logins.full("BMC y:623", REF)
    logins.rearm()
    assert logins.choose(BMC, REF, V1) is V1
    assert logins.choose("BMC y:623", REF, V1) is V1
    assert logins.alerts() == ()


def test_a_bmc_without_a_free_slot_is_left_alone_for_a_while(logins: Logins, clock: Clock) -> None:
    logins.full(BMC, REF)
    with pytest.raises(TemporaryError, match="session slots"):
        logins.choose(BMC, REF, V1)
    clock.now += NO_SLOT_PAUSE_S
    assert logins.choose(BMC, REF, V1) is V1


def test_what_is_remembered_is_bounded(logins: Logins) -> None:
    for number in range(VERSIONS_MAX + 3):
        logins.refused(BMC, REF, version(number), WORDS)
    assert stopped(logins, version(VERSIONS_MAX + 2))
    assert not stopped(logins, version(0))
    for number in range(BMCS_MAX):
        logins.accepted(f"BMC {number}", REF, V1, V1)
    assert not stopped(logins, version(VERSIONS_MAX + 2)), "forgotten, the longest unused first"
