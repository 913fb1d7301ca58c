"""How often the served processes died, how long the next start of one waits, and when it is no use to go on."""

from __future__ import annotations

from dataclasses import dataclass, field

GIVE_UP_AFTER = 5
WITHIN = 60.0
"""This many deaths within so many seconds end `tt up`."""
FIRST_WAIT = 0.5
LONGEST_WAIT = 30.0
"""Seconds; a process that dies again waits twice as long each time."""
CALM = 60.0
"""A process that lived this long, seconds, is started at once when it dies."""


@dataclass
class Deaths:
    """The deaths of one family, in seconds of a clock that only goes forward."""

    at: list[float] = field(default_factory=list)
    in_a_row: dict[str, int] = field(default_factory=dict)

    def note(self, name: str, lived: float, now: float) -> float:
        """The process `name` died at `now` having lived `lived` seconds; returns how long its next start waits."""
        self.at = [before for before in self.at if now - before < WITHIN] + [now]
        self.in_a_row[name] = 0 if lived >= CALM else self.in_a_row.get(name, -1) + 1
        again = self.in_a_row[name]
        return 0.0 if again == 0 else min(FIRST_WAIT * 2 ** (again - 1), LONGEST_WAIT)

    def hopeless(self) -> bool:
        """Whether they die faster than anybody could look."""
        return len(self.at) >= GIVE_UP_AFTER
