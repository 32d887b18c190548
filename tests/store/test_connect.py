"""The limits of a connection to PostgreSQL."""

from __future__ import annotations

from metalwright.store.connect import connect_arguments

URL = "postgresql+psycopg://db.example/metalwright"


def test_a_peer_that_is_gone_is_given_up_as_soon_in_a_question_as_between_two() -> None:
    found = connect_arguments(URL)
    idle_s = found["keepalives_idle"] + found["keepalives_interval"] * found["keepalives_count"]
    assert found["tcp_user_timeout"] == 1_000 * idle_s == 25_000


def test_what_the_address_says_itself_stays() -> None:
    assert "tcp_user_timeout" not in connect_arguments(f"{URL}?tcp_user_timeout=5000")
