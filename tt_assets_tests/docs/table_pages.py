"""The page of the tables, out of `tables.py`."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Table
from sqlalchemy.dialects import postgresql

from tt_assets.postgres.views import VIEWS, View
from tt_assets.tables import BAR_FORMS, BESIDE, LEDGER, MARKET_TABLES, TABLES, key_columns
from tt_assets_tests.docs.markdown import code, page, table

INTRODUCTION = """\
Declared in `tt_assets/tables.py`, and nowhere else: the DDL, the column descriptions in the Dagster UI, the check of a
frame before it is written and the test of the migrations are read from the same declaration.

Every `timestamp` is market time without a time zone: the date of the exchange's session at 00:00. The tables stand in
the order of flow."""


def tables_page() -> str:
    """Every table with its key, its partitions, its columns and its rules."""
    overview = table(
        ("table", "holds", "key"),
        ((f"[{name}](#{name})", declared.comment or "", _key(declared)) for name, declared in TABLES.items()),
    )
    sections = (_section(name, declared) for name, declared in TABLES.items())
    stored = (each for name, form in BAR_FORMS.items() for each in (_bars(form.bars, name), _bars(form.catalog, name)))
    return page(
        "Tables", INTRODUCTION, overview, *sections, *stored, *map(_beside, BESIDE.values()), *map(_view, VIEWS)
    )


def _section(name: str, declared: Table) -> str:
    partitions = "trading session × instrument" if name in MARKET_TABLES else "walk-forward window × what is traded"
    checks = sorted(str(c.sqltext) for c in declared.constraints if isinstance(c, CheckConstraint))
    rules = "\n".join(["Rules the database holds:", "", *(f"- {code(rule)}" for rule in checks)]) if checks else ""
    facts = f"Key: {_key(declared)}. Partitions: {partitions}. Group in the UI: {code(declared.info['layer'])}."
    if name in BAR_FORMS:
        facts += (
            f" A view that can be written to; its values are stored by the bar, in {code(BAR_FORMS[name].bars.name)}."
        )
    return "\n\n".join(filter(None, [f"## {name}", declared.comment or "", facts, _columns(declared), rules]))


def _bars(declared: Table, name: str) -> str:
    """A table that a view of the thirteen is stored in."""
    facts = f"What {code(name)} is stored in; read and write that."
    return "\n\n".join([f"## {declared.name}", declared.comment or "", facts, _columns(declared)])


def _beside(declared: Table) -> str:
    """A table beside the thirteen: it has no asset."""
    key = ", ".join(code(column.name) for column in declared.primary_key.columns)
    kept = "every writer of the tables above keeps it" if declared is LEDGER else "judging and `tt promote` add to it"
    facts = f"No asset makes it, {kept}. Key: {key}."
    return "\n\n".join([f"## {declared.name}", declared.comment or "", facts, _columns(declared)])


def _view(view: View) -> str:
    """A view: its columns and what they mean."""
    facts = "A view: it reads with the rights of who asks, and nothing is written through it."
    columns = table(("column", "meaning"), ((code(name), meaning) for name, meaning in view.columns))
    return "\n\n".join([f"## {view.name}", view.comment, facts, columns])


def _columns(declared: Table) -> str:
    return table(
        ("column", "type", "may be empty", "unit", "meaning"),
        (
            (code(column.name), _type(column), "yes" if column.nullable else "", _unit(column), _meaning(column))
            for column in declared.columns
        ),
    )


def _key(declared: Table) -> str:
    return ", ".join(map(code, key_columns(declared)))


def _type(column: Column[object]) -> str:
    return column.type.compile(dialect=postgresql.dialect()).lower()


def _unit(column: Column[object]) -> str:
    return str(column.info.get("unit", ""))


def _meaning(column: Column[object]) -> str:
    references = [f"References {code(key.target_fullname)}, deleted with it." for key in column.foreign_keys]
    return " ".join([column.comment or "", *references])
