"""What every table asset shows in the UI: description, columns with units, group, kinds, owners, out of `tables.py`."""

from __future__ import annotations

from typing import Any, TypedDict

import dagster as dg

from tt_assets.tables import TABLES, key_columns

OWNERS = ["team:portfolio-agents"]


SEE_ALSO = {
    "tt_equity_curve": (
        " Under Metadata stands the window that was written last, under a partition its own; all windows in one curve, "
        "against the baselines: [report](/assets/report)."
    ),
    "tt_episode": " Equity, drawdown and weights are drawn; all windows in one curve: [report](/assets/report).",
    "tt_policy": " How they learned is drawn under Metadata; how they did: [report](/assets/report).",
}
"""What the description in the UI adds to the table's comment."""


def column_schema(table: str, currency: str = "USD") -> dg.TableSchema:
    """The columns of `table` with their type, meaning, unit (money in `currency`) and constraints."""
    keys = key_columns(TABLES[table])
    columns = []
    for column in TABLES[table].columns:
        unit = (column.info.get("unit") or "").replace("USD", currency)
        columns.append(
            dg.TableColumn(
                column.name,
                type=str(column.type),
                description=f"{column.comment} Unit: {unit}." if unit else column.comment,
                constraints=dg.TableColumnConstraints(
                    nullable=bool(column.nullable),
                    unique=column.primary_key,
                    other=[f"part of the key ({', '.join(keys)})"] if column.name in keys else [],
                ),
            )
        )
    rules = [str(c.sqltext) for c in TABLES[table].constraints if hasattr(c, "sqltext")]
    return dg.TableSchema(
        columns,
        constraints=dg.TableConstraints(other=[f"UNIQUE ({', '.join(keys)})", *rules]),
    )


class Description(TypedDict):
    """What `described` gives; typed by name, so that the decorators it goes to stay typed."""

    description: str
    group_name: str
    kinds: set[str]
    owners: list[str]
    metadata: dict[str, Any]


def described(table: str, currency: str = "USD") -> Description:
    """Keyword arguments shared by `@dg.asset` and `dg.AssetOut` for the asset of `table`; money is in `currency`."""
    declared = TABLES[table]
    return {
        "description": (declared.comment or "") + SEE_ALSO.get(table, ""),
        "group_name": str(declared.info["layer"]),
        "kinds": set(declared.info["kinds"]),
        "owners": OWNERS,
        "metadata": {
            "dagster/table_name": table,
            "dagster/column_schema": column_schema(table, currency),
            # A relative address: Dagster's page opens it on the server that it came from.
            "dashboard": dg.MetadataValue.url(f"/tt/partitions?table={table}"),
        },
    }
