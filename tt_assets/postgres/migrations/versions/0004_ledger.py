"""The ledger: what every slice holds, in one row each; and agents that stay when others take their place.

`schema.upgrade` fills the ledger from the stored rows, in the transaction of this revision.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Writers of the older version know nothing of the ledger: what they write meanwhile would be missing in it.
    op.execute("LOCK TABLE tt_prices, tt_features, tt_signal_scores, tt_policy, tt_episode IN SHARE MODE")
    op.execute("CREATE SEQUENCE tt_slice_fetch")
    op.create_table(
        "tt_slice",
        sa.Column("table_name", sa.Text(), nullable=False, comment="Which of the thirteen tables."),
        sa.Column(
            "date",
            sa.Date(),
            nullable=False,
            comment="Date key of the partition: session, month or window, its first day.",
        ),
        sa.Column(
            "instrument",
            sa.Text(),
            nullable=False,
            comment="Instrument key of the partition: a symbol, or what an agent trades.",
        ),
        sa.Column("rows", sa.BigInteger(), comment="Rows the slice holds; NULL where it holds nothing yet."),
        sa.Column(
            "digest", sa.Text(), comment="BLAKE2b-128 of the rows in binary COPY form, hexadecimal; NULL as rows."
        ),
        sa.Column(
            "reads",
            sa.BigInteger(),
            comment="Sum, modulo 2^64, of the first 8 bytes of the digests of all slices with rows that it was "
            "computed from; NULL where that is not known.",
        ),
        sa.Column(
            "code", sa.Text(), comment="Version of the definitions that computed it; NULL where that is not known."
        ),
        sa.Column(
            "fetch",
            sa.BigInteger(),
            nullable=False,
            comment="Number drawn when reading what it was made from began.",
        ),
        sa.Column("run_id", sa.Text(), comment="Run that wrote it; NULL for what was written without one."),
        sa.Column("written_at", sa.DateTime(timezone=True), comment="When it was written."),
        sa.Column("outcome", sa.Text(), comment="What came of the partition, in words."),
        sa.Column(
            "changed", sa.JSON(), comment="How its content came to differ from what stood there before, and why."
        ),
        sa.Column("failure", sa.JSON(), comment="Why the wished content could not be made (reason, run, time, tries)."),
        sa.Column(
            "source", sa.Text(), comment="State of the price source it was last tried on, as the sensors name it."
        ),
        sa.Column(
            "tries", sa.Integer(), nullable=False, comment="Tries in vain on that state: failures, or no row again."
        ),
        sa.Column("tried_at", sa.DateTime(timezone=True), comment="When it was last tried."),
        sa.Column("told", sa.Boolean(), nullable=False, comment="Whether Dagster has the event of this content."),
        sa.Column(
            "written_in",
            sa.BigInteger(),
            nullable=False,
            comment="Transaction that changed what sensors read of this row.",
        ),
        sa.PrimaryKeyConstraint("table_name", "date", "instrument", name="tt_slice_pkey"),
        sa.CheckConstraint("(rows IS NULL) = (digest IS NULL)", name="tt_slice_held_check"),
        comment="What every partition of every table holds, written with its rows in one transaction.",
    )
    op.create_index("tt_slice_written_in_idx", "tt_slice", ["written_in"])
    op.create_index("tt_slice_untold_idx", "tt_slice", ["table_name"], postgresql_where=sa.text("NOT told"))
    for kind, name in (("TABLE", "tt_slice"), ("SEQUENCE", "tt_slice_fetch")):
        _give_to_the_owner_of_the_tables(kind, name)

    op.add_column(
        "tt_policy",
        sa.Column(
            "superseded_at",
            sa.DateTime(timezone=True),
            comment="When another agent of the same key took its place; NULL while it is in force.",
        ),
    )
    op.drop_constraint("tt_policy_key", "tt_policy")
    op.create_index(
        "tt_policy_in_force",
        "tt_policy",
        ["window_start", "instrument", "seed"],
        unique=True,
        postgresql_where=sa.text("superseded_at IS NULL"),
    )
    op.create_table_comment(
        "tt_policy",
        "Trained agents: one in force per walk-forward window, traded instrument or portfolio, and seed; earlier ones "
        "stay, with their episodes, until they are pruned.",
    )
    op.drop_constraint("tt_episode_key", "tt_episode")
    op.create_index(
        "tt_episode_in_force",
        "tt_episode",
        ["window_start", "instrument", "strategy", "seed"],
        unique=True,
        postgresql_where=sa.text("strategy <> 'old agent'"),
    )
    op.alter_column(
        "tt_episode",
        "strategy",
        comment="Who acted: agent, old agent (one that another took the place of), the name of a baseline, or hand.",
    )


def downgrade() -> None:
    # The older schema has room for one agent of a key; episodes of the others go with them.
    op.execute("DELETE FROM tt_policy WHERE superseded_at IS NOT NULL")
    op.execute("DELETE FROM tt_episode WHERE strategy = 'old agent'")
    op.alter_column("tt_episode", "strategy", comment="Who acted: agent, the name of a baseline, or hand.")
    op.drop_index("tt_episode_in_force", "tt_episode")
    op.create_unique_constraint("tt_episode_key", "tt_episode", ["window_start", "instrument", "strategy", "seed"])
    op.drop_index("tt_policy_in_force", "tt_policy")
    op.create_unique_constraint("tt_policy_key", "tt_policy", ["window_start", "instrument", "seed"])
    op.create_table_comment(
        "tt_policy", "Trained agents, one row per walk-forward window, traded instrument or portfolio, and seed."
    )
    op.drop_column("tt_policy", "superseded_at")
    op.drop_table("tt_slice")
    op.execute("DROP SEQUENCE tt_slice_fetch")


def _give_to_the_owner_of_the_tables(kind: str, name: str) -> None:
    """Whoever owns tt_prices owns what is new, where the user who migrates may give it away and keep using it."""
    op.execute(
        f"""
        DO $give$ DECLARE holder text := (SELECT tableowner FROM pg_tables
            WHERE schemaname = current_schema() AND tablename = 'tt_prices');
        BEGIN
            IF holder <> current_user AND pg_has_role(current_user, holder, 'USAGE') THEN
                EXECUTE format('ALTER {kind} {name} OWNER TO %I', holder);
            END IF;
        EXCEPTION WHEN insufficient_privilege THEN
            RAISE NOTICE '%', 'tt_assets: {name} keeps its owner: ' || SQLERRM;
        END $give$
        """
    )
