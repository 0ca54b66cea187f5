"""The field: how cards want to be asked, what they said unasked, values in doubt, who polls what.

Revision: 0006.
"""

from migrations.sql import execute

revision = "0006"
down_revision = "0005"

# A shard is the same for a device everywhere: collectors of a group share their devices by it,
# and so do the workers that take in what collectors away from the centre send.
SHARDS = """
ALTER TABLE device ADD COLUMN shard smallint NOT NULL
    GENERATED ALWAYS AS (get_byte(sha256(decode(key, 'escape')), 0) % 64) STORED;
COMMENT ON COLUMN device.shard IS 'the first byte of the SHA-256 of the key, modulo 64';
CREATE INDEX ON device (collector_group, shard);

ALTER TABLE collector
    ADD COLUMN name text,
    ADD COLUMN is_uplink boolean NOT NULL DEFAULT false,
    ADD COLUMN skew_seconds double precision,
    ADD COLUMN spooled bigint NOT NULL DEFAULT 0,
    ADD COLUMN spool_dropped bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN collector.name IS 'the same over its lives; NULL: nobody named it';
COMMENT ON COLUMN collector.skew_seconds IS 'how far its clock is ahead of ours, as far as we can tell';
COMMENT ON COLUMN collector.spooled IS 'readings that wait on its disk for the line';
COMMENT ON COLUMN collector.spool_dropped IS 'readings that its full spool lost in this life';
CREATE INDEX ON collector (name) WHERE name IS NOT NULL;

CREATE TABLE shard_lease (
    work text NOT NULL,
    shard smallint NOT NULL CHECK (shard BETWEEN 0 AND 63),
    collector_id bigint NOT NULL REFERENCES collector ON DELETE CASCADE,
    until_at timestamptz NOT NULL,
    PRIMARY KEY (work, shard)
);
COMMENT ON TABLE shard_lease IS
    'written by collector: who does which share of a work, "ingest" or "collect:GROUP", and until when';

CREATE TABLE shard_holder (
    work text NOT NULL,
    collector_id bigint NOT NULL REFERENCES collector ON DELETE CASCADE,
    until_at timestamptz NOT NULL,
    PRIMARY KEY (work, collector_id)
);
COMMENT ON TABLE shard_holder IS
    'written by collector: among whom the shards of a work are shared, by the database''s own clock';
"""

CARDS = """
ALTER TABLE device ADD COLUMN patience jsonb NOT NULL DEFAULT '{}';
COMMENT ON COLUMN device.patience IS
    'how the card is to be asked, as far as people have set it; what is not set is learned';

CREATE TABLE device_card (
    device_id bigint PRIMARY KEY REFERENCES device ON DELETE CASCADE,
    patience jsonb NOT NULL DEFAULT '{}',
    engine_id bytea,
    restarted_at timestamptz,
    failing_since_at timestamptz,
    failure text,
    failure_detail text,
    changed_at timestamptz NOT NULL
);
CREATE INDEX ON device_card (engine_id) WHERE engine_id IS NOT NULL;
COMMENT ON TABLE device_card IS
    'written by collector: what was learned about a card, and why it cannot be read while it cannot';

CREATE TABLE trap_seen (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device_id bigint REFERENCES device ON DELETE CASCADE,
    source text NOT NULL,
    oid text NOT NULL,
    name text,
    count bigint NOT NULL DEFAULT 1,
    first_at timestamptz NOT NULL,
    last_at timestamptz NOT NULL,
    variables jsonb NOT NULL DEFAULT '{}',
    UNIQUE NULLS NOT DISTINCT (device_id, source, oid)
);
CREATE INDEX ON trap_seen (last_at);
COMMENT ON TABLE trap_seen IS 'written by collector; a row a device, sender and kind of trap';
COMMENT ON COLUMN trap_seen.name IS 'NULL: no profile knows this trap';
COMMENT ON COLUMN trap_seen.variables IS 'of the newest one, bounded';
"""

DOUBTS = """
CREATE TABLE correction (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device_id bigint REFERENCES device ON DELETE CASCADE,
    profile text,
    model text,
    point text NOT NULL,
    action text NOT NULL CHECK (action IN ('convert', 'ignore', 'trust')),
    factor double precision NOT NULL DEFAULT 1,
    addend double precision NOT NULL DEFAULT 0,
    reason text NOT NULL DEFAULT '',
    made_by text NOT NULL,
    made_at timestamptz NOT NULL,
    ended_by text,
    ended_at timestamptz,
    CHECK ((device_id IS NULL) <> (profile IS NULL)),
    CHECK ((ended_at IS NULL) = (ended_by IS NULL))
);
CREATE UNIQUE INDEX ON correction (device_id, point) WHERE ended_at IS NULL AND device_id IS NOT NULL;
CREATE UNIQUE INDEX ON correction (profile, coalesce(model, ''), point)
    WHERE ended_at IS NULL AND profile IS NOT NULL;
COMMENT ON TABLE correction IS
    'written by service_api: what integrators decided about values of a device or a family';
COMMENT ON COLUMN correction.action IS
    'convert: value × factor + addend; ignore: the device does not have this point; trust: it is right as it is';

CREATE TABLE doubt (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device_id bigint NOT NULL REFERENCES device ON DELETE CASCADE,
    point text NOT NULL,
    kind text NOT NULL,
    value double precision,
    evidence jsonb NOT NULL DEFAULT '{}',
    proposal jsonb NOT NULL DEFAULT '{}',
    raised_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL,
    state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'accepted', 'dismissed', 'ended')),
    ended_at timestamptz,
    decided_by text,
    decided_at timestamptz,
    correction_id bigint REFERENCES correction ON DELETE SET NULL,
    CHECK ((state IN ('accepted', 'dismissed')) = (decided_at IS NOT NULL))
);
CREATE UNIQUE INDEX ON doubt (device_id, point, kind) WHERE state = 'open';
CREATE INDEX ON doubt (raised_at);
COMMENT ON TABLE doubt IS
    'raised by collector, decided through service_api: a value of a device that cannot be what it says';
"""

SECURITY = """
ALTER TABLE device_card ENABLE ROW LEVEL SECURITY;
ALTER TABLE device_card FORCE ROW LEVEL SECURITY;
CREATE POLICY staff ON device_card USING ((SELECT is_staff()));
CREATE POLICY service ON device_card TO ridethrough_ingest USING (true) WITH CHECK (true);
ALTER TABLE trap_seen ENABLE ROW LEVEL SECURITY;
ALTER TABLE trap_seen FORCE ROW LEVEL SECURITY;
CREATE POLICY staff ON trap_seen USING ((SELECT is_staff()));
CREATE POLICY service ON trap_seen TO ridethrough_ingest USING (true) WITH CHECK (true);
ALTER TABLE correction ENABLE ROW LEVEL SECURITY;
ALTER TABLE correction FORCE ROW LEVEL SECURITY;
CREATE POLICY staff ON correction USING ((SELECT is_staff())) WITH CHECK ((SELECT is_staff()));
CREATE POLICY service ON correction TO ridethrough_ingest USING (true);
ALTER TABLE doubt ENABLE ROW LEVEL SECURITY;
ALTER TABLE doubt FORCE ROW LEVEL SECURITY;
CREATE POLICY staff ON doubt USING ((SELECT is_staff())) WITH CHECK ((SELECT is_staff()));
CREATE POLICY service ON doubt TO ridethrough_ingest USING (true) WITH CHECK (true);

GRANT SELECT ON shard_lease, shard_holder, device_card, trap_seen, correction, doubt
    TO ridethrough_ingest, ridethrough_api;
GRANT INSERT, UPDATE, DELETE ON shard_lease, shard_holder, device_card, trap_seen TO ridethrough_ingest;
GRANT INSERT, UPDATE ON doubt TO ridethrough_ingest;
GRANT INSERT, UPDATE ON correction TO ridethrough_api;
GRANT UPDATE ON doubt TO ridethrough_api;
"""


def upgrade() -> None:
    """Create the field's tables."""
    execute(SHARDS)
    execute(CARDS)
    execute(DOUBTS)
    execute(SECURITY)


def downgrade() -> None:
    """Drop the field's tables and columns."""
    execute("""
        DROP TABLE doubt, correction, trap_seen, device_card, shard_holder, shard_lease;
        ALTER TABLE device DROP COLUMN patience, DROP COLUMN shard;
        ALTER TABLE collector DROP COLUMN name, DROP COLUMN is_uplink, DROP COLUMN skew_seconds,
            DROP COLUMN spooled, DROP COLUMN spool_dropped;
    """)
