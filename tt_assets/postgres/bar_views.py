"""The long forms of what is stored by the bar: `tt_features` and `tt_signal_scores` as views that can be written to.

A row of the view is a number of a bar's row with its name of the catalog. Statements that people write (INSERT, UPDATE,
DELETE, COPY) change the bar's row through a trigger, value by value; the platform writes whole bars itself
(see `bar_rows`). A change is a migration that replaces them; a test compares what is declared here with what the
migrations make.
"""

from __future__ import annotations

from psycopg import sql

from tt_assets.tables import BAR_FORMS, TABLES, BarForm, key_columns

ID_BITS = 23
"""Of a view's `id`, the lowest bits are the id of the name, those above it the number of the bar's row."""

_VIEW = f"""
CREATE VIEW {{view}} WITH (security_invoker = true) AS
SELECT (b.id << {ID_BITS}) | (v.name & {(1 << ID_BITS) - 1})::bigint AS id, b.instrument, b.timestamp,
       {{columns}}
FROM {{bars}} AS b CROSS JOIN LATERAL unnest(b.names, b.numbers) AS v(name, number)
JOIN {{catalog}} AS n ON n.id = v.name
"""
_CHANGE = f"""
CREATE FUNCTION {{change}}() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $change$
DECLARE
    known {{catalog}}.id%TYPE;
    at integer;
    others integer;
BEGIN
    IF TG_OP <> 'INSERT' THEN
        SELECT array_position(b.names, n.id), cardinality(b.names) - 1 INTO at, others
        FROM {{bars}} AS b JOIN {{catalog}} AS n ON n.id = ANY (b.names) AND n.{{name}} = OLD.{{name}}
        WHERE b.instrument = OLD.instrument AND b.timestamp = OLD.timestamp FOR UPDATE OF b;
        IF NOT FOUND THEN
            RETURN NULL;  -- somebody else took it away meanwhile
        END IF;
        IF TG_OP = 'UPDATE' AND NOT ({{moved}}) THEN
            UPDATE {{bars}} SET numbers[at] = NEW.{{number}}
            WHERE instrument = OLD.instrument AND timestamp = OLD.timestamp;
            NEW.id := OLD.id;
            RETURN NEW;
        END IF;
        IF others = 0 THEN
            DELETE FROM {{bars}} WHERE instrument = OLD.instrument AND timestamp = OLD.timestamp;
        ELSE
            UPDATE {{bars}}
            SET names = names[1:at - 1] || names[at + 1:], numbers = numbers[1:at - 1] || numbers[at + 1:]
            WHERE instrument = OLD.instrument AND timestamp = OLD.timestamp;
        END IF;
        IF TG_OP = 'DELETE' THEN
            RETURN OLD;
        END IF;
    END IF;
    SELECT n.id INTO known FROM {{catalog}} AS n
    WHERE {{named}};
    IF NOT FOUND THEN
        INSERT INTO {{catalog}} ({{names}}) VALUES ({{new}})
        ON CONFLICT DO NOTHING RETURNING id INTO known;
        IF NOT FOUND THEN  -- somebody else was faster
            SELECT n.id INTO STRICT known FROM {{catalog}} AS n
            WHERE {{named}};
        END IF;
    END IF;
    INSERT INTO {{bars}} AS b (instrument, timestamp, names, numbers)
    VALUES (NEW.instrument, NEW.timestamp, ARRAY[known], ARRAY[NEW.{{number}}])
    ON CONFLICT (instrument, timestamp) DO UPDATE
    SET names = b.names || EXCLUDED.names, numbers = b.numbers || EXCLUDED.numbers
    WHERE NOT EXISTS (SELECT FROM {{catalog}} AS n WHERE n.id = ANY (b.names) AND n.{{name}} = NEW.{{name}})
    RETURNING (b.id << {ID_BITS}) | (known & {(1 << ID_BITS) - 1})::bigint INTO NEW.id;
    IF NOT FOUND THEN
        RAISE unique_violation USING
            MESSAGE = 'duplicate key value violates unique constraint "{{key}}"',
            DETAIL = format('Key ({{keys}})=(%s, %s, %s) already exists.',
                            NEW.instrument, NEW.timestamp, NEW.{{name}}),
            SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, CONSTRAINT = '{{key}}';
    END IF;
    RETURN NEW;
END
$change$
"""
_TRIGGER = """
CREATE TRIGGER {change} INSTEAD OF INSERT OR UPDATE OR DELETE ON {view}
FOR EACH ROW EXECUTE FUNCTION {change}()
"""


def statements(table: str) -> list[str]:
    """The statements that make a view, its comments, and what writing to it does.

    Parameters
    ----------
    table : one of `tables.BAR_FORMS`; what it is stored in is there.
    """
    form, long = BAR_FORMS[table], TABLES[table]
    parts = _parts(table, form)
    made = [text.format(**parts) for text in (_VIEW, _CHANGE, _TRIGGER)]
    said = [f"COMMENT ON VIEW {table} IS {_literal(long.comment)}"]
    said += [f"COMMENT ON COLUMN {table}.{c.name} IS {_literal(c.comment)}" for c in long.columns]
    return made + said


def _parts(table: str, form: BarForm) -> dict[str, str]:
    keys = key_columns(TABLES[table])
    name = keys[-1]
    own = [c.name for c in TABLES[table].columns][3:]
    named = [f"n.{name} = NEW.{name}"]
    # The second column of a catalog is indexed by its md5: text may be longer than an index takes.
    named += [f"md5(n.{c}) = md5(NEW.{c}) AND n.{c} = NEW.{c}" for c in form.named_by if c != name]
    moved = [f"NEW.{c} IS DISTINCT FROM OLD.{c}" for c in ("instrument", "timestamp", *form.named_by)]
    return {
        "view": table,
        "change": f"{table}_change",
        "bars": form.bars.name,
        "catalog": form.catalog.name,
        "columns": ", ".join(f"n.{c}" if c in form.named_by else f"v.number AS {c}" for c in own),
        "name": name,
        "number": form.number,
        "named": "\n            AND ".join(named),
        "names": ", ".join(form.named_by),
        "new": ", ".join(f"NEW.{c}" for c in form.named_by),
        "moved": "\n            OR ".join(moved),
        "key": f"{table}_key",
        "keys": ", ".join(keys),
    }


def _literal(text: str | None) -> str:
    return sql.Literal(text or "").as_string(None)
