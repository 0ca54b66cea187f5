"""Alarms that are quiet by design, and alarms that stay until a person has looked.

Revision: 0012.
"""

from migrations.sql import execute

revision = "0012"
down_revision = "0011"

TABLES = """
CREATE TABLE suppression (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id bigint NOT NULL REFERENCES customer,
    site_id bigint NOT NULL REFERENCES site,
    device_id bigint REFERENCES device ON DELETE CASCADE,
    kind text NOT NULL
        CHECK (kind IN ('planned_work', 'work_mode', 'out_of_service', 'chattering')),
    rule_keys text[],
    lets_critical_through boolean NOT NULL,
    begins_at timestamptz NOT NULL,
    ends_at timestamptz,
    reason text NOT NULL,
    created_at timestamptz NOT NULL,
    created_by text NOT NULL,
    ended_at timestamptz,
    ended_by text,
    end_reason text,
    CHECK (ends_at > begins_at),
    CHECK ((ended_at IS NULL) = (ended_by IS NULL)),
    CHECK (kind = 'planned_work' OR device_id IS NOT NULL),
    CHECK (kind <> 'planned_work' OR ends_at IS NOT NULL),
    CHECK (kind <> 'chattering' OR cardinality(rule_keys) = 1)
);
CREATE INDEX ON suppression (device_id) WHERE ended_at IS NULL AND device_id IS NOT NULL;
CREATE INDEX ON suppression (site_id, begins_at DESC);
CREATE INDEX suppression_standing ON suppression (ends_at) WHERE ended_at IS NULL;
CREATE UNIQUE INDEX suppression_chattering ON suppression (device_id, rule_keys)
    WHERE kind = 'chattering' AND ended_at IS NULL;
CREATE UNIQUE INDEX suppression_work_mode ON suppression (device_id)
    WHERE kind = 'work_mode' AND ended_at IS NULL;
COMMENT ON TABLE suppression IS
    'written by rules: alarms of a unit or site that are quiet by design, from when to when, why';
COMMENT ON COLUMN suppression.device_id IS 'NULL: every unit of the site';
COMMENT ON COLUMN suppression.rule_keys IS 'NULL: every rule';
COMMENT ON COLUMN suppression.ends_at IS 'when it is over by itself; NULL: when somebody ends it';
COMMENT ON COLUMN suppression.ended_at IS 'when it was over, or was taken back before it began';

CREATE TABLE suppression_event (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    suppression_id bigint NOT NULL REFERENCES suppression ON DELETE CASCADE,
    at timestamptz NOT NULL,
    kind text NOT NULL CHECK (kind IN ('created', 'changed', 'ended', 'over')),
    actor text NOT NULL,
    detail jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX ON suppression_event (suppression_id, id);
COMMENT ON TABLE suppression_event IS 'written by rules, append-only';
CREATE TRIGGER append_only BEFORE UPDATE ON suppression_event
FOR EACH ROW EXECUTE FUNCTION refuse_change();

ALTER TABLE alarm DROP CONSTRAINT alarm_state_check;
ALTER TABLE alarm ADD CONSTRAINT alarm_state_check
    CHECK (state IN ('active', 'clearing', 'stale', 'latched', 'cleared'));
ALTER TABLE alarm ADD COLUMN suppressed_by bigint REFERENCES suppression ON DELETE SET NULL;
ALTER TABLE alarm ADD COLUMN is_quiet boolean NOT NULL
    GENERATED ALWAYS AS (inhibited_by IS NOT NULL OR suppressed_by IS NOT NULL) STORED;
ALTER TABLE alarm ADD COLUMN over_at timestamptz
    GENERATED ALWAYS AS (CASE state WHEN 'latched' THEN changed_at ELSE cleared_at END) STORED;
CREATE INDEX ON alarm (device_id, rule_key, raised_at DESC);
CREATE INDEX ON alarm (suppressed_by) WHERE suppressed_by IS NOT NULL;
COMMENT ON COLUMN alarm.suppressed_by IS
    'quiet by design while it stands there; kept afterwards where the alarm cleared meanwhile';
COMMENT ON COLUMN alarm.is_quiet IS
    'put before nobody: another alarm explains it, or it is suppressed by design';
COMMENT ON COLUMN alarm.over_at IS
    'when the condition was over; a latched alarm stands on until a person resets it';

ALTER TABLE alarm_event DROP CONSTRAINT alarm_event_kind_check;
ALTER TABLE alarm_event ADD CONSTRAINT alarm_event_kind_check
    CHECK (kind IN ('raised', 'clearing', 'recurred', 'cleared', 'stale',
        'acknowledged', 'unacknowledged', 'shelved', 'unshelved', 'inhibited', 'released',
        'closed_by_hand', 'suppressed', 'unsuppressed', 'latched', 'reset'));
"""

SECURITY = """
ALTER TABLE suppression ENABLE ROW LEVEL SECURITY;
ALTER TABLE suppression FORCE ROW LEVEL SECURITY;
CREATE POLICY seen ON suppression
    USING ((SELECT is_staff()) OR customer_id = (SELECT seen_customer()))
    WITH CHECK ((SELECT is_staff())
        OR (customer_id = (SELECT seen_customer()) AND kind = 'planned_work'));
CREATE POLICY service ON suppression TO ridethrough_ingest USING (true) WITH CHECK (true);

ALTER TABLE suppression_event ENABLE ROW LEVEL SECURITY;
ALTER TABLE suppression_event FORCE ROW LEVEL SECURITY;
CREATE POLICY seen ON suppression_event
    USING ((SELECT is_staff())
        OR EXISTS (SELECT FROM suppression s WHERE s.id = suppression_id));
CREATE POLICY service ON suppression_event TO ridethrough_ingest USING (true) WITH CHECK (true);

GRANT SELECT, INSERT, UPDATE ON suppression TO ridethrough_ingest, ridethrough_api;
GRANT SELECT, INSERT ON suppression_event TO ridethrough_ingest, ridethrough_api;
"""


def upgrade() -> None:
    """Create the suppressions and what an alarm remembers of them."""
    execute(TABLES)
    execute(SECURITY)


def downgrade() -> None:
    """Drop them; latched alarms have cleared then."""
    execute("""
        UPDATE alarm SET state = 'cleared', cleared_at = changed_at WHERE state = 'latched';
        DELETE FROM alarm_event WHERE kind IN ('suppressed', 'unsuppressed', 'latched', 'reset');
        ALTER TABLE alarm_event DROP CONSTRAINT alarm_event_kind_check;
        ALTER TABLE alarm_event ADD CONSTRAINT alarm_event_kind_check
            CHECK (kind IN ('raised', 'clearing', 'recurred', 'cleared', 'stale',
                'acknowledged', 'unacknowledged', 'shelved', 'unshelved', 'inhibited',
                'released', 'closed_by_hand'));
        ALTER TABLE alarm DROP COLUMN over_at, DROP COLUMN is_quiet, DROP COLUMN suppressed_by;
        ALTER TABLE alarm DROP CONSTRAINT alarm_state_check;
        ALTER TABLE alarm ADD CONSTRAINT alarm_state_check
            CHECK (state IN ('active', 'clearing', 'stale', 'cleared'));
        DROP INDEX alarm_device_id_rule_key_raised_at_idx;
        DROP TABLE suppression_event, suppression;
    """)
