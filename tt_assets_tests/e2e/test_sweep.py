"""A sweep as a person runs it: on the embedded server, cut off by Ctrl-C, taken up again."""

from __future__ import annotations

import json
import signal

import pytest

from tt_assets_tests.e2e.command_line import machine, wait_until

pytestmark = pytest.mark.slow

QUICK = {"TT_SEEDS": "1", "TT_TRAIN_STEPS": "512", "TT_TRAIN_WINDOWS": "1", "TT_TRAIN_ACCOUNTS": "16"}
JUDGED = "SELECT count(*) FROM tt_trial WHERE source = 'sweep' AND judged_at IS NOT NULL"


def test_a_sweep_is_cut_off_taken_up_and_prints_settings():
    with machine(**QUICK) as here:
        filled = here.tt("backfill", "market", "--from", "2011-10-03", "--to", "2012-06-29")
        assert filled.returncode == 0, filled.stderr
        asked = (
            "sweep",
            "--before",
            "2012-07-01",
            "--folds",
            "2",
            "--vary",
            "learning_rate,discount",
            "--study",
            "one",
        )
        unknown = here.tt("sweep")
        assert (unknown.returncode, unknown.stderr.splitlines()[-1][:31]) == (2, "tt: No window of sample was rol")

        begun = here.start(*asked, "--trials", "1000")
        wait_until(lambda: begun.poll() is not None or here.rows(JUDGED)[0][0] >= 1)
        begun.send_signal(signal.SIGINT)
        said = begun.communicate(timeout=120)
        assert begun.returncode == 130, said

        trials = here.rows("SELECT count(*) FROM tt_trial")[0][0] + 1
        ended = here.tt(*asked, "--trials", str(trials), "--json")
        assert ended.returncode == 0, ended.stderr
        found = json.loads(ended.stdout)
        assert len(found["trials"]) == trials
        assert here.rows("SELECT count(*) FROM tt_trial WHERE source = 'sweep'") == [(trials,)]
        again = here.tt(*asked, "--trials", str(trials))
        assert again.stdout.splitlines()[-2:] == found["settings"]
        best = dict(line.split("=") for line in found["settings"])
        assert set(best) == {"TT_LEARNING_RATE", "TT_DISCOUNT"}
        told = {row["variable"]: row for row in json.loads(here.tt("settings", "--json", **best).stdout)}
        assert float(told["TT_LEARNING_RATE"]["value"]) == float(best["TT_LEARNING_RATE"])
