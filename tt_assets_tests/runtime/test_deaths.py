"""How long a process that died waits for its next start, and when it is given up."""

from __future__ import annotations

from tt_assets.runtime.deaths import GIVE_UP_AFTER, LONGEST_WAIT, Deaths


def test_a_process_that_lived_long_starts_at_once_and_one_that_dies_again_waits_ever_longer() -> None:
    deaths = Deaths()
    waits = [deaths.note("daemon", lived, now) for lived, now in ((900, 0), (1, 1), (1, 100), (1, 200), (1, 300))]
    assert waits == [0, 0.5, 1, 2, 4]
    assert deaths.note("daemon", 60, 400) == 0


def test_a_first_death_is_mended_at_once_however_young() -> None:
    assert Deaths().note("webserver", 3, 10) == 0


def test_no_wait_is_longer_than_a_person_would_look() -> None:
    deaths = Deaths()
    assert max(deaths.note("daemon", 0, 1000 * number) for number in range(20)) == LONGEST_WAIT


def test_five_deaths_within_a_minute_are_hopeless_whoever_died_and_five_in_an_hour_are_not() -> None:
    quick, slow = Deaths(), Deaths()
    for number in range(GIVE_UP_AFTER):
        assert not quick.hopeless()
        quick.note(("daemon", "webserver")[number % 2], 0, 10 * number)
        slow.note("daemon", 0, 700 * number)
    assert quick.hopeless()
    assert not slow.hopeless()
