"""Work that is announced, and engineers at work on a unit.

Revision: 0014.
"""

from migrations.sql import execute

revision = "0014"
down_revision = "0013"

TABLES = """
CREATE TABLE planned_work (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id bigint NOT NULL REFERENCES customer,
    site_id bigint NOT NULL REFERENCES site,
    device_ids bigint[] NOT NULL DEFAULT '{}',
    work text NOT NULL CHECK (work IN ('generator_test', 'mains_maintenance', 'network_work',
        'battery_work', 'cooling_work', 'other')),
    first_on date NOT NULL,
    at time NOT NULL,
    minutes integer NOT NULL CHECK (minutes BETWEEN 5 AND 20160),
    repeat text NOT NULL CHECK (repeat IN ('once', 'weekly', 'monthly')),
    every integer NOT NULL DEFAULT 1 CHECK (every BETWEEN 1 AND 52),
    until date,
    lets_critical_through boolean NOT NULL,
    reason text NOT NULL,
    created_at timestamptz NOT NULL,
    created_by text NOT NULL,
    ended_at timestamptz,
    ended_by text,
    CHECK ((ended_at IS NULL) = (ended_by IS NULL))
);
CREATE INDEX ON planned_work (site_id);
COMMENT ON TABLE planned_work IS
    'written by service_api: work that a customer or dispatcher announced, once or again and again';
COMMENT ON COLUMN planned_work.device_ids IS 'empty: every unit of the site';
COMMENT ON COLUMN planned_work.at IS 'in the time of the site, as first_on and until';

CREATE TABLE planned_work_occurrence (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    planned_work_id bigint NOT NULL REFERENCES planned_work ON DELETE CASCADE,
    occurs_on date NOT NULL,
    begins_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    skipped_at timestamptz,
    skipped_by text,
    result jsonb,
    UNIQUE (planned_work_id, occurs_on)
);
CREATE INDEX ON planned_work_occurrence (begins_at);
CREATE INDEX ON planned_work_occurrence (ends_at) WHERE result IS NULL;
COMMENT ON TABLE planned_work_occurrence IS
    'written by service_api: each time of planned work, made ahead; afterwards what was seen of it';

ALTER TABLE suppression ADD COLUMN occurrence_id bigint
    REFERENCES planned_work_occurrence ON DELETE SET NULL;
CREATE UNIQUE INDEX suppression_occurrence ON suppression (occurrence_id, device_id)
    NULLS NOT DISTINCT WHERE occurrence_id IS NOT NULL AND ended_at IS NULL;
COMMENT ON COLUMN suppression.occurrence_id IS 'the time of planned work that it is for';

CREATE TABLE work_session (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id bigint NOT NULL REFERENCES customer,
    device_id bigint NOT NULL REFERENCES device ON DELETE CASCADE,
    work_order_id bigint REFERENCES work_order,
    suppression_id bigint NOT NULL REFERENCES suppression,
    reason text NOT NULL,
    checked_in_at timestamptz NOT NULL,
    checked_in_by text NOT NULL,
    checked_out_at timestamptz,
    checked_out_by text,
    checks jsonb,
    exception text,
    CHECK ((checked_out_at IS NULL) = (checked_out_by IS NULL)),
    CHECK ((checked_out_at IS NULL) = (checks IS NULL))
);
CREATE UNIQUE INDEX work_session_open ON work_session (device_id) WHERE checked_out_at IS NULL;
CREATE INDEX ON work_session (work_order_id);
COMMENT ON TABLE work_session IS
    'written by service_api: an engineer at work on a unit, from check-in to check-out';
COMMENT ON COLUMN work_session.checks IS
    'what was found at check-out: [{"key", "verdict", "en", "zh"}…]';
COMMENT ON COLUMN work_session.exception IS 'why the unit was left although a check did not pass';
"""

SECURITY = """
ALTER TABLE planned_work ENABLE ROW LEVEL SECURITY;
ALTER TABLE planned_work FORCE ROW LEVEL SECURITY;
CREATE POLICY seen ON planned_work
    USING ((SELECT is_staff()) OR customer_id = (SELECT seen_customer()));
CREATE POLICY service ON planned_work TO ridethrough_ingest USING (true) WITH CHECK (true);

ALTER TABLE planned_work_occurrence ENABLE ROW LEVEL SECURITY;
ALTER TABLE planned_work_occurrence FORCE ROW LEVEL SECURITY;
CREATE POLICY seen ON planned_work_occurrence
    USING ((SELECT is_staff())
        OR EXISTS (SELECT FROM planned_work p WHERE p.id = planned_work_id));
CREATE POLICY service ON planned_work_occurrence TO ridethrough_ingest
    USING (true) WITH CHECK (true);

ALTER TABLE work_session ENABLE ROW LEVEL SECURITY;
ALTER TABLE work_session FORCE ROW LEVEL SECURITY;
CREATE POLICY seen ON work_session
    USING ((SELECT is_staff()) OR customer_id = (SELECT seen_customer()))
    WITH CHECK ((SELECT is_staff()));
CREATE POLICY service ON work_session TO ridethrough_ingest USING (true) WITH CHECK (true);

GRANT SELECT, INSERT, UPDATE ON planned_work, planned_work_occurrence
    TO ridethrough_ingest, ridethrough_api;
GRANT SELECT, INSERT, UPDATE ON work_session TO ridethrough_api;
GRANT SELECT ON work_session TO ridethrough_ingest;
"""


def upgrade() -> None:
    """Create the tables of planned work and of work on a unit."""
    execute(TABLES)
    execute(SECURITY)


def downgrade() -> None:
    """Drop them."""
    execute("""
        DROP TABLE work_session;
        ALTER TABLE suppression DROP COLUMN occurrence_id;
        DROP TABLE planned_work_occurrence, planned_work;
    """)
