"""What a battery figure stands on, and what follows from it.

Revision: 0008.
"""

from migrations.sql import execute

revision = "0008"
down_revision = "0007"

TABLES = """
CREATE TABLE battery_day (
    device_id bigint NOT NULL REFERENCES device ON DELETE CASCADE,
    day date NOT NULL,
    celsius real NOT NULL,
    samples smallint NOT NULL,
    log_load_low real NOT NULL,
    log_runtime_low real NOT NULL,
    log_load_high real NOT NULL,
    log_runtime_high real NOT NULL,
    PRIMARY KEY (device_id, day)
);
COMMENT ON TABLE battery_day IS
    'written by service_api: what a UTC day tells of a battery; NaN where nothing is known';
COMMENT ON COLUMN battery_day.log_runtime_low IS
    'median of ln seconds at the lower half of the day''s loads; log_load_low is ln percent';

CREATE TABLE battery_discharge (
    device_id bigint NOT NULL REFERENCES device ON DELETE CASCADE,
    ended_at timestamptz NOT NULL,
    seconds real NOT NULL,
    load real NOT NULL,
    charge_before real,
    charge_after real,
    celsius real,
    expected_seconds real,
    reached_end boolean NOT NULL,
    PRIMARY KEY (device_id, ended_at)
);
COMMENT ON TABLE battery_discharge IS
    'written by service_api: a time on battery as the rollups of 15 minutes show it';

CREATE TABLE battery_test (
    device_id bigint NOT NULL REFERENCES device ON DELETE CASCADE,
    ended_at timestamptz NOT NULL,
    outcome text NOT NULL CHECK (outcome IN ('passed', 'failed', 'aborted', 'invalid')),
    is_dated boolean NOT NULL,
    PRIMARY KEY (device_id, ended_at)
);
COMMENT ON TABLE battery_test IS 'written by service_api: self-tests as the units told of them';
COMMENT ON COLUMN battery_test.is_dated IS
    'false: the unit tells no date, and ended_at is when its result was first seen';

CREATE TABLE battery_swap (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device_id bigint NOT NULL REFERENCES device ON DELETE CASCADE,
    customer_id bigint NOT NULL REFERENCES customer,
    swapped_on date NOT NULL,
    installed_before date,
    part_id bigint REFERENCES part,
    remark text NOT NULL DEFAULT '',
    recorded_at timestamptz NOT NULL,
    recorded_by text NOT NULL,
    undone_at timestamptz,
    undone_by text,
    CHECK ((undone_at IS NULL) = (undone_by IS NULL))
);
CREATE INDEX ON battery_swap (device_id, id);
COMMENT ON TABLE battery_swap IS
    'written by service_api: batteries that were replaced, as people recorded it';
COMMENT ON COLUMN battery_swap.installed_before IS
    'the date in the records until then, to go back to when this is undone';

CREATE TABLE identity_change (
    device_id bigint NOT NULL REFERENCES device ON DELETE CASCADE,
    at timestamptz NOT NULL,
    what text NOT NULL CHECK (what IN ('model', 'serial', 'firmware')),
    before text NOT NULL,
    after text NOT NULL,
    PRIMARY KEY (device_id, at, what)
);
COMMENT ON TABLE identity_change IS
    'written by the trigger on device, append-only: who a unit said it was, when that changed';
CREATE FUNCTION keep_identity_change() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public AS $$
BEGIN
    INSERT INTO identity_change (device_id, at, what, before, after)
    SELECT NEW.id, coalesce(NEW.identified_at, now()), what, before, after
    FROM (VALUES ('model', OLD.model, NEW.model), ('serial', OLD.serial, NEW.serial),
        ('firmware', OLD.firmware, NEW.firmware)) AS x (what, before, after)
    WHERE before <> after
    ON CONFLICT DO NOTHING;
    RETURN NEW;
END
$$;
CREATE TRIGGER keep_identity_change AFTER UPDATE OF model, serial, firmware ON device
FOR EACH ROW EXECUTE FUNCTION keep_identity_change();

ALTER TABLE device_health
    ADD replace_from date,
    ADD replace_median date,
    ADD replace_until date,
    ADD ends_in_90_days double precision,
    ADD ends_in_180_days double precision,
    ADD ends_in_365_days double precision,
    ADD advice text NOT NULL DEFAULT 'none'
        CHECK (advice IN ('none', 'watch', 'test', 'plan', 'replace')),
    ADD advice_since date,
    ADD swapped_on date;
COMMENT ON COLUMN device_health.replace_from IS
    'with replace_until the 80 % range of the day on which capacity falls to 80 %';
COMMENT ON COLUMN device_health.swapped_on IS
    'a replacement that the readings show and nobody recorded';
CREATE OR REPLACE VIEW visible_device_health WITH (security_barrier) AS
SELECT h.* FROM device_health h
JOIN device_owner o ON o.device_id = h.device_id AND o.during @> h.day::timestamptz
WHERE (SELECT is_staff()) OR o.customer_id = (SELECT seen_customer());
"""

SECURITY = """
ALTER TABLE battery_swap ENABLE ROW LEVEL SECURITY;
ALTER TABLE battery_swap FORCE ROW LEVEL SECURITY;
CREATE POLICY seen ON battery_swap
    USING ((SELECT is_staff()) OR customer_id = (SELECT seen_customer()));
CREATE POLICY service ON battery_swap TO ridethrough_ingest USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE ON battery_swap TO ridethrough_api;
GRANT SELECT ON battery_swap, identity_change TO ridethrough_ingest;
GRANT SELECT, INSERT, UPDATE, DELETE ON battery_day, battery_discharge, battery_test
    TO ridethrough_ingest;

CREATE VIEW visible_battery_discharge WITH (security_barrier) AS
SELECT b.* FROM battery_discharge b
JOIN device_owner o ON o.device_id = b.device_id AND o.during @> b.ended_at
WHERE (SELECT is_staff()) OR o.customer_id = (SELECT seen_customer());
GRANT SELECT ON visible_battery_discharge TO ridethrough_api;
"""


def upgrade() -> None:
    """Create the tables of battery evidence and widen the daily figure."""
    execute(TABLES)
    execute(SECURITY)


def downgrade() -> None:
    """Drop them; the view has to be made again without the columns."""
    execute("""
        DROP VIEW visible_battery_discharge, visible_device_health;
        DROP TRIGGER keep_identity_change ON device;
        DROP FUNCTION keep_identity_change;
        DROP TABLE identity_change, battery_swap, battery_test, battery_discharge, battery_day;
        ALTER TABLE device_health DROP replace_from, DROP replace_median, DROP replace_until,
            DROP ends_in_90_days, DROP ends_in_180_days, DROP ends_in_365_days, DROP advice,
            DROP advice_since, DROP swapped_on;
        CREATE VIEW visible_device_health WITH (security_barrier) AS
        SELECT h.* FROM device_health h
        JOIN device_owner o ON o.device_id = h.device_id AND o.during @> h.day::timestamptz
        WHERE (SELECT is_staff()) OR o.customer_id = (SELECT seen_customer());
        GRANT SELECT ON visible_device_health TO ridethrough_api;
    """)
