"""Baselines are episodes too: `strategy` and `seed` say who acted, and are part of an episode's key."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "tt_episode",
        sa.Column("strategy", sa.Text, comment="Who acted: agent, the name of a baseline, or hand."),
    )
    op.add_column(
        "tt_episode",
        sa.Column("seed", sa.Integer, comment="Seed of the agent, or of a baseline that draws; 0 otherwise."),
    )
    op.execute(
        "UPDATE tt_episode SET strategy = 'agent', "
        "seed = COALESCE((SELECT p.seed FROM tt_policy AS p WHERE p.id = policy_id), 0)"
    )
    op.alter_column("tt_episode", "strategy", nullable=False)
    op.alter_column("tt_episode", "seed", nullable=False)
    op.alter_column("tt_episode", "policy_id", comment="The agent that acted; NULL for a baseline.")
    op.drop_constraint("tt_episode_key", "tt_episode")
    op.create_unique_constraint("tt_episode_key", "tt_episode", ["window_start", "instrument", "strategy", "seed"])


def downgrade() -> None:
    # The older key has no room for episodes without an agent.
    op.execute("DELETE FROM tt_episode WHERE policy_id IS NULL")
    op.drop_constraint("tt_episode_key", "tt_episode")
    op.create_unique_constraint("tt_episode_key", "tt_episode", ["window_start", "instrument", "policy_id"])
    op.alter_column("tt_episode", "policy_id", comment="The agent that acted.")
    op.drop_column("tt_episode", "seed")
    op.drop_column("tt_episode", "strategy")
