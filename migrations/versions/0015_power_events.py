"""Each time on battery as an episode, and what its promise was worth.

Revision: 0015.
"""

from migrations.sql import execute

revision = "0015"
down_revision = "0014"

TABLES = """
CREATE TABLE power_event (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device_id bigint NOT NULL REFERENCES device ON DELETE CASCADE,
    customer_id bigint NOT NULL REFERENCES customer,
    site_id bigint NOT NULL REFERENCES site,
    kind text NOT NULL CHECK (kind IN ('outage', 'self_test', 'calibration')),
    began_at timestamptz NOT NULL,
    ended_at timestamptz,
    lost boolean NOT NULL,
    seconds double precision NOT NULL,
    interruptions integer NOT NULL,
    cause text,
    load_mean double precision,
    load_max double precision,
    watt_hours double precision,
    energy_from text CHECK (energy_from IN ('watts', 'load')),
    celsius double precision,
    voltage_lowest double precision,
    charge_before double precision,
    charge_after double precision,
    promised_seconds double precision,
    reached_end boolean NOT NULL,
    proved_promise double precision,
    proved_seconds double precision,
    proved_low double precision,
    proved_high double precision,
    unproven text,
    looked_at timestamptz NOT NULL,
    UNIQUE (device_id, began_at),
    CHECK ((proved_seconds IS NULL) = (unproven IS NOT NULL))
);
CREATE INDEX ON power_event (began_at DESC);
CREATE INDEX ON power_event (customer_id, began_at DESC);
CREATE INDEX ON power_event (looked_at) WHERE ended_at IS NULL;
COMMENT ON TABLE power_event IS
    'written by collector: a time on battery, worked out from readings; again when some come late';
COMMENT ON COLUMN power_event.proved_promise IS
    'seconds that the unit promised once its discharge had settled; proved_seconds: what came of it';

CREATE TABLE power_event_look (
    is_the_one boolean PRIMARY KEY DEFAULT true CHECK (is_the_one),
    until_at timestamptz NOT NULL
);
INSERT INTO power_event_look (until_at) VALUES ('epoch');
COMMENT ON TABLE power_event_look IS
    'written by collector: readings received until then have been looked through';

CREATE INDEX telemetry_on_battery ON telemetry (received_at) WHERE status_on_battery;
"""

SECURITY = """
ALTER TABLE power_event ENABLE ROW LEVEL SECURITY;
ALTER TABLE power_event FORCE ROW LEVEL SECURITY;
CREATE POLICY seen ON power_event
    USING ((SELECT is_staff()) OR customer_id = (SELECT seen_customer()));
CREATE POLICY service ON power_event TO ridethrough_ingest USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON power_event TO ridethrough_ingest;
GRANT SELECT ON power_event TO ridethrough_api;
GRANT SELECT, UPDATE ON power_event_look TO ridethrough_ingest;
"""


def upgrade() -> None:
    """Create the episodes, and the way to readings on battery by when they came."""
    execute(TABLES)
    execute(SECURITY)


def downgrade() -> None:
    """Drop them."""
    execute("DROP INDEX telemetry_on_battery; DROP TABLE power_event_look, power_event;")
