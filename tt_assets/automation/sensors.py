"""The sensors: what Dagster's daemon evaluates every half minute. Each is a thin call of what its module decides.

A sensor answers whatever it reads. A watchlist or a bars file that cannot be used is said, once per
change in the log, and asks for nothing; the next tick looks again.
"""

from __future__ import annotations

from collections.abc import Callable

import dagster as dg

from tt_assets.automation import agents, bars_file, gaps, restatement, sessions, watchlist
from tt_assets.automation.adoption import adopt
from tt_assets.automation.ended_runs import reckon_ended_runs
from tt_assets.automation.jobs import AGENTS_JOB, MARKET_JOB, ROLL_JOB, jobs
from tt_assets.automation.market import MarketState, read_market
from tt_assets.automation.requests import said
from tt_assets.automation.tries import SENSOR_TAG
from tt_assets.errors import UserError
from tt_assets.grid.bars_files import followed
from tt_assets.grid.blueprint import Blueprint
from tt_assets.grid.run_tags import UNFINISHED
from tt_assets.postgres.database import Database
from tt_assets.runs.database_resource import OpenDatabase
from tt_assets.runs.market_reader import MarketReader
from tt_assets.runs.owners import bury_dead_runs
from tt_assets.runs.telling import tell
from tt_assets.settings import PriceSourceName, Settings

Tick = Callable[[dg.SensorEvaluationContext, Blueprint, OpenDatabase], dg.SensorResult | dg.SkipReason]

MakeSensor = Callable[[Blueprint, OpenDatabase], dg.SensorDefinition]


def _sensor(name: str, *targets: str, description: str) -> Callable[[Tick], MakeSensor]:
    """A sensor of the platform over the jobs named `targets`, which says what is wrong with what it reads."""

    def with_tick(tick: Tick) -> MakeSensor:
        def made(plan: Blueprint, open_database: OpenDatabase) -> dg.SensorDefinition:
            def guarded(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
                try:
                    reckon_ended_runs(context.instance, open_database(), plan.market_partitions, plan.window_partitions)
                    return tick(context, plan, open_database)
                except UserError as error:
                    return dg.SkipReason(str(error))

            return dg.SensorDefinition(
                name=name,
                evaluation_fn=guarded,
                jobs=[job for job in jobs if job.name in targets],
                minimum_interval_seconds=plan.settings.sensor_interval,
                default_status=status_of(plan.settings),
                description=description,
            )

        return made

    return with_tick


def status_of(settings: Settings) -> dg.DefaultSensorStatus:
    """Whether a sensor starts switched on."""
    return dg.DefaultSensorStatus.RUNNING if settings.automation else dg.DefaultSensorStatus.STOPPED


@_sensor(
    watchlist.WATCHLIST,
    MARKET_JOB,
    description="What is new on the watchlist becomes partitions, and its whole history is loaded.",
)
def watchlist_sensor(
    context: dg.SensorEvaluationContext, plan: Blueprint, open_database: OpenDatabase
) -> dg.SensorResult | dg.SkipReason:
    """Add what is new on the watchlist and ask for its history."""
    settings = plan.settings
    listed = followed(settings)
    if added := watchlist.add_keys(context.instance, listed.watchlist):
        context.log.info(f"New on the watchlist: {', '.join(added)}.")
    if listed.trouble and listed.trouble != context.cursor:
        context.log.error(f"{listed.trouble} The last good watchlist stays in force.")
    state = read_market(context.instance, plan, open_database())
    quiet = f"{listed.trouble} The last good watchlist stays in force." if listed.trouble else "Nothing new."
    # A cursor that is empty would not be stored, and the old trouble would stay in it.
    return _answer(context, watchlist.histories(state), state, quiet, cursor=listed.trouble or "good")


@_sensor(
    sessions.SESSIONS,
    MARKET_JOB,
    description="The sessions after the last one of every active instrument, through prices, features and signals.",
)
def session_sensor(
    context: dg.SensorEvaluationContext, plan: Blueprint, open_database: OpenDatabase
) -> dg.SensorResult | dg.SkipReason:
    """Settle what runs left behind when they ended, then ask for the sessions that came since."""
    settle(context.instance, plan, open_database())
    state = read_market(context.instance, plan, open_database())
    latest = state.source.latest.isoformat() if state.source.latest else ""
    requests = sessions.new_sessions(state, context.cursor)
    return _answer(context, requests, state, f"All sessions up to {latest} were asked for.", cursor=latest)


@_sensor(
    agents.AGENTS,
    ROLL_JOB,
    AGENTS_JOB,
    description="Rolls windows again as their sessions come, and trains the agents of a new window.",
)
def agent_sensor(
    context: dg.SensorEvaluationContext, plan: Blueprint, open_database: OpenDatabase
) -> dg.SensorResult | dg.SkipReason:
    """Ask for the windows that are behind their bars."""
    market = read_market(context.instance, plan, open_database())
    state = agents.read_agents(context.instance, market, open_database())
    return _answer(
        context, agents.requests(state), market, "Every window is rolled on what there is now, or waits for it."
    )


@_sensor(
    gaps.GAPS,
    MARKET_JOB,
    description="Partitions that are missing, failed or without their bar, again and ever more rarely, until given up.",
)
def gap_sensor(
    context: dg.SensorEvaluationContext, plan: Blueprint, open_database: OpenDatabase
) -> dg.SensorResult | dg.SkipReason:
    """Ask again for what did not land."""
    state = read_market(context.instance, plan, open_database())
    running = context.instance.get_runs_count(dg.RunsFilter(tags={SENSOR_TAG: gaps.GAPS}, statuses=UNFINISHED))
    absent = gaps.absent_bars(state)
    return _answer(context, gaps.gaps(state, absent, running), state, gaps.in_words(state, absent))


@_sensor(
    bars_file.BARS_FILE,
    MARKET_JOB,
    description="Old prices that a changed bars file tells otherwise.",
)
def bars_file_sensor(
    context: dg.SensorEvaluationContext, plan: Blueprint, open_database: OpenDatabase
) -> dg.SensorResult | dg.SkipReason:
    """Ask for the prices that changed in the bars file."""
    if plan.settings.price_source is not PriceSourceName.FILE:
        return dg.SkipReason("Prices do not come from a file.")
    state = read_market(context.instance, plan, open_database())
    if state.source.trouble:
        return dg.SkipReason(state.source.trouble)
    requests, compared, quiet = bars_file.changes(
        state, bars_file.Compared.read(context.cursor), MarketReader(open_database())
    )
    return _answer(context, requests, state, quiet, compared.text())


@_sensor(
    restatement.RESTATEMENT,
    MARKET_JOB,
    description="What was computed from a bar that has changed since: features, then signals.",
)
def restatement_sensor(
    context: dg.SensorEvaluationContext, plan: Blueprint, open_database: OpenDatabase
) -> dg.SensorResult | dg.SkipReason:
    """Ask for what looks back over a changed bar."""
    database = open_database()
    state = read_market(context.instance, plan, database)
    waiting = restatement.out_of_date(state)
    if not waiting:
        return dg.SkipReason("Nothing is computed from a bar that has changed since.")
    requests = restatement.requests(state, restatement.latest_changes(database))
    return _answer(context, requests, state, waiting)


def settle(instance: dg.DagsterInstance, plan: Blueprint, database: Database) -> None:
    """Have the runs, the ledger and Dagster agree: dead runs end, what runs left is entered, what was not told is."""
    bury_dead_runs(instance)
    reckon_ended_runs(instance, database, plan.market_partitions, plan.window_partitions)
    tell(instance, database)
    market = read_market(instance, plan, database)
    adopt(database, market, agents.read_agents(instance, market, database))


def report_sensor(settings: Settings) -> dg.SensorDefinition:
    """The sensor of everything that has an automation condition."""
    return dg.AutomationConditionSensorDefinition(
        # Dagster adds a sensor of this name, switched off, for conditions that no other one covers.
        "default_automation_condition_sensor",
        target=dg.AssetSelection.all(),
        minimum_interval_seconds=settings.sensor_interval,
        default_status=status_of(settings),
        description="Reports whose episodes were rolled again, and whatever else has an automation condition.",
    )


def asset_sensors(plan: Blueprint, open_database: OpenDatabase) -> list[dg.SensorDefinition]:
    """The sensors that ask for runs."""
    ticking = [watchlist_sensor, session_sensor, agent_sensor, gap_sensor, bars_file_sensor, restatement_sensor]
    return [*(made(plan, open_database) for made in ticking), report_sensor(plan.settings)]


def _answer(
    context: dg.SensorEvaluationContext,
    requests: list[dg.RunRequest],
    state: MarketState,
    quiet: str,
    cursor: str | None = None,
) -> dg.SensorResult:
    """What a tick gives Dagster; `quiet` is what it says where it asks for nothing."""
    if requests:
        context.log.info(f"Asked for {said(requests)}.")
        return dg.SensorResult(run_requests=requests, cursor=cursor)
    return dg.SensorResult(skip_reason=state.source.trouble or quiet, cursor=cursor)
