"""Orders that close the position in a delisted instrument have types of their own."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

CONSTRAINT = "tt_order_order_type_check"
COMMENT = "buy or sell; delisted_sell and delisted_buy closed the position in a delisted instrument at its last close."


def upgrade() -> None:
    op.drop_constraint(CONSTRAINT, "tt_order", type_="check")
    op.create_check_constraint(
        op.f(CONSTRAINT), "tt_order", "order_type IN ('buy', 'sell', 'delisted_sell', 'delisted_buy')"
    )
    op.alter_column("tt_order", "order_type", comment=COMMENT)


def downgrade() -> None:
    """Orders of delisted instruments become plain ones."""
    op.drop_constraint(CONSTRAINT, "tt_order", type_="check")
    op.execute("UPDATE tt_order SET order_type = replace(order_type, 'delisted_', '')")
    op.create_check_constraint(op.f(CONSTRAINT), "tt_order", "order_type IN ('buy', 'sell')")
    op.alter_column("tt_order", "order_type", comment="buy or sell.")
