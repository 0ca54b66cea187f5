"""What the units said: telemetry, newest state, rollups, health, quarantine, on three servers.

Only how partitions are made, compressed and dropped differs between plain PostgreSQL, TimescaleDB
Apache and TimescaleDB community; that difference is in `ensure_partition` and `drop_partitions`.

Revision: 0002.
"""

import sqlalchemy as sa
from alembic import op

from migrations.sql import execute

revision = "0002"
down_revision = "0001"

COLUMNS = """
    battery_charge double precision,
    battery_runtime double precision,
    battery_runtime_elapsed double precision,
    battery_voltage double precision,
    battery_current double precision,
    battery_temperature double precision,
    battery_packs_bad double precision,
    battery_charge_low double precision,
    battery_runtime_low double precision,
    battery_voltage_nominal double precision,
    battery_packs_external double precision,
    battery_capacity double precision,
    battery_charger_status text,
    input_voltage double precision,
    input_l1_n_voltage double precision,
    input_l2_n_voltage double precision,
    input_l3_n_voltage double precision,
    input_l1_l2_voltage double precision,
    input_l2_l3_voltage double precision,
    input_l3_l1_voltage double precision,
    input_frequency double precision,
    input_current double precision,
    input_l1_current double precision,
    input_l2_current double precision,
    input_l3_current double precision,
    input_realpower double precision,
    input_l1_realpower double precision,
    input_l2_realpower double precision,
    input_l3_realpower double precision,
    input_voltage_nominal double precision,
    input_frequency_nominal double precision,
    input_transfer_low double precision,
    input_transfer_high double precision,
    input_transfer_reason text,
    input_bypass_voltage double precision,
    input_bypass_l1_n_voltage double precision,
    input_bypass_l2_n_voltage double precision,
    input_bypass_l3_n_voltage double precision,
    input_bypass_frequency double precision,
    output_voltage double precision,
    output_l1_n_voltage double precision,
    output_l2_n_voltage double precision,
    output_l3_n_voltage double precision,
    output_l1_l2_voltage double precision,
    output_l2_l3_voltage double precision,
    output_l3_l1_voltage double precision,
    output_frequency double precision,
    output_current double precision,
    output_l1_current double precision,
    output_l2_current double precision,
    output_l3_current double precision,
    output_l1_realpower double precision,
    output_l2_realpower double precision,
    output_l3_realpower double precision,
    output_powerfactor double precision,
    output_energy double precision,
    output_voltage_nominal double precision,
    output_frequency_nominal double precision,
    ups_load double precision,
    ups_l1_load double precision,
    ups_l2_load double precision,
    ups_l3_load double precision,
    ups_power double precision,
    ups_realpower double precision,
    ups_efficiency double precision,
    ups_temperature double precision,
    ups_power_nominal double precision,
    ups_realpower_nominal double precision,
    ups_test_result text,
    ambient_temperature double precision,
    ambient_humidity double precision,
    status_on_line boolean,
    status_on_battery boolean,
    status_low_battery boolean,
    status_replace_battery boolean,
    status_charging boolean,
    status_discharging boolean,
    status_bypass boolean,
    status_calibrating boolean,
    status_testing boolean,
    status_off boolean,
    status_overload boolean,
    status_trim boolean,
    status_boost boolean,
    status_eco boolean,
    status_forced_shutdown boolean,
    alarm_battery_depleted boolean,
    alarm_battery_fault boolean,
    alarm_battery_disconnected boolean,
    alarm_battery_temperature boolean,
    alarm_battery_test_failed boolean,
    alarm_charger_fault boolean,
    alarm_input_bad boolean,
    alarm_bypass_bad boolean,
    alarm_maintenance_bypass boolean,
    alarm_output_bad boolean,
    alarm_short_circuit boolean,
    alarm_over_temperature boolean,
    alarm_ambient_temperature boolean,
    alarm_fan_fault boolean,
    alarm_fuse_fault boolean,
    alarm_breaker_open boolean,
    alarm_inverter_fault boolean,
    alarm_rectifier_fault boolean,
    alarm_internal_fault boolean,
    alarm_redundancy_lost boolean,
    alarm_epo boolean,
    alarm_shutdown_imminent boolean,
    alarm_comm_lost boolean,
    alarm_general_fault boolean
"""

ROLLUP_COLUMNS = """
    battery_charge_avg double precision, battery_charge_min double precision, battery_charge_max double precision,
    battery_runtime_avg double precision, battery_runtime_min double precision, battery_runtime_max double precision,
    battery_voltage_avg double precision, battery_voltage_min double precision, battery_voltage_max double precision,
    battery_temperature_avg double precision, battery_temperature_min double precision, battery_temperature_max double precision,
    input_voltage_avg double precision, input_voltage_min double precision, input_voltage_max double precision,
    input_frequency_avg double precision, input_frequency_min double precision, input_frequency_max double precision,
    output_voltage_avg double precision, output_voltage_min double precision, output_voltage_max double precision,
    output_frequency_avg double precision, output_frequency_min double precision, output_frequency_max double precision,
    output_current_avg double precision, output_current_min double precision, output_current_max double precision,
    ups_load_avg double precision, ups_load_min double precision, ups_load_max double precision,
    ups_power_avg double precision, ups_power_min double precision, ups_power_max double precision,
    ups_realpower_avg double precision, ups_realpower_min double precision, ups_realpower_max double precision,
    ups_temperature_avg double precision, ups_temperature_min double precision, ups_temperature_max double precision,
    ambient_temperature_avg double precision, ambient_temperature_min double precision, ambient_temperature_max double precision,
    ambient_humidity_avg double precision, ambient_humidity_min double precision, ambient_humidity_max double precision,
    status_on_battery_any boolean, status_on_battery_seconds double precision,
    status_low_battery_any boolean, status_low_battery_seconds double precision,
    status_replace_battery_any boolean, status_replace_battery_seconds double precision,
    status_bypass_any boolean, status_bypass_seconds double precision,
    status_off_any boolean, status_off_seconds double precision,
    status_overload_any boolean, status_overload_seconds double precision
"""

TABLES = f"""
CREATE TABLE telemetry (
    device_id bigint NOT NULL,
    observed_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
{COLUMNS.strip()},
    extra jsonb
) PARTITIONED;
CREATE UNIQUE INDEX telemetry_key ON telemetry (device_id, observed_at DESC);
COMMENT ON TABLE telemetry IS 'written by collector: one row a reading, kept for days';

CREATE TABLE telemetry_15m (
    device_id bigint NOT NULL,
    bucket timestamptz NOT NULL,
    n integer NOT NULL,
{ROLLUP_COLUMNS.strip()}
) PARTITIONED;
CREATE UNIQUE INDEX telemetry_15m_key ON telemetry_15m (device_id, bucket DESC);
COMMENT ON TABLE telemetry_15m IS 'written by collector: rolled up from telemetry, kept for a year';

CREATE TABLE telemetry_1h (
    device_id bigint NOT NULL,
    bucket timestamptz NOT NULL,
    n integer NOT NULL,
{ROLLUP_COLUMNS.strip()}
) PARTITIONED;
CREATE UNIQUE INDEX telemetry_1h_key ON telemetry_1h (device_id, bucket DESC);
COMMENT ON TABLE telemetry_1h IS 'written by collector: rolled up from telemetry_15m, kept for five years';

CREATE TABLE telemetry_1d (
    device_id bigint NOT NULL,
    bucket timestamptz NOT NULL,
    n integer NOT NULL,
{ROLLUP_COLUMNS.strip()},
    PRIMARY KEY (device_id, bucket)
);
COMMENT ON TABLE telemetry_1d IS 'written by collector: rolled up from telemetry_1h, UTC days, kept for ever';

CREATE TABLE rollup_dirty (
    level text NOT NULL CHECK (level IN ('15m', '1h', '1d')),
    device_id bigint NOT NULL,
    bucket timestamptz NOT NULL,
    PRIMARY KEY (level, device_id, bucket)
);
COMMENT ON TABLE rollup_dirty IS 'written by collector: buckets to compute again';

CREATE TABLE device_state (
    device_id bigint PRIMARY KEY REFERENCES device ON DELETE CASCADE,
    observed_at timestamptz,
    received_at timestamptz,
    fast_at timestamptz,
    slow_at timestamptz,
    stays_valid_seconds double precision,
    silence_check_at timestamptz,
{COLUMNS.strip()},
    extra jsonb
) WITH (fillfactor = 70);
CREATE INDEX ON device_state (silence_check_at);
COMMENT ON TABLE device_state IS 'written by collector: the newest value of each point';
COMMENT ON COLUMN device_state.fast_at IS 'observed time of the fast points; slow_at likewise';
COMMENT ON COLUMN device_state.stays_valid_seconds IS
    'how long fast points are believed; NULL: until replaced';

CREATE FUNCTION make_device_state() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public AS $$
BEGIN
    INSERT INTO device_state (device_id) VALUES (NEW.id);
    RETURN NEW;
END
$$;
CREATE TRIGGER make_device_state AFTER INSERT ON device
FOR EACH ROW EXECUTE FUNCTION make_device_state();
INSERT INTO device_state (device_id) SELECT id FROM device;

CREATE TABLE device_health (
    device_id bigint NOT NULL REFERENCES device ON DELETE CASCADE,
    day date NOT NULL,
    index_percent double precision,
    low_percent double precision,
    high_percent double precision,
    life_used double precision,
    equivalent_age_years double precision,
    calendar_age_years double precision,
    replace_battery boolean,
    confidence text NOT NULL CHECK (confidence IN ('unknown', 'low', 'medium', 'high')),
    statement_en text NOT NULL,
    statement_zh text NOT NULL,
    evidence jsonb NOT NULL DEFAULT '[]',
    PRIMARY KEY (device_id, day)
);
COMMENT ON TABLE device_health IS 'written by service_api: the daily battery figure';

CREATE TABLE quarantine (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    received_at timestamptz NOT NULL,
    device_id bigint,
    device_key text,
    source text NOT NULL,
    reason text NOT NULL,
    point text,
    detail text NOT NULL,
    raw text NOT NULL
);
CREATE INDEX ON quarantine (received_at);
CREATE INDEX ON quarantine (device_id, received_at);
COMMENT ON TABLE quarantine IS 'written by collector: refused input with its reason';
"""

# A text "{…}" placeholder would clash with SQL's braces, so the one word is replaced instead.
PARTITIONED_PLAIN = {
    "telemetry": "PARTITION BY RANGE (observed_at)",
    "telemetry_15m": "PARTITION BY RANGE (bucket)",
    "telemetry_1h": "PARTITION BY RANGE (bucket)",
}

SPANS = """
CREATE TABLE partition_span (
    parent text PRIMARY KEY,
    time_column text NOT NULL,
    span interval NOT NULL
);
INSERT INTO partition_span VALUES
    ('telemetry', 'observed_at', '1 day'),
    ('telemetry_15m', 'bucket', '30 days'),
    ('telemetry_1h', 'bucket', '360 days');
COMMENT ON TABLE partition_span IS 'written by migrations: which tables have partitions, how long each';
"""

PLAIN = """
CREATE FUNCTION ensure_partition(parent_name text, at timestamptz) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public SET timezone = 'UTC' AS $$
DECLARE
    plan partition_span;
    starts timestamptz;
    child text;
BEGIN
    SELECT * INTO STRICT plan FROM partition_span WHERE parent = parent_name;
    starts := date_bin(plan.span, at, 'epoch');
    child := format('%s_%s', parent_name, to_char(starts, 'YYYYMMDD'));
    IF to_regclass(child) IS NOT NULL THEN
        RETURN false;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('ensure_partition'));
    IF to_regclass(child) IS NOT NULL THEN
        RETURN false;
    END IF;
    -- Attaching takes a weaker lock on the parent than creating in place: writers go on.
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', child, parent_name);
    EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
        parent_name, child, starts, starts + plan.span);
    RETURN true;
END
$$;

CREATE FUNCTION drop_partitions(parent_name text, before timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public SET timezone = 'UTC' AS $$
DECLARE
    plan partition_span;
    child text;
    dropped integer := 0;
BEGIN
    SELECT * INTO STRICT plan FROM partition_span WHERE parent = parent_name;
    FOR child IN
        SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = parent_name::regclass
        AND to_date(right(c.relname, 8), 'YYYYMMDD')::timestamptz + plan.span <= before
        ORDER BY c.relname
    LOOP
        EXECUTE format('DROP TABLE %I', child);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END
$$;

CREATE FUNCTION storage_variant() RETURNS text LANGUAGE sql IMMUTABLE RETURN 'plain';
"""

TIMESCALE = """
SELECT create_hypertable('telemetry', by_range('observed_at', interval '1 day'),
    create_default_indexes => false);
SELECT create_hypertable('telemetry_15m', by_range('bucket', interval '30 days'),
    create_default_indexes => false);
SELECT create_hypertable('telemetry_1h', by_range('bucket', interval '360 days'),
    create_default_indexes => false);

CREATE FUNCTION ensure_partition(parent_name text, at timestamptz) RETURNS boolean
LANGUAGE sql IMMUTABLE RETURN false; -- a hypertable makes its chunks itself

CREATE FUNCTION drop_partitions(parent_name text, before timestamptz) RETURNS integer
LANGUAGE sql SECURITY DEFINER SET search_path = public
AS 'SELECT count(*)::integer FROM drop_chunks(parent_name::regclass, older_than => before)';
"""

APACHE = """
CREATE FUNCTION storage_variant() RETURNS text LANGUAGE sql IMMUTABLE RETURN 'timescale-apache';
"""

COMMUNITY = """
ALTER TABLE telemetry SET (timescaledb.enable_columnstore,
    timescaledb.segmentby = 'device_id', timescaledb.orderby = 'observed_at DESC');
ALTER TABLE telemetry_15m SET (timescaledb.enable_columnstore,
    timescaledb.segmentby = 'device_id', timescaledb.orderby = 'bucket DESC');
ALTER TABLE telemetry_1h SET (timescaledb.enable_columnstore,
    timescaledb.segmentby = 'device_id', timescaledb.orderby = 'bucket DESC');
CALL add_columnstore_policy('telemetry', after => interval '2 days', if_not_exists => true);
CALL add_columnstore_policy('telemetry_15m', after => interval '45 days', if_not_exists => true);
CALL add_columnstore_policy('telemetry_1h', after => interval '400 days', if_not_exists => true);

CREATE FUNCTION storage_variant() RETURNS text LANGUAGE sql IMMUTABLE RETURN 'timescale-community';
"""

VIEWS = """
CREATE VIEW visible_telemetry WITH (security_barrier) AS
SELECT t.* FROM telemetry t
JOIN device_owner o ON o.device_id = t.device_id AND o.during @> t.observed_at
WHERE (SELECT is_staff()) OR o.customer_id = (SELECT seen_customer());

CREATE VIEW visible_telemetry_15m WITH (security_barrier) AS
SELECT t.* FROM telemetry_15m t
JOIN device_owner o ON o.device_id = t.device_id AND o.during @> t.bucket
WHERE (SELECT is_staff()) OR o.customer_id = (SELECT seen_customer());

CREATE VIEW visible_telemetry_1h WITH (security_barrier) AS
SELECT t.* FROM telemetry_1h t
JOIN device_owner o ON o.device_id = t.device_id AND o.during @> t.bucket
WHERE (SELECT is_staff()) OR o.customer_id = (SELECT seen_customer());

CREATE VIEW visible_telemetry_1d WITH (security_barrier) AS
SELECT t.* FROM telemetry_1d t
JOIN device_owner o ON o.device_id = t.device_id AND o.during @> t.bucket
WHERE (SELECT is_staff()) OR o.customer_id = (SELECT seen_customer());

CREATE VIEW visible_device_state WITH (security_barrier) AS
SELECT s.* FROM device_state s JOIN device d ON d.id = s.device_id
WHERE (SELECT is_staff()) OR d.customer_id = (SELECT seen_customer());

CREATE VIEW visible_device_health WITH (security_barrier) AS
SELECT h.* FROM device_health h
JOIN device_owner o ON o.device_id = h.device_id AND o.during @> h.day::timestamptz
WHERE (SELECT is_staff()) OR o.customer_id = (SELECT seen_customer());

CREATE VIEW visible_quarantine WITH (security_barrier) AS
SELECT q.* FROM quarantine q WHERE (SELECT is_staff());

GRANT SELECT ON visible_telemetry, visible_telemetry_15m, visible_telemetry_1h,
    visible_telemetry_1d, visible_device_state, visible_device_health, visible_quarantine
    TO ridethrough_api;
GRANT SELECT, INSERT ON telemetry TO ridethrough_ingest;
GRANT SELECT, INSERT, UPDATE, DELETE ON telemetry_15m, telemetry_1h, telemetry_1d, rollup_dirty,
    device_health, quarantine TO ridethrough_ingest;
GRANT SELECT, INSERT, UPDATE ON device_state TO ridethrough_ingest;
GRANT SELECT ON partition_span TO ridethrough_ingest;
REVOKE EXECUTE ON FUNCTION ensure_partition, drop_partitions FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ensure_partition, drop_partitions TO ridethrough_ingest;
"""


def _timescale_license() -> str | None:
    """Return the server's TimescaleDB licence, None on plain PostgreSQL."""
    connection = op.get_bind()
    # A setting of its loader; shared_preload_libraries is not for every role to read.
    workers = "SELECT current_setting('timescaledb.max_background_workers', true)"
    if connection.execute(sa.text(workers)).scalar() is None:
        return None
    execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
    return connection.execute(sa.text("SELECT current_setting('timescaledb.license')")).scalar()


def _tables(*, plain: bool) -> str:
    statements = []
    for statement in TABLES.split(";\n\n"):
        parent = statement.split("(", 1)[0].split()[-1]
        clause = PARTITIONED_PLAIN.get(parent, "") if plain else ""
        statements.append(statement.replace("PARTITIONED", clause))
    return ";\n\n".join(statements)


def upgrade() -> None:
    """Create the tables of readings in the form that this server can do best."""
    timescale = _timescale_license()
    execute(_tables(plain=timescale is None))
    execute(SPANS)
    execute(PLAIN if timescale is None else TIMESCALE)
    if timescale is not None:
        execute(COMMUNITY if timescale == "timescale" else APACHE)
    execute(VIEWS)


def downgrade() -> None:
    """Drop everything that `upgrade` made; the extension stays."""
    execute("""
        DROP VIEW visible_quarantine, visible_device_health, visible_device_state,
            visible_telemetry_1d, visible_telemetry_1h, visible_telemetry_15m, visible_telemetry;
        DROP FUNCTION storage_variant;
        DROP FUNCTION drop_partitions;
        DROP FUNCTION ensure_partition;
        DROP TRIGGER make_device_state ON device;
        DROP FUNCTION make_device_state;
        DROP TABLE partition_span;
        DROP TABLE quarantine;
        DROP TABLE device_health;
        DROP TABLE device_state;
        DROP TABLE rollup_dirty;
    """)
    # One statement each: dropping a hypertable is not allowed together with other objects.
    for table in ("telemetry_1d", "telemetry_1h", "telemetry_15m", "telemetry"):
        execute(f"DROP TABLE {table}")
