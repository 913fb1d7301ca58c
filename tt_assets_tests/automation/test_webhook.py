"""One message over real sockets: taken, refused, to be tried again, and never a word about the address."""

from __future__ import annotations

import socket

import pytest

from tt_assets.automation.webhook import escaped, masked, post
from tt_assets_tests.automation.receivers import receiver


def test_a_message_arrives_as_slack_expects_it() -> None:
    with receiver() as here:
        assert post(here.url, "prices < 0 & falling → look").taken
    assert here.texts == ["prices &lt; 0 &amp; falling → look"]
    assert here.content_types == ["application/json"]


@pytest.mark.parametrize(
    ("code", "again"), [(500, True), (503, True), (429, True), (408, True), (400, False), (403, False), (404, False)]
)
def test_an_answer_that_is_no_success_says_whether_another_try_may_help(code: int, again: bool) -> None:
    with receiver(code) as here:
        done = post(here.url, "x")
    assert (done.taken, done.again) == (False, again)
    assert str(code) in done.problem
    assert "s3cr3t" not in done.problem


def test_a_receiver_that_asks_for_a_pause_is_heard() -> None:
    with receiver(429, Retry_After="77") as here:
        assert post(here.url, "x").wait == 77
    with receiver(429, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT") as here:
        assert post(here.url, "x").wait == 0


@pytest.mark.parametrize("code", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(code: int) -> None:
    with receiver() as elsewhere, receiver(code, Location=elsewhere.url) as here:
        done = post(here.url, "x")
    assert (done.taken, done.again, elsewhere.texts) == (False, False, [])


def test_a_receiver_that_never_answers_is_left_after_the_time_out() -> None:
    with receiver(silent=True) as here:
        done = post(here.url, "x", timeout=0.2)
        assert not here.released.is_set()
    assert done.again
    assert done.problem == "no answer within 0.2 s"


def test_nobody_listening_is_a_reason_and_no_error() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        done = post(f"http://127.0.0.1:{unused.getsockname()[1]}/s3cr3t", "x")
    assert done.again
    assert "refused" in done.problem


@pytest.mark.parametrize("url", ["http://[::1/s3cr3t", "http://a b/s3cr3t", "s3cr3t", "http://127.0.0.1:99999/s3cr3t"])
def test_an_address_that_is_none_is_a_reason_and_no_error(url: str) -> None:
    done = post(url, "x", timeout=0.2)
    assert not done.taken
    assert done.problem
    assert "s3cr3t" not in done.problem


def test_people_see_only_scheme_and_host() -> None:
    assert masked("https://user:pw@hooks.slack.com:443/services/T0/B0/s3cr3t?x=1") == "https://hooks.slack.com/…"


def test_signs_of_slack_are_escaped_once() -> None:
    assert escaped("a &lt; <b>") == "a &amp;lt; &lt;b&gt;"
