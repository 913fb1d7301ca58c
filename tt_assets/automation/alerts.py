"""The sensors that tell a person: a run failed, a check failed, the data is stale.

A sensor only puts an alert on the desk, which cannot fail or wait; what it reads is bounded, and its
cursor moves after the alert is in the log, so that a restart may repeat an alert but never loses one.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from urllib.parse import quote

import dagster as dg

from tt_assets.automation.alert_desk import Alert, AlertDesk, AlertKind
from tt_assets.automation.staleness import Stale, Watch, expected_session, look
from tt_assets.automation.tries import SENSOR_TAG
from tt_assets.errors import UserError
from tt_assets.grid.bars_files import followed
from tt_assets.grid.run_tags import CHECK_FAILED, PARTITION, RANGE_END, RANGE_START, WILL_RETRY
from tt_assets.postgres.database import Database
from tt_assets.runs._dagster import event_records
from tt_assets.runs.database_resource import OpenDatabase
from tt_assets.runs.failures import failure_reasons, in_few_words, named
from tt_assets.settings import Settings

EVALUATIONS_A_TICK = 500


def alert_sensors(settings: Settings, open_database: OpenDatabase) -> list[dg.SensorDefinition]:
    """The three sensors; they start as TT_AUTOMATION says.

    Parameters
    ----------
    settings : webhook, how long a bar may be missing, where things are kept.
    open_database : gives the database when a tick needs it; its errors become the reason of a skipped tick.
    """
    status = dg.DefaultSensorStatus.RUNNING if settings.automation else dg.DefaultSensorStatus.STOPPED

    @dg.run_failure_sensor(
        name="alert_run_failure",
        description="Tells of every run that failed, those of the command line too: log, and TT_ALERT_WEBHOOK.",
        monitor_all_code_locations=True,  # a run of `tt backfill` belongs to none
        minimum_interval_seconds=30,
        default_status=status,
    )
    def alert_run_failure(context: dg.RunFailureSensorContext) -> None:
        """An alert for one failed run."""
        desk = AlertDesk.of(settings)
        desk.take(failed_run(context, ui_address(settings)))
        desk.deliver_soon()

    @dg.sensor(
        name="alert_failing_check",
        description="Tells of failing asset checks: log, and TT_ALERT_WEBHOOK unless the check only warns.",
        minimum_interval_seconds=30,
        default_status=status,
    )
    def alert_failing_check(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        """Alerts for the evaluations since the last tick; the first tick only notes where they end."""
        desk = AlertDesk.of(settings)
        evaluation = dg.DagsterEventType.ASSET_CHECK_EVALUATION
        if not (context.cursor or "").isdigit():
            newest = event_records(context.instance, dg.EventRecordsFilter(evaluation), limit=1)
            context.update_cursor(str(newest[0].storage_id if newest else 0))
            return dg.SkipReason("Watching from here on.")
        records = event_records(
            context.instance,
            dg.EventRecordsFilter(evaluation, after_cursor=int(context.cursor or 0)),
            limit=EVALUATIONS_A_TICK,
            ascending=True,
        )
        alerts = failing_checks(records, ui_address(settings))
        for alert in alerts:
            desk.take(alert)
        # The other sensors may have nothing to say for hours: this one sees to what waits for another try.
        desk.deliver_soon()
        if records:
            context.update_cursor(str(records[-1].storage_id))
        return dg.SkipReason(f"{len(alerts)} failing checks in {len(records)} evaluations.")

    @dg.sensor(
        name="alert_stale_data",
        description="Tells when an active instrument lacks the latest session's bar for more than TT_STALE_AFTER "
        "hours.",
        minimum_interval_seconds=300,
        default_status=status,
    )
    def alert_stale_data(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        """An alert for the instruments that fell behind; once for each session they lack."""
        expected = expected_session(settings)
        if expected is None:
            return dg.SkipReason("No session has closed since TT_START_DATE.")
        try:
            listed = followed(settings).watchlist
            active, stored = listed.symbols, last_sessions(open_database())
        except UserError as error:
            return dg.SkipReason(
                str(error)
            )  # the sensor of the watchlist and the run that needs the database tell of it
        stale, watch = look(
            stored, active, expected, watch_of(context.cursor), time.time(), settings.stale_after * 3600
        )
        if stale.latest:
            desk = AlertDesk.of(settings)
            desk.take(stale_data(stale, len(active), settings.stale_after, ui_address(settings)))
            desk.deliver_soon()
        context.update_cursor(watch.model_dump_json())
        return dg.SkipReason(f"{len(watch.behind)} of {len(active)} instruments are behind {expected}.")

    return [alert_run_failure, alert_failing_check, alert_stale_data]


def failed_run(context: dg.RunFailureSensorContext, address: str) -> Alert:
    """What is to be said of a run that failed.

    Parameters
    ----------
    context : of the failure, as Dagster hands it to a sensor.
    address : the UI's, without a slash at its end; without one the alert has no link.
    """
    run, events = context.dagster_run, context.get_step_failure_events()
    reasons = []
    for event in events:
        partitions, message = failure_reasons(event)
        reasons.append(f"{event.step_key}: {in_few_words(partitions) if partitions else message}")
    what = run.job_name
    if what.startswith("__"):  # Dagster's name for a run of assets that a person chose
        what = named(sorted(key.to_user_string() for key in run.asset_selection or ())) or "assets"
    first, last = run.tags.get(RANGE_START), run.tags.get(RANGE_END)
    where = (f"{first} to {last}" if first != last else first) if first else run.tags.get(PARTITION, "")
    why = "; ".join(reasons) or (context.failure_event.message or "no reason given")
    return Alert(
        AlertKind.RUN_FAILURE,
        f"Run {run.run_id[:8]} of {what} failed{f' over {where}' if where else ''}. {why.rstrip('.')}. "
        f"{_what_to_do(run)}; what landed stays.",
        f"{address}/runs/{run.run_id}" if address else "",
        urgent=not _stopped_by_a_check(events),
    )


def _what_to_do(run: dg.DagsterRun) -> str:
    """The remedy for a failed run; nobody is sent to launch what is launched by itself."""
    if run.tags.get(WILL_RETRY) == "true":
        return "It is made again by itself"
    if SENSOR_TAG in run.tags:
        return "Mend the cause; the sensors ask for it again by themselves, ever more rarely"
    return "Mend the cause and launch it again"


def _stopped_by_a_check(events: Sequence[dg.DagsterEvent]) -> bool:
    """Whether failing checks alone ended the run: each of them is an alert of its own, and a person needs one."""
    errors = [event.step_failure_data.error for event in events]
    return bool(errors) and all(error and error.cls_name == CHECK_FAILED for error in errors)


def failing_checks(records: Iterable[dg.EventLogRecord], address: str) -> list[Alert]:
    """One alert for each check that failed in a run, naming the partitions it failed for.

    Parameters
    ----------
    records : of the event log; those that are no evaluation, or passed, are left out.
    address : as of `failed_run`.
    """
    found: dict[tuple[str, dg.AssetCheckKey], list[dg.AssetCheckEvaluation]] = {}
    for record in records:
        event = record.event_log_entry.dagster_event
        if event is None or event.event_type != dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            continue
        evaluation = event.asset_check_evaluation_data
        if not evaluation.passed:
            found.setdefault((record.run_id, evaluation.asset_check_key), []).append(evaluation)
    return [failing_check(key, evaluations, address) for (_, key), evaluations in found.items()]


def failing_check(key: dg.AssetCheckKey, evaluations: list[dg.AssetCheckEvaluation], address: str) -> Alert:
    """What is to be said of a check that failed. It is urgent where one of its failures is an ERROR.

    Parameters
    ----------
    key : of the check.
    evaluations : the failed ones of one run, over all of the table or of one partition each.
    address : as of `failed_run`.
    """
    table = key.asset_key.to_user_string()
    keys = sorted({evaluation.partition for evaluation in evaluations if evaluation.partition})
    words = next((evaluation.description for evaluation in evaluations if evaluation.description), "")
    blocks = any(evaluation.severity == dg.AssetCheckSeverity.ERROR for evaluation in evaluations)
    remedy = (
        "Look at the rows, then materialize these partitions again."
        if blocks
        else "Look at the rows; where they are right, nothing is to be done."
    )
    link = f"{address}/assets/{'/'.join(map(quote, key.asset_key.path))}?view=checks&checkDetail={quote(key.name)}"
    return Alert(
        AlertKind.FAILING_CHECK,
        f"Check {key.name} of {table} {'fails' if blocks else 'warns'}{f' for {named(keys)}' if keys else ''}"
        f"{f': {words.rstrip(chr(46))}' if words else ''}. {remedy}",
        link if address else "",
        urgent=blocks,
    )


def stale_data(stale: Stale, active: int, hours: float, address: str) -> Alert:
    """What is to be said of instruments that are behind.

    Parameters
    ----------
    stale : the session that is missing, and the last one that each of them has.
    active : how many instruments are followed.
    hours : for how long the bar has been missing, at least.
    address : as of `failed_run`.
    """
    last = (f"{name} (last {day or 'none'})" for name, day in stale.latest.items())
    return Alert(
        AlertKind.STALE_DATA,
        f"The bar of {stale.expected} has been missing for more than {hours:g} h for {len(stale.latest)} of {active} "
        f"active instruments: {named(last, 10)}. See why with `tt status --partitions`; launch refresh_now, or take an "
        "instrument that is no longer traded off with `tt watchlist retire`.",
        f"{address}/assets/tt_prices?view=partitions" if address else "",
    )


def last_sessions(database: Database) -> Mapping[str, date]:
    """The last session with a bar in `tt_prices`, by instrument. Raises DatabaseUnreachable."""
    with database.connect() as connection:
        rows = connection.execute("SELECT instrument, max(timestamp)::date FROM tt_prices GROUP BY 1").fetchall()
    return dict(rows)


def watch_of(cursor: str | None) -> Watch:
    """What the cursor remembers; nothing where it is not readable."""
    try:
        return Watch.model_validate_json(cursor or "{}")
    except ValueError:
        return Watch()


def ui_address(settings: Settings) -> str:
    """Where `tt up` of this home serves the UI, or empty where it says nothing."""
    try:
        return str(json.loads(settings.up_record.read_text(encoding="utf-8"))["url"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
