"""What is made of it: rule states, alarms, incidents, tickets, the outbox.

Revision: 0003.
"""

from migrations.sql import execute

revision = "0003"
down_revision = "0002"

TABLES = """
CREATE TABLE rule_override (
    rule_key text PRIMARY KEY,
    enabled boolean NOT NULL,
    reason text NOT NULL,
    changed_at timestamptz NOT NULL,
    changed_by text NOT NULL
);
COMMENT ON TABLE rule_override IS 'written by rules: a rule switched off (or on again), by whom, why';

CREATE TABLE rule_state (
    device_id bigint NOT NULL REFERENCES device ON DELETE CASCADE,
    rule_key text NOT NULL,
    state text NOT NULL CHECK (state IN ('pending', 'active', 'clearing')),
    since_at timestamptz NOT NULL,
    next_at timestamptz,
    unknown_since_at timestamptz,
    alarm_id bigint,
    PRIMARY KEY (device_id, rule_key)
);
CREATE INDEX ON rule_state (next_at) WHERE next_at IS NOT NULL;
COMMENT ON TABLE rule_state IS
    'written by rules: what a rule remembers of a device, only while that is not normal';

CREATE TABLE incident (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subject text NOT NULL,
    cause text NOT NULL,
    site_id bigint REFERENCES site,
    customer_id bigint REFERENCES customer,
    opened_at timestamptz NOT NULL,
    closed_at timestamptz
);
CREATE UNIQUE INDEX incident_open ON incident (subject, cause) WHERE closed_at IS NULL;
CREATE INDEX ON incident (opened_at DESC);
COMMENT ON TABLE incident IS 'written by rules: alarms with one cause; counts are derived';
COMMENT ON COLUMN incident.subject IS 'what the cause struck: site:ID or collector_group:NAME';

CREATE TABLE alarm (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device_id bigint NOT NULL REFERENCES device ON DELETE CASCADE,
    customer_id bigint NOT NULL REFERENCES customer,
    site_id bigint NOT NULL REFERENCES site,
    rule_key text NOT NULL,
    severity text NOT NULL CHECK (severity IN ('critical', 'major', 'minor', 'warning')),
    state text NOT NULL CHECK (state IN ('active', 'clearing', 'stale', 'cleared')),
    raised_at timestamptz NOT NULL,
    cleared_at timestamptz,
    changed_at timestamptz NOT NULL,
    reason jsonb NOT NULL,
    incident_id bigint REFERENCES incident,
    inhibited_by text,
    acknowledged_at timestamptz,
    acknowledged_by text,
    shelved_until_at timestamptz,
    shelved_by text,
    shelve_reason text,
    CHECK ((state = 'cleared') = (cleared_at IS NOT NULL))
);
CREATE UNIQUE INDEX alarm_open ON alarm (device_id, rule_key) WHERE cleared_at IS NULL;
CREATE INDEX ON alarm (customer_id, raised_at DESC);
CREATE INDEX ON alarm (raised_at DESC);
CREATE INDEX ON alarm (incident_id) WHERE incident_id IS NOT NULL;
CREATE INDEX ON alarm (shelved_until_at) WHERE shelved_until_at IS NOT NULL;
COMMENT ON TABLE alarm IS 'written by rules: a rule that holds for a device';
COMMENT ON COLUMN alarm.reason IS
    'the condition, the values that made it hold, when they were observed';
COMMENT ON COLUMN alarm.inhibited_by IS
    'the rule whose alarm explains this one: shown below it, opens nothing of its own';

CREATE TABLE alarm_event (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    alarm_id bigint NOT NULL REFERENCES alarm ON DELETE CASCADE,
    at timestamptz NOT NULL,
    kind text NOT NULL CHECK (kind IN ('raised', 'clearing', 'recurred', 'cleared', 'stale',
        'acknowledged', 'unacknowledged', 'shelved', 'unshelved', 'inhibited', 'released',
        'closed_by_hand')),
    actor text NOT NULL,
    detail jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX ON alarm_event (alarm_id, id);
COMMENT ON TABLE alarm_event IS 'written by rules, append-only';

CREATE TABLE ticket (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id bigint NOT NULL REFERENCES customer,
    site_id bigint NOT NULL REFERENCES site,
    device_id bigint REFERENCES device,
    incident_id bigint REFERENCES incident,
    failure_mode text NOT NULL,
    source text NOT NULL CHECK (source IN ('rule', 'schedule', 'person')),
    rule_key text,
    title_en text NOT NULL,
    title_zh text NOT NULL,
    severity text NOT NULL CHECK (severity IN ('critical', 'major', 'minor', 'warning')),
    priority smallint NOT NULL CHECK (priority BETWEEN 1 AND 4),
    priority_terms jsonb NOT NULL,
    state text NOT NULL CHECK (state IN ('open', 'in_progress', 'waiting', 'resolved', 'closed')),
    reason jsonb NOT NULL,
    entitlement jsonb NOT NULL,
    contract_id bigint,
    skills text[] NOT NULL DEFAULT '{}',
    part_kinds text[] NOT NULL DEFAULT '{}',
    action_en text NOT NULL DEFAULT '',
    action_zh text NOT NULL DEFAULT '',
    opened_at timestamptz NOT NULL,
    respond_by_at timestamptz,
    restore_by_at timestamptz,
    responded_at timestamptz,
    condition_cleared_at timestamptz,
    resolved_at timestamptz,
    closed_at timestamptz,
    closing_code text,
    reopened integer NOT NULL DEFAULT 0,
    opened_by text NOT NULL,
    CHECK ((state = 'closed') = (closed_at IS NOT NULL)),
    CHECK (device_id IS NOT NULL OR incident_id IS NOT NULL OR source = 'person')
);
CREATE UNIQUE INDEX ticket_open_device ON ticket (device_id, failure_mode)
    WHERE closed_at IS NULL AND incident_id IS NULL AND source <> 'person';
CREATE UNIQUE INDEX ticket_open_incident ON ticket (incident_id)
    WHERE closed_at IS NULL AND incident_id IS NOT NULL;
CREATE INDEX ON ticket (customer_id, opened_at DESC);
CREATE INDEX ON ticket (opened_at DESC);
CREATE INDEX ON ticket (device_id);
COMMENT ON TABLE ticket IS 'written by rules: a need for service, whoever raised it';
COMMENT ON COLUMN ticket.priority_terms IS 'the arithmetic: [{"term", "value", "points"}…]';
COMMENT ON COLUMN ticket.part_kinds IS 'kinds of part that the work will probably need';

CREATE TABLE ticket_alarm (
    ticket_id bigint NOT NULL REFERENCES ticket ON DELETE CASCADE,
    alarm_id bigint NOT NULL REFERENCES alarm ON DELETE CASCADE,
    PRIMARY KEY (ticket_id, alarm_id)
);
CREATE INDEX ON ticket_alarm (alarm_id);
COMMENT ON TABLE ticket_alarm IS 'written by rules, append-only: the alarms behind a ticket';

CREATE TABLE ticket_event (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ticket_id bigint NOT NULL REFERENCES ticket ON DELETE CASCADE,
    at timestamptz NOT NULL,
    kind text NOT NULL,
    actor text NOT NULL,
    detail jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX ON ticket_event (ticket_id, id);
COMMENT ON TABLE ticket_event IS 'written by rules, append-only';

CREATE TABLE outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL,
    topic text NOT NULL,
    customer_id bigint,
    ref bigint NOT NULL,
    detail jsonb NOT NULL DEFAULT '{}',
    done_at timestamptz,
    attempts integer NOT NULL DEFAULT 0,
    next_at timestamptz,
    error text
);
CREATE INDEX ON outbox (id) WHERE done_at IS NULL;
CREATE INDEX ON outbox (at);
COMMENT ON TABLE outbox IS
    'written by rules, taken by service_api: one row a change that others must hear of; its id is the event id of /events';
COMMENT ON COLUMN outbox.ref IS 'the id of the alarm, incident, ticket, work order … that topic names';
"""

SECURITY = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER append_only BEFORE UPDATE ON alarm_event
FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE ON ticket_event
FOR EACH ROW EXECUTE FUNCTION refuse_change();

ALTER TABLE incident ENABLE ROW LEVEL SECURITY;
ALTER TABLE incident FORCE ROW LEVEL SECURITY;
CREATE POLICY seen ON incident
    USING ((SELECT is_staff()) OR customer_id = (SELECT seen_customer()));
CREATE POLICY service ON incident TO ridethrough_ingest USING (true) WITH CHECK (true);

ALTER TABLE alarm ENABLE ROW LEVEL SECURITY;
ALTER TABLE alarm FORCE ROW LEVEL SECURITY;
CREATE POLICY seen ON alarm USING ((SELECT is_staff()) OR customer_id = (SELECT seen_customer()));
CREATE POLICY service ON alarm TO ridethrough_ingest USING (true) WITH CHECK (true);

ALTER TABLE ticket ENABLE ROW LEVEL SECURITY;
ALTER TABLE ticket FORCE ROW LEVEL SECURITY;
CREATE POLICY seen ON ticket USING ((SELECT is_staff()) OR customer_id = (SELECT seen_customer()));
CREATE POLICY service ON ticket TO ridethrough_ingest USING (true) WITH CHECK (true);

ALTER TABLE alarm_event ENABLE ROW LEVEL SECURITY;
ALTER TABLE alarm_event FORCE ROW LEVEL SECURITY;
CREATE POLICY seen ON alarm_event
    USING ((SELECT is_staff()) OR EXISTS (SELECT FROM alarm a WHERE a.id = alarm_id));
CREATE POLICY service ON alarm_event TO ridethrough_ingest USING (true) WITH CHECK (true);

ALTER TABLE ticket_event ENABLE ROW LEVEL SECURITY;
ALTER TABLE ticket_event FORCE ROW LEVEL SECURITY;
CREATE POLICY seen ON ticket_event
    USING ((SELECT is_staff()) OR EXISTS (SELECT FROM ticket t WHERE t.id = ticket_id));
CREATE POLICY service ON ticket_event TO ridethrough_ingest USING (true) WITH CHECK (true);

ALTER TABLE ticket_alarm ENABLE ROW LEVEL SECURITY;
ALTER TABLE ticket_alarm FORCE ROW LEVEL SECURITY;
CREATE POLICY seen ON ticket_alarm
    USING ((SELECT is_staff()) OR EXISTS (SELECT FROM ticket t WHERE t.id = ticket_id));
CREATE POLICY service ON ticket_alarm TO ridethrough_ingest USING (true) WITH CHECK (true);

ALTER TABLE outbox ENABLE ROW LEVEL SECURITY;
ALTER TABLE outbox FORCE ROW LEVEL SECURITY;
CREATE POLICY seen ON outbox
    USING ((SELECT is_staff()) OR customer_id = (SELECT seen_customer()));
CREATE POLICY service ON outbox TO ridethrough_ingest USING (true) WITH CHECK (true);

GRANT SELECT, INSERT, UPDATE, DELETE ON rule_state TO ridethrough_ingest;
GRANT SELECT, INSERT, UPDATE ON rule_override, incident, alarm, ticket, outbox
    TO ridethrough_ingest, ridethrough_api;
GRANT SELECT, INSERT ON alarm_event, ticket_event, ticket_alarm
    TO ridethrough_ingest, ridethrough_api;
GRANT SELECT, DELETE, UPDATE ON rule_state TO ridethrough_api;
ALTER TABLE rule_state ENABLE ROW LEVEL SECURITY;
ALTER TABLE rule_state FORCE ROW LEVEL SECURITY;
CREATE POLICY staff ON rule_state USING ((SELECT is_staff()));
CREATE POLICY service ON rule_state TO ridethrough_ingest USING (true) WITH CHECK (true);
"""


def upgrade() -> None:
    """Create the tables of judgement."""
    execute(TABLES)
    execute(SECURITY)


def downgrade() -> None:
    """Drop the tables of judgement."""
    execute("""
        DROP TABLE outbox, ticket_event, ticket_alarm, ticket, alarm_event, alarm, incident,
            rule_state, rule_override;
        DROP FUNCTION refuse_change;
    """)
