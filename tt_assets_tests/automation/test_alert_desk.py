"""Alerts reach the log at once and the webhook at its rate, and nobody who raises one waits or fails."""

from __future__ import annotations

import json
import multiprocessing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tt_assets.automation import alert_desk
from tt_assets.automation.alert_desk import FIRST_WAIT, LONGEST_MESSAGE, TRIES, Alert, AlertDesk, AlertKind
from tt_assets.settings import Settings
from tt_assets_tests.automation.receivers import receiver

FAILED, CHECK, STALE = AlertKind.RUN_FAILURE, AlertKind.FAILING_CHECK, AlertKind.STALE_DATA


@dataclass
class Clock:
    now: float = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def desk_in(home: Path, url: str | None, clock: Clock, interval: float = 100.0) -> AlertDesk:
    """A new desk each time, as after a restart: everything it knows is on disk."""
    return AlertDesk(home / "logs" / "alerts.log", home / "alerts.sqlite", url, interval, clock=clock)


def logged(home: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (home / "logs" / "alerts.log").read_text("utf-8").splitlines()]


def test_every_alert_is_a_line_of_the_log_without_any_webhook(tmp_path: Path, clock: Clock) -> None:
    desk = desk_in(tmp_path, None, clock)
    desk.take(Alert(FAILED, "one\nover two lines: σ", "http://ui/runs/1"))
    desk.take(Alert(STALE, "two"))
    desk.deliver()
    desk.deliver_soon()
    assert logged(tmp_path) == [
        {
            "at": "2023-11-14T22:13:20+00:00",
            "kind": "run failure",
            "message": "one\nover two lines: σ",
            "link": "http://ui/runs/1",
        },
        {"at": "2023-11-14T22:13:20+00:00", "kind": "stale data", "message": "two"},
    ]
    assert not (tmp_path / "alerts.sqlite").exists()


def test_a_message_names_the_kind_the_matter_and_the_link(tmp_path: Path, clock: Clock) -> None:
    with receiver() as here:
        desk = desk_in(tmp_path, here.url, clock)
        desk.take(Alert(FAILED, "Run 1a2b failed.", "http://ui/runs/1a2b"))
        desk.deliver()
    (text,) = here.texts
    assert text.startswith("tt_assets on ")
    assert text.endswith(": run failure. Run 1a2b failed. http://ui/runs/1a2b")


def test_an_alert_that_is_not_urgent_stays_in_the_log(tmp_path: Path, clock: Clock) -> None:
    with receiver() as here:
        desk = desk_in(tmp_path, here.url, clock)
        desk.take(Alert(CHECK, "warns", urgent=False))
        desk.deliver()
    assert here.texts == []
    assert len(logged(tmp_path)) == 1


def test_of_a_kind_one_message_goes_out_in_an_interval_and_the_next_says_how_many_were_held_back(
    tmp_path: Path, clock: Clock
) -> None:
    with receiver() as here:
        for number in range(4):
            desk_in(tmp_path, here.url, clock).take(Alert(FAILED, f"failure {number}"))
        desk_in(tmp_path, here.url, clock).take(Alert(STALE, "another kind has a rate of its own"))
        desk_in(tmp_path, here.url, clock).deliver()
        assert [text.partition(". ")[2] for text in here.texts] == ["failure 0", "another kind has a rate of its own"]

        clock.now += 99.9
        desk_in(tmp_path, here.url, clock).take(Alert(FAILED, "failure 4"))
        desk_in(tmp_path, here.url, clock).deliver()
        assert len(here.texts) == 2

        clock.now += 0.1
        desk_in(tmp_path, here.url, clock).take(Alert(FAILED, "failure 5"))
        desk_in(tmp_path, here.url, clock).deliver()
    assert "failure 5 (4 more since the last message; " in here.texts[2]
    assert len(here.texts) == 3
    assert len([line for line in logged(tmp_path) if line["kind"] == "run failure"]) == 6


def test_what_was_held_back_is_said_even_when_nothing_new_happens(tmp_path: Path, clock: Clock) -> None:
    with receiver() as here:
        desk = desk_in(tmp_path, here.url, clock)
        for number in range(3):
            desk.take(Alert(FAILED, f"failure {number}", f"http://ui/{number}"))
        desk.deliver()
        assert len(here.texts) == 1
        clock.now += 100
        desk.deliver()
        assert here.texts[1].endswith("run failure. 2 were held back; the latest: failure 2 http://ui/2")
        clock.now += 1000
        desk.deliver()
    assert len(here.texts) == 2


def test_no_interval_sends_everything_in_order(tmp_path: Path, clock: Clock) -> None:
    with receiver() as here:
        desk = desk_in(tmp_path, here.url, clock, interval=0)
        for number in range(5):
            desk.take(Alert(FAILED, f"failure {number}"))
        desk.deliver()
    assert [text[-1] for text in here.texts] == ["0", "1", "2", "3", "4"]


def test_a_receiver_in_trouble_is_tried_again_later_each_time_after_a_longer_wait(tmp_path: Path, clock: Clock) -> None:
    with receiver(500) as here:
        desk_in(tmp_path, here.url, clock).take(Alert(FAILED, "x"))
        waits = []
        for number in range(1, TRIES):
            desk_in(tmp_path, here.url, clock).deliver()
            assert len(here.texts) == number
            wait = FIRST_WAIT * 2 ** (number - 1)
            clock.now += wait - 0.1
            desk_in(tmp_path, here.url, clock).deliver()
            assert len(here.texts) == number, "tried before its time"
            clock.now += 0.1
            waits.append(wait)
        here.code = 200
        desk_in(tmp_path, here.url, clock).deliver()
        assert len(here.texts) == TRIES
        clock.now += 10_000
        desk_in(tmp_path, here.url, clock).deliver()
    assert len(here.texts) == TRIES
    assert waits == sorted(waits)
    assert [line["kind"] for line in logged(tmp_path)] == ["run failure"]


@pytest.mark.parametrize(("code", "tries"), [(500, TRIES), (404, 1)])
def test_a_receiver_that_will_not_take_it_is_given_up_with_a_line_that_hides_the_address(
    tmp_path: Path, clock: Clock, code: int, tries: int
) -> None:
    with receiver(code) as here:
        desk_in(tmp_path, here.url, clock).take(Alert(FAILED, "the one message"))
        for _ in range(TRIES + 3):
            desk_in(tmp_path, here.url, clock).deliver()
            clock.now += 10_000
    assert len(here.texts) == tries
    _, last = logged(tmp_path)
    assert last["kind"] == "webhook"
    assert f"HTTP {code}" in last["message"]
    assert f"tried {tries} of {TRIES}" in last["message"]
    assert "TT_ALERT_WEBHOOK" in last["message"]
    assert "the one message" in last["message"]
    assert "s3cr3t" not in (tmp_path / "logs" / "alerts.log").read_text()


def test_a_pause_the_receiver_asks_for_is_kept(tmp_path: Path, clock: Clock) -> None:
    with receiver(429, Retry_After="3600") as here:
        desk = desk_in(tmp_path, here.url, clock)
        desk.take(Alert(FAILED, "x"))
        desk.deliver()
        clock.now += 3599
        desk.deliver()
        assert len(here.texts) == 1
        clock.now += 1
        desk.deliver()
        assert len(here.texts) == 2


def test_behind_a_message_that_is_not_taken_the_others_wait_and_then_go_out(tmp_path: Path, clock: Clock) -> None:
    with receiver(500) as here:
        desk = desk_in(tmp_path, here.url, clock)
        desk.take(Alert(FAILED, "a"))
        desk.take(Alert(STALE, "b"))
        desk.deliver()
        assert len(here.texts) == 1
        here.code = 200
        clock.now += FIRST_WAIT
        desk.deliver()
    assert [text[-1] for text in here.texts] == ["a", "a", "b"]


def test_whoever_was_killed_while_sending_has_used_up_one_try(tmp_path: Path, clock: Clock) -> None:
    def killed(url: str, text: str) -> None:
        raise SystemExit

    dying = AlertDesk(tmp_path / "a.log", tmp_path / "alerts.sqlite", "http://x", 100, clock=clock, post=killed)  # type: ignore[arg-type]
    dying.take(Alert(FAILED, "x"))
    for _ in range(TRIES - 1):
        with pytest.raises(SystemExit):
            dying.deliver()
        clock.now += 10_000
    with receiver() as here:
        desk_in(tmp_path, here.url, clock).deliver()
        desk_in(tmp_path, here.url, clock).deliver()
    assert len(here.texts) == 1


def test_a_receiver_that_hangs_keeps_nobody_waiting(tmp_path: Path, clock: Clock) -> None:
    with receiver(silent=True) as here:
        desk = desk_in(tmp_path, here.url, clock)
        desk.take(Alert(FAILED, "x"))
        desk.deliver_soon()
        assert here.arrived.wait(30)  # the message is at the receiver, which does not answer
        for number in range(20):
            desk.take(Alert(STALE, f"y {number}"))
            desk.deliver_soon()  # one thread at a time: these do not pile up
        assert not here.released.is_set()
        assert len(logged(tmp_path)) == 21
        assert len(here.texts) == 1
    _wait_for_delivery()


def test_two_desks_that_deliver_at_once_send_a_message_once(tmp_path: Path, clock: Clock) -> None:
    with receiver(silent=True) as here:
        first, second = desk_in(tmp_path, here.url, clock), desk_in(tmp_path, here.url, clock)
        first.take(Alert(FAILED, "x"))
        first.deliver_soon()
        assert here.arrived.wait(30)
        second.deliver()  # as another process would, while the first one waits for its answer
        assert len(here.texts) == 1
    _wait_for_delivery()


def test_many_processes_share_the_log_and_the_rate(tmp_path: Path, clock: Clock) -> None:
    with receiver() as here:
        processes = [
            multiprocessing.get_context("spawn").Process(target=_raise_many, args=(tmp_path, here.url, name))
            for name in "ab"
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join(120)
            assert process.exitcode == 0
        clock.now += 1_000_000_000
        desk_in(tmp_path, here.url, clock).deliver()
    assert len(logged(tmp_path)) == 2 * 50
    assert len(here.texts) == 2
    assert "99 were held back" in here.texts[1] or "99 were held back" in here.texts[0]


def _raise_many(home: Path, url: str, name: str) -> None:
    desk = AlertDesk(home / "logs" / "alerts.log", home / "alerts.sqlite", url, 1e9)
    for number in range(50):
        desk.take(Alert(FAILED, f"{name} {number}"))


def test_the_log_is_turned_over_before_it_grows_large(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alert_desk, "LOG_BYTES", 2_000)
    desk = desk_in(tmp_path, None, clock)
    for number in range(200):
        desk.take(Alert(FAILED, f"failure {number:03} {'x' * 100}"))
    files = sorted((tmp_path / "logs").iterdir())
    assert len(files) == alert_desk.LOGS_KEPT + 1
    assert all(file.stat().st_size <= 2_000 for file in files)
    assert logged(tmp_path)[-1]["message"].startswith("failure 199")


def test_a_long_message_is_cut_for_the_webhook_and_keeps_its_link(tmp_path: Path, clock: Clock) -> None:
    with receiver() as here:
        desk = desk_in(tmp_path, here.url, clock)
        desk.take(Alert(FAILED, "x" * 50_000, "http://ui/runs/1"))
        desk.deliver()
    assert len(here.texts[0]) <= LONGEST_MESSAGE
    assert here.texts[0].endswith("x… http://ui/runs/1")
    assert logged(tmp_path)[0]["message"] == "x" * 50_000


def test_an_outbox_that_cannot_be_read_is_said_in_the_log(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "alerts.sqlite").write_text("no database at all, but long enough to be taken for one" * 100)
    with receiver() as here:
        desk = desk_in(tmp_path, here.url, clock)
        desk.take(Alert(FAILED, "x"))
        desk.deliver()
    assert here.texts == []
    assert [line["kind"] for line in logged(tmp_path)] == ["run failure", "webhook", "webhook"]
    assert "alerts.sqlite" in logged(tmp_path)[1]["message"]


def test_a_log_that_cannot_be_written_stops_nothing(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "logs").write_text("a file where the folder should be")
    with receiver() as here:
        desk = desk_in(tmp_path, here.url, clock)
        desk.take(Alert(FAILED, "the message"))
        desk.deliver()
    assert len(here.texts) == 1
    assert "the message" in caplog.text


def test_the_desk_of_a_home_follows_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver() as here:
        monkeypatch.setenv("TT_ALERT_WEBHOOK", here.url)
        monkeypatch.setenv("TT_ALERT_INTERVAL", "0")
        settings = Settings()
        assert "s3cr3t" not in repr(settings)
        desk = AlertDesk.of(settings)
        desk.take(Alert(FAILED, "1"))
        desk.take(Alert(FAILED, "2"))
        desk.deliver()
    assert len(here.texts) == 2
    assert (settings.home / "logs" / "alerts.log").exists()


def _wait_for_delivery() -> None:
    """The thread of `deliver_soon` is done, so that it does not live on into the next test."""
    assert alert_desk._delivering.acquire(timeout=60)
    alert_desk._delivering.release()
