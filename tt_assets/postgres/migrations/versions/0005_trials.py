"""Trials and promotions, both append-only: what was tried, registered before it is judged; what the gate decided."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_REFUSE = """
CREATE FUNCTION tt_append_only() RETURNS trigger LANGUAGE plpgsql AS $append$
BEGIN
    IF TG_OP = 'UPDATE' AND TG_TABLE_NAME = 'tt_trial' THEN
        IF to_jsonb(OLD) - '{judged_at,failure,figures_json,sessions,net_returns}'::text[]
               = to_jsonb(NEW) - '{judged_at,failure,figures_json,sessions,net_returns}'::text[]
           AND OLD.judged_at IS NULL THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION '% is append-only: row % may not be changed or deleted', TG_TABLE_NAME, OLD.id
        USING ERRCODE = 'restrict_violation';
END $append$
"""


def upgrade() -> None:
    op.create_table(
        "tt_trial",
        sa.Column(
            "id",
            sa.BigInteger(),
            sa.Identity(always=False),
            nullable=False,
            comment="Surrogate key, not part of the content.",
        ),
        sa.Column(
            "instrument",
            sa.Text(),
            nullable=False,
            comment="What was tried on: one symbol or the name of a portfolio.",
        ),
        sa.Column(
            "source", sa.Text(), nullable=False, comment="Who tried: report, sweep, promote, or a name of one's own."
        ),
        sa.Column("name", sa.Text(), nullable=False, comment="What was tried, for people; may be empty."),
        sa.Column(
            "configuration",
            sa.Text(),
            nullable=False,
            comment="SHA-256 of config_json, hexadecimal: trials of one configuration and code count once.",
        ),
        sa.Column(
            "config_json",
            sa.Text(),
            nullable=False,
            comment="JSON object of every setting that shapes what is judged.",
        ),
        sa.Column(
            "code",
            sa.Text(),
            nullable=False,
            comment="Version of the code that computes it: package, features, signals.",
        ),
        sa.Column("bars", sa.Text(), nullable=False, comment="Digest of the bars and channels it is judged on."),
        sa.Column(
            "windows",
            sa.Text(),
            nullable=False,
            comment="First days of the walk-forward windows, ascending, with commas between.",
        ),
        sa.Column("seeds", sa.Text(), nullable=False, comment="Seeds of the agents, ascending, with commas between."),
        sa.Column(
            "registered_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="When it was registered: before judging.",
        ),
        sa.Column("judged_at", sa.DateTime(timezone=True), comment="When it was judged; NULL until then."),
        sa.Column("failure", sa.Text(), comment="Why it came to no returns, in one sentence."),
        sa.Column("figures_json", sa.Text(), comment="JSON object of its figures; NULL until it is judged."),
        sa.Column(
            "sessions",
            sa.ARRAY(sa.Date()),
            comment="Sessions judged: those of the returns.",
        ),
        sa.Column(
            "net_returns",
            sa.ARRAY(sa.Double()),
            comment="Close-to-close returns of these sessions after all costs.",
        ),
        sa.PrimaryKeyConstraint("id", name="tt_trial_pkey"),
        sa.UniqueConstraint("instrument", "configuration", "code", "bars", "windows", "seeds", name="tt_trial_key"),
        sa.CheckConstraint("json_typeof(config_json::json) = 'object'", name="tt_trial_config_json_check"),
        sa.CheckConstraint(
            "figures_json IS NULL OR json_typeof(figures_json::json) = 'object'", name="tt_trial_figures_json_check"
        ),
        sa.CheckConstraint(
            "(judged_at IS NULL) = (net_returns IS NULL) AND "
            "coalesce(cardinality(sessions), -1) = coalesce(cardinality(net_returns), -1)",
            name="tt_trial_judged_check",
        ),
        comment="What was tried, registered before it was judged. Rows are added and closed, never changed or deleted.",
    )
    op.create_table(
        "tt_promotion",
        sa.Column(
            "id",
            sa.BigInteger(),
            sa.Identity(always=False),
            nullable=False,
            comment="Surrogate key, not part of the content.",
        ),
        sa.Column(
            "instrument",
            sa.Text(),
            nullable=False,
            comment="What was asked to be promoted: one symbol or the name of a portfolio.",
        ),
        sa.Column("trial_id", sa.BigInteger(), nullable=False, comment="The trial the decision rests on."),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False, comment="When it was decided."),
        sa.Column("promoted", sa.Boolean(), nullable=False, comment="Whether every rule held."),
        sa.Column("rule_version", sa.Text(), nullable=False, comment="Version of the rules and their thresholds."),
        sa.Column(
            "rules_json",
            sa.Text(),
            nullable=False,
            comment="JSON object: per rule its figure, its threshold, whether it held, and what it says.",
        ),
        sa.Column(
            "agents_json",
            sa.Text(),
            nullable=False,
            comment="JSON object: window and seed to the SHA-256 of each agent.",
        ),
        sa.Column(
            "bars",
            sa.Text(),
            nullable=False,
            comment="Digest of the bars and channels it was decided on; others make it lapse.",
        ),
        sa.Column("last_session", sa.Date(), nullable=False, comment="Last session judged."),
        sa.Column("expires", sa.Date(), nullable=False, comment="Last session for which the decision holds."),
        sa.PrimaryKeyConstraint("id", name="tt_promotion_pkey"),
        sa.ForeignKeyConstraint(["trial_id"], ["tt_trial.id"], name="tt_promotion_trial_id_fkey", ondelete="CASCADE"),
        sa.CheckConstraint("json_typeof(rules_json::json) = 'object'", name="tt_promotion_rules_json_check"),
        sa.CheckConstraint("json_typeof(agents_json::json) = 'object'", name="tt_promotion_agents_json_check"),
        comment="Decisions of the gate, promoted or not. Rows are added, never changed or deleted.",
    )
    op.create_index("tt_promotion_trial_id_idx", "tt_promotion", ["trial_id"])
    op.create_index("tt_promotion_instrument_idx", "tt_promotion", ["instrument", "decided_at"])
    op.execute(_REFUSE)
    for table in ("tt_trial", "tt_promotion"):
        op.execute(
            f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION tt_append_only()"
        )
        _give_to_the_owner_of_the_tables(table)


def downgrade() -> None:
    op.drop_table("tt_promotion")
    op.drop_table("tt_trial")
    op.execute("DROP FUNCTION tt_append_only()")


def _give_to_the_owner_of_the_tables(name: str) -> None:
    """Whoever owns tt_prices owns what is new, where the user who migrates may give it away and keep using it."""
    op.execute(
        f"""
        DO $give$ DECLARE holder text := (SELECT tableowner FROM pg_tables
            WHERE schemaname = current_schema() AND tablename = 'tt_prices');
        BEGIN
            IF holder <> current_user AND pg_has_role(current_user, holder, 'USAGE') THEN
                EXECUTE format('ALTER TABLE {name} OWNER TO %I', holder);
            END IF;
        EXCEPTION WHEN insufficient_privilege THEN
            RAISE NOTICE '%', 'tt_assets: {name} keeps its owner: ' || SQLERRM;
        END $give$
        """
    )
