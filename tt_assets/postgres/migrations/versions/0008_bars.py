"""Features and scores are stored by the bar; tt_features and tt_signal_scores are views that can be written to.

Every row of the two tables is moved. It takes about as long as sorting them, needs room for the new form beside the old
one until it is done, and locks both tables meanwhile. Their `id` is another one afterwards, as it was after every
materialization.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_SURROGATE = "Surrogate key, not part of the content."
_INSTRUMENT = "Symbol as Interactive Brokers writes it."


def upgrade() -> None:
    op.execute("LOCK TABLE tt_features, tt_signal_scores IN ACCESS EXCLUSIVE MODE")
    _make_catalog(
        "tt_feature_name",
        sa.SmallInteger(),
        [sa.Column("feature", sa.Text(), nullable=False, comment="Name in the feature registry.")],
        sa.UniqueConstraint("feature", name="tt_feature_name_key"),
        comment="The features that have or had values. Rows are added, never changed or deleted.",
    )
    _make_bars(
        "tt_feature_bar",
        sa.SmallInteger(),
        "Session at whose close the values are known.",
        "tt_feature_name",
        "'-Infinity' < ALL (numbers) AND 'Infinity' > ALL (numbers)",
        "The features of each bar, one row per instrument and session; tt_features shows them one by one.",
    )
    _make_catalog(
        "tt_signal_name",
        sa.Integer(),
        [
            sa.Column("signal_name", sa.Text(), nullable=False, comment="Name in the signal registry."),
            sa.Column("meta_json", sa.Text(), nullable=False, comment="JSON: lookback in sessions, inputs, method."),
        ],
        sa.CheckConstraint("json_typeof(meta_json::json) = 'object'", name="tt_signal_name_meta_json_check"),
        comment="The signals that have or had scores, with what is said of them. Rows are added, never changed or "
        "deleted.",
    )
    op.create_index("tt_signal_name_key", "tt_signal_name", ["signal_name", sa.text("md5(meta_json)")], unique=True)
    _make_bars(
        "tt_signal_bar",
        sa.Integer(),
        "Session at whose close the scores are known.",
        "tt_signal_name",
        "-1 <= ALL (numbers) AND 1 >= ALL (numbers)",
        "The signal scores of each bar, one row per instrument and session; tt_signal_scores shows them one by one.",
    )
    # Rows are sorted by key here, most of all; the server's default is made for many small sorts at once.
    op.execute("SET LOCAL work_mem = '256MB'")
    _move("tt_features", "tt_feature_bar", "tt_feature_name", ("feature",), "value")
    _move("tt_signal_scores", "tt_signal_bar", "tt_signal_name", ("signal_name", "meta_json"), "score")
    for table, made in (
        ("tt_features", ("tt_feature_bar", "tt_feature_name")),
        ("tt_signal_scores", ("tt_signal_bar", "tt_signal_name")),
    ):
        _take_rights_over(table, made)
        op.execute(f"ALTER TABLE {table} RENAME TO {table}_0007")
        for statement in _VIEWS[table]:
            op.execute(statement)
        _take_rights_over(f"{table}_0007", (table,))
        op.execute(f"DROP TABLE {table}_0007")
        for kind, name in (*(("TABLE", name) for name in made), ("VIEW", table), ("FUNCTION", f"{table}_change()")):
            _give_to_the_owner_of_the_tables(kind, name)


def downgrade() -> None:
    for table, bars, catalog in (
        ("tt_signal_scores", "tt_signal_bar", "tt_signal_name"),
        ("tt_features", "tt_feature_bar", "tt_feature_name"),
    ):
        op.execute(f"ALTER VIEW {table} RENAME TO {table}_0008")
        _make_long(table)
        names = "feature, value" if table == "tt_features" else "signal_name, score, meta_json"
        columns = f"instrument, timestamp, {names}"
        op.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {table}_0008 ORDER BY 1, 2, 3")
        _take_rights_over(f"{table}_0008", (table,))
        _give_to_the_owner_of_the_tables("TABLE", table)
        op.execute(f"DROP VIEW {table}_0008")
        op.execute(f"DROP FUNCTION {table}_change()")
        op.drop_table(bars)
        op.drop_table(catalog)


def _make_catalog(
    name: str, kind: sa.types.TypeEngine[int], columns: list[sa.Column[str]], *rules: sa.Constraint, comment: str
) -> None:
    op.create_table(
        name,
        sa.Column(
            "id", kind, sa.Identity(always=False), nullable=False, comment="Stands for it in the rows of the bars."
        ),
        *columns,
        sa.PrimaryKeyConstraint("id", name=f"{name}_pkey"),
        *rules,
        comment=comment,
    )


def _make_bars(name: str, kind: sa.types.TypeEngine[int], known: str, catalog: str, bounds: str, comment: str) -> None:
    op.create_table(
        name,
        sa.Column(
            "id",
            sa.BigInteger(),
            sa.Identity(always=False),
            nullable=False,
            comment="Number of the row, for `id` of the view.",
        ),
        sa.Column("instrument", sa.Text(), nullable=False, comment=_INSTRUMENT),
        sa.Column("timestamp", sa.DateTime(), nullable=False, comment=known),
        sa.Column("names", ARRAY(kind), nullable=False, comment=f"What each number is: `id` in {catalog}."),
        sa.Column("numbers", ARRAY(sa.Double()), nullable=False, comment="The values, in the order of their names."),
        sa.PrimaryKeyConstraint("instrument", "timestamp", name=f"{name}_pkey"),
        sa.CheckConstraint(bounds, name=f"{name}_bounds_check"),
        sa.CheckConstraint(
            "cardinality(names) > 0 AND cardinality(names) = cardinality(numbers) "
            "AND array_position(names, NULL) IS NULL AND array_position(numbers, NULL) IS NULL",
            name=f"{name}_whole_check",
        ),
        comment=comment,
    )


def _make_long(table: str) -> None:
    """The table of long rows that was here before."""
    known = "value" if table == "tt_features" else "score"
    head: list[sa.schema.SchemaItem] = [
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False, comment=_SURROGATE),
        sa.Column("instrument", sa.Text(), nullable=False, comment=_INSTRUMENT),
        sa.Column("timestamp", sa.DateTime(), nullable=False, comment=f"Session at whose close the {known} is known."),
    ]
    own: list[sa.schema.SchemaItem]
    if table == "tt_features":
        own = [
            sa.Column("feature", sa.Text(), nullable=False, comment="Name in the feature registry."),
            sa.Column(
                "value",
                sa.Double(),
                nullable=False,
                comment="Value of the feature; an undefined value (warm-up) is no row.",
            ),
            sa.CheckConstraint("value > '-Infinity' AND value < 'Infinity'", name="tt_features_value_check"),
            sa.UniqueConstraint("instrument", "timestamp", "feature", name="tt_features_key"),
        ]
        comment = "Technical features in long form, one row per instrument, session and feature."
    else:
        own = [
            sa.Column("signal_name", sa.Text(), nullable=False, comment="Name in the signal registry."),
            sa.Column("score", sa.Double(), nullable=False, comment="Conviction: -1 strongly short, +1 strongly long."),
            sa.Column("meta_json", sa.Text(), nullable=False, comment="JSON: lookback in sessions, inputs, method."),
            sa.CheckConstraint("json_typeof(meta_json::json) = 'object'", name="tt_signal_scores_meta_json_check"),
            sa.CheckConstraint("score BETWEEN -1 AND 1", name="tt_signal_scores_score_check"),
            sa.UniqueConstraint("instrument", "timestamp", "signal_name", name="tt_signal_scores_key"),
        ]
        comment = "Signal scores in [-1, 1], one row per instrument, session and signal."
    op.create_table(table, *head, *own, sa.PrimaryKeyConstraint("id", name=f"{table}_pkey"), comment=comment)


def _move(table: str, bars: str, catalog: str, named_by: tuple[str, ...], number: str) -> None:
    """Every long row into its bar, in the order of names by code point."""
    names = ", ".join(named_by)
    order = f'{named_by[0]} COLLATE "C"'
    op.execute(f"INSERT INTO {catalog} ({names}) SELECT DISTINCT {names} FROM {table} ORDER BY {names}")
    op.execute(f"ANALYZE {catalog}")
    equal = " AND ".join(f"n.{column} = t.{column}" for column in named_by)
    op.execute(
        f"""
        INSERT INTO {bars} (instrument, timestamp, names, numbers)
        SELECT instrument, timestamp, array_agg(id ORDER BY {order}), array_agg({number} ORDER BY {order})
        FROM (SELECT t.instrument, t.timestamp, n.id, t.{number}, t.{named_by[0]}
              FROM {table} AS t JOIN {catalog} AS n ON {equal}) AS named
        GROUP BY instrument, timestamp ORDER BY instrument COLLATE "C", timestamp
        """
    )


def _take_rights_over(table: str, made: tuple[str, ...]) -> None:
    """Whoever may read or write `table` may do so with `made`; where nobody was given a right nothing is said."""
    names = ", ".join(f"'{name}'" for name in made)
    op.execute(
        f"""
        DO $rights$ DECLARE held record; name text; BEGIN
            FOR held IN SELECT a.privilege_type AS may, a.is_grantable AS further,
                    CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END AS who
                FROM pg_class AS c, aclexplode(c.relacl) AS a
                WHERE c.oid = '{table}'::regclass AND a.grantee <> c.relowner
                  AND a.privilege_type IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
            LOOP
                FOREACH name IN ARRAY ARRAY[{names}] LOOP
                    EXECUTE format('GRANT %s ON %s TO %s', held.may, name, held.who)
                        || CASE WHEN held.further THEN ' WITH GRANT OPTION' ELSE '' END;
                    -- A value is written by changing the row of its bar, or making or deleting it.
                    IF held.may <> 'SELECT' AND name <> '{table.removesuffix("_0007")}' THEN
                        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO %s', name, held.who);
                    END IF;
                END LOOP;
            END LOOP;
        EXCEPTION WHEN insufficient_privilege THEN
            RAISE NOTICE '%', 'tt_assets: rights on {table} were not passed on: ' || SQLERRM;
        END $rights$
        """
    )


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


_VIEWS = {
    "tt_features": (
        """
CREATE VIEW tt_features WITH (security_invoker = true) AS
SELECT (b.id << 23) | (v.name & 8388607)::bigint AS id, b.instrument, b.timestamp,
       n.feature, v.number AS value
FROM tt_feature_bar AS b CROSS JOIN LATERAL unnest(b.names, b.numbers) AS v(name, number)
JOIN tt_feature_name AS n ON n.id = v.name
""",
        """
CREATE FUNCTION tt_features_change() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $change$
DECLARE
    known tt_feature_name.id%TYPE;
    at integer;
    others integer;
BEGIN
    IF TG_OP <> 'INSERT' THEN
        SELECT array_position(b.names, n.id), cardinality(b.names) - 1 INTO at, others
        FROM tt_feature_bar AS b JOIN tt_feature_name AS n ON n.id = ANY (b.names) AND n.feature = OLD.feature
        WHERE b.instrument = OLD.instrument AND b.timestamp = OLD.timestamp FOR UPDATE OF b;
        IF NOT FOUND THEN
            RETURN NULL;  -- somebody else took it away meanwhile
        END IF;
        IF TG_OP = 'UPDATE' AND NOT (NEW.instrument IS DISTINCT FROM OLD.instrument
            OR NEW.timestamp IS DISTINCT FROM OLD.timestamp
            OR NEW.feature IS DISTINCT FROM OLD.feature) THEN
            UPDATE tt_feature_bar SET numbers[at] = NEW.value
            WHERE instrument = OLD.instrument AND timestamp = OLD.timestamp;
            NEW.id := OLD.id;
            RETURN NEW;
        END IF;
        IF others = 0 THEN
            DELETE FROM tt_feature_bar WHERE instrument = OLD.instrument AND timestamp = OLD.timestamp;
        ELSE
            UPDATE tt_feature_bar
            SET names = names[1:at - 1] || names[at + 1:], numbers = numbers[1:at - 1] || numbers[at + 1:]
            WHERE instrument = OLD.instrument AND timestamp = OLD.timestamp;
        END IF;
        IF TG_OP = 'DELETE' THEN
            RETURN OLD;
        END IF;
    END IF;
    SELECT n.id INTO known FROM tt_feature_name AS n
    WHERE n.feature = NEW.feature;
    IF NOT FOUND THEN
        INSERT INTO tt_feature_name (feature) VALUES (NEW.feature)
        ON CONFLICT DO NOTHING RETURNING id INTO known;
        IF NOT FOUND THEN  -- somebody else was faster
            SELECT n.id INTO STRICT known FROM tt_feature_name AS n
            WHERE n.feature = NEW.feature;
        END IF;
    END IF;
    INSERT INTO tt_feature_bar AS b (instrument, timestamp, names, numbers)
    VALUES (NEW.instrument, NEW.timestamp, ARRAY[known], ARRAY[NEW.value])
    ON CONFLICT (instrument, timestamp) DO UPDATE
    SET names = b.names || EXCLUDED.names, numbers = b.numbers || EXCLUDED.numbers
    WHERE NOT EXISTS (SELECT FROM tt_feature_name AS n WHERE n.id = ANY (b.names) AND n.feature = NEW.feature)
    RETURNING (b.id << 23) | (known & 8388607)::bigint INTO NEW.id;
    IF NOT FOUND THEN
        RAISE unique_violation USING
            MESSAGE = 'duplicate key value violates unique constraint "tt_features_key"',
            DETAIL = format('Key (instrument, timestamp, feature)=(%s, %s, %s) already exists.',
                            NEW.instrument, NEW.timestamp, NEW.feature),
            SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, CONSTRAINT = 'tt_features_key';
    END IF;
    RETURN NEW;
END
$change$
""",
        """
CREATE TRIGGER tt_features_change INSTEAD OF INSERT OR UPDATE OR DELETE ON tt_features
FOR EACH ROW EXECUTE FUNCTION tt_features_change()
""",
        (
            "COMMENT ON VIEW tt_features IS "
            "'Technical features in long form, one row per instrument, session and feature.'"
        ),
        "COMMENT ON COLUMN tt_features.id IS 'Surrogate key, not part of the content.'",
        "COMMENT ON COLUMN tt_features.instrument IS 'Symbol as Interactive Brokers writes it.'",
        "COMMENT ON COLUMN tt_features.timestamp IS 'Session at whose close the value is known.'",
        "COMMENT ON COLUMN tt_features.feature IS 'Name in the feature registry.'",
        "COMMENT ON COLUMN tt_features.value IS 'Value of the feature; an undefined value (warm-up) is no row.'",
    ),
    "tt_signal_scores": (
        """
CREATE VIEW tt_signal_scores WITH (security_invoker = true) AS
SELECT (b.id << 23) | (v.name & 8388607)::bigint AS id, b.instrument, b.timestamp,
       n.signal_name, v.number AS score, n.meta_json
FROM tt_signal_bar AS b CROSS JOIN LATERAL unnest(b.names, b.numbers) AS v(name, number)
JOIN tt_signal_name AS n ON n.id = v.name
""",
        """
CREATE FUNCTION tt_signal_scores_change() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $change$
DECLARE
    known tt_signal_name.id%TYPE;
    at integer;
    others integer;
BEGIN
    IF TG_OP <> 'INSERT' THEN
        SELECT array_position(b.names, n.id), cardinality(b.names) - 1 INTO at, others
        FROM tt_signal_bar AS b JOIN tt_signal_name AS n ON n.id = ANY (b.names) AND n.signal_name = OLD.signal_name
        WHERE b.instrument = OLD.instrument AND b.timestamp = OLD.timestamp FOR UPDATE OF b;
        IF NOT FOUND THEN
            RETURN NULL;  -- somebody else took it away meanwhile
        END IF;
        IF TG_OP = 'UPDATE' AND NOT (NEW.instrument IS DISTINCT FROM OLD.instrument
            OR NEW.timestamp IS DISTINCT FROM OLD.timestamp
            OR NEW.signal_name IS DISTINCT FROM OLD.signal_name
            OR NEW.meta_json IS DISTINCT FROM OLD.meta_json) THEN
            UPDATE tt_signal_bar SET numbers[at] = NEW.score
            WHERE instrument = OLD.instrument AND timestamp = OLD.timestamp;
            NEW.id := OLD.id;
            RETURN NEW;
        END IF;
        IF others = 0 THEN
            DELETE FROM tt_signal_bar WHERE instrument = OLD.instrument AND timestamp = OLD.timestamp;
        ELSE
            UPDATE tt_signal_bar
            SET names = names[1:at - 1] || names[at + 1:], numbers = numbers[1:at - 1] || numbers[at + 1:]
            WHERE instrument = OLD.instrument AND timestamp = OLD.timestamp;
        END IF;
        IF TG_OP = 'DELETE' THEN
            RETURN OLD;
        END IF;
    END IF;
    SELECT n.id INTO known FROM tt_signal_name AS n
    WHERE n.signal_name = NEW.signal_name
            AND md5(n.meta_json) = md5(NEW.meta_json) AND n.meta_json = NEW.meta_json;
    IF NOT FOUND THEN
        INSERT INTO tt_signal_name (signal_name, meta_json) VALUES (NEW.signal_name, NEW.meta_json)
        ON CONFLICT DO NOTHING RETURNING id INTO known;
        IF NOT FOUND THEN  -- somebody else was faster
            SELECT n.id INTO STRICT known FROM tt_signal_name AS n
            WHERE n.signal_name = NEW.signal_name
            AND md5(n.meta_json) = md5(NEW.meta_json) AND n.meta_json = NEW.meta_json;
        END IF;
    END IF;
    INSERT INTO tt_signal_bar AS b (instrument, timestamp, names, numbers)
    VALUES (NEW.instrument, NEW.timestamp, ARRAY[known], ARRAY[NEW.score])
    ON CONFLICT (instrument, timestamp) DO UPDATE
    SET names = b.names || EXCLUDED.names, numbers = b.numbers || EXCLUDED.numbers
    WHERE NOT EXISTS (SELECT FROM tt_signal_name AS n WHERE n.id = ANY (b.names) AND n.signal_name = NEW.signal_name)
    RETURNING (b.id << 23) | (known & 8388607)::bigint INTO NEW.id;
    IF NOT FOUND THEN
        RAISE unique_violation USING
            MESSAGE = 'duplicate key value violates unique constraint "tt_signal_scores_key"',
            DETAIL = format('Key (instrument, timestamp, signal_name)=(%s, %s, %s) already exists.',
                            NEW.instrument, NEW.timestamp, NEW.signal_name),
            SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, CONSTRAINT = 'tt_signal_scores_key';
    END IF;
    RETURN NEW;
END
$change$
""",
        """
CREATE TRIGGER tt_signal_scores_change INSTEAD OF INSERT OR UPDATE OR DELETE ON tt_signal_scores
FOR EACH ROW EXECUTE FUNCTION tt_signal_scores_change()
""",
        ("COMMENT ON VIEW tt_signal_scores IS 'Signal scores in [-1, 1], one row per instrument, session and signal.'"),
        "COMMENT ON COLUMN tt_signal_scores.id IS 'Surrogate key, not part of the content.'",
        "COMMENT ON COLUMN tt_signal_scores.instrument IS 'Symbol as Interactive Brokers writes it.'",
        "COMMENT ON COLUMN tt_signal_scores.timestamp IS 'Session at whose close the score is known.'",
        "COMMENT ON COLUMN tt_signal_scores.signal_name IS 'Name in the signal registry.'",
        "COMMENT ON COLUMN tt_signal_scores.score IS 'Conviction: -1 strongly short, +1 strongly long.'",
        "COMMENT ON COLUMN tt_signal_scores.meta_json IS 'JSON: lookback in sessions, inputs, method.'",
    ),
}
