"""What hangs on what at a site, and incidents that gather, split and merge.

Revision: 0007.
"""

from migrations.sql import execute

revision = "0007"
down_revision = "0006"

TOPOLOGY = """
CREATE TABLE topology_node (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    site_id bigint NOT NULL REFERENCES site ON DELETE CASCADE,
    kind text NOT NULL
        CHECK (kind IN ('feeder', 'generator', 'switch', 'group', 'load', 'room', 'path')),
    key text NOT NULL,
    name text NOT NULL,
    name_zh text NOT NULL,
    substation text CHECK (kind = 'feeder' OR substation IS NULL),
    switch_type text CHECK (switch_type IN ('ATS', 'STS')),
    preferred_id bigint REFERENCES topology_node ON DELETE SET NULL,
    alternate_id bigint REFERENCES topology_node ON DELETE SET NULL,
    redundancy text CHECK (redundancy IN ('N', 'N+1', '2N')),
    kilowatts double precision CHECK (kilowatts > 0),
    criticality text CHECK (criticality IN ('normal', 'high', 'critical')),
    UNIQUE (site_id, kind, key)
);
CREATE INDEX ON topology_node (lower(substation)) WHERE substation IS NOT NULL;
COMMENT ON TABLE topology_node IS
    'written by service_api: what feeds, holds, cools, connects or lives on the units of a site';
COMMENT ON COLUMN topology_node.substation IS
    'what the feeder comes from: sites whose feeders name the same one fail together';
COMMENT ON COLUMN topology_node.kilowatts IS 'what a load draws, or what a generator can give';

CREATE TABLE topology_unit (
    device_id bigint PRIMARY KEY REFERENCES device ON DELETE CASCADE,
    site_id bigint NOT NULL REFERENCES site ON DELETE CASCADE,
    feeder_id bigint REFERENCES topology_node ON DELETE SET NULL,
    switch_id bigint REFERENCES topology_node ON DELETE SET NULL,
    group_id bigint REFERENCES topology_node ON DELETE SET NULL,
    load_id bigint REFERENCES topology_node ON DELETE SET NULL,
    room_id bigint REFERENCES topology_node ON DELETE SET NULL,
    path_id bigint REFERENCES topology_node ON DELETE SET NULL
);
CREATE INDEX ON topology_unit (site_id);
CREATE INDEX ON topology_unit (path_id) WHERE path_id IS NOT NULL;
CREATE INDEX ON topology_unit (room_id) WHERE room_id IS NOT NULL;
COMMENT ON TABLE topology_unit IS
    'written by service_api: on what a unit hangs; counts only while the unit is at that site';

CREATE TABLE topology_change (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    site_id bigint NOT NULL REFERENCES site ON DELETE CASCADE,
    at timestamptz NOT NULL,
    actor text NOT NULL,
    reason text NOT NULL DEFAULT '',
    before jsonb NOT NULL,
    after jsonb NOT NULL
);
CREATE INDEX ON topology_change (site_id, id);
COMMENT ON TABLE topology_change IS
    'written by service_api, append-only: the whole topology of a site before and after each change';
"""

INCIDENTS = """
ALTER TABLE incident
    ADD COLUMN parent_id bigint REFERENCES incident,
    ADD COLUMN merged_into_id bigint REFERENCES incident,
    ADD COLUMN restore_expected_at timestamptz;
CREATE INDEX ON incident (parent_id) WHERE parent_id IS NOT NULL;
CREATE INDEX ON incident (site_id, opened_at DESC) WHERE site_id IS NOT NULL;
CREATE INDEX ON incident (subject, cause, id);
COMMENT ON COLUMN incident.parent_id IS
    'the regional incident that this one of a site belongs to now';
COMMENT ON COLUMN incident.merged_into_id IS 'where its alarms went, when it was emptied';
COMMENT ON COLUMN incident.restore_expected_at IS 'when people say that the cause will be over';
COMMENT ON COLUMN incident.subject IS
    'what the cause struck: site:ID, room:ID, path:ID, substation:NAME, collector_group:NAME, fleet';

CREATE TABLE incident_decision (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL,
    kind text NOT NULL CHECK (kind IN ('merge', 'split')),
    actor text NOT NULL,
    reason text NOT NULL,
    incident_id bigint NOT NULL REFERENCES incident,
    undone_at timestamptz,
    undone_by text,
    CHECK ((undone_at IS NULL) = (undone_by IS NULL))
);
CREATE INDEX ON incident_decision (incident_id);
COMMENT ON TABLE incident_decision IS
    'written by rules: what people joined or parted; the machine does not overrule it';
COMMENT ON COLUMN incident_decision.incident_id IS 'what was merged into, or what was split off';

CREATE TABLE incident_member (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    incident_id bigint NOT NULL REFERENCES incident,
    alarm_id bigint REFERENCES alarm ON DELETE CASCADE,
    child_id bigint REFERENCES incident,
    device_id bigint REFERENCES device ON DELETE CASCADE,
    customer_id bigint REFERENCES customer,
    since_at timestamptz NOT NULL,
    until_at timestamptz,
    evidence jsonb NOT NULL DEFAULT '{}',
    decision_id bigint REFERENCES incident_decision,
    ended_decision_id bigint REFERENCES incident_decision,
    anchor_at timestamptz,
    anchor_charge double precision,
    anchor_voltage double precision,
    CHECK ((alarm_id IS NULL) <> (child_id IS NULL)),
    CHECK ((alarm_id IS NULL) = (device_id IS NULL))
);
CREATE UNIQUE INDEX incident_member_alarm ON incident_member (alarm_id) WHERE until_at IS NULL;
CREATE UNIQUE INDEX incident_member_child ON incident_member (child_id) WHERE until_at IS NULL;
CREATE INDEX ON incident_member (incident_id);
CREATE INDEX ON incident_member (device_id) WHERE decision_id IS NOT NULL AND until_at IS NULL;
CREATE INDEX ON incident_member (decision_id) WHERE decision_id IS NOT NULL;
COMMENT ON TABLE incident_member IS
    'written by rules: which alarm, or which incident of a site, belonged where, from when to when, by which evidence';
COMMENT ON COLUMN incident_member.decision_id IS 'NULL: the machine put it there';
COMMENT ON COLUMN incident_member.anchor_at IS
    'charge and voltage of the unit once its discharge had settled, to measure the slope from';
INSERT INTO incident_member (incident_id, alarm_id, device_id, customer_id, since_at, evidence)
SELECT incident_id, id, device_id, customer_id, raised_at, '{"kind": "site"}'
FROM alarm WHERE incident_id IS NOT NULL;

CREATE TABLE incident_event (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    incident_id bigint NOT NULL REFERENCES incident,
    at timestamptz NOT NULL,
    kind text NOT NULL CHECK (kind IN ('opened', 'reopened', 'closed', 'absorbed', 'released',
        'gathered', 'merged', 'split', 'undone', 'restoration')),
    actor text NOT NULL,
    detail jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX ON incident_event (incident_id, id);
COMMENT ON TABLE incident_event IS 'written by rules, append-only';

CREATE TABLE incident_bounds (
    is_the_one boolean PRIMARY KEY DEFAULT true CHECK (is_the_one),
    regional_sites integer NOT NULL DEFAULT 2 CHECK (regional_sites BETWEEN 2 AND 1000),
    regional_minutes integer NOT NULL DEFAULT 10 CHECK (regional_minutes BETWEEN 1 AND 1440),
    storm_units integer NOT NULL DEFAULT 20 CHECK (storm_units BETWEEN 2 AND 100000),
    back_minutes integer NOT NULL DEFAULT 10 CHECK (back_minutes BETWEEN 1 AND 1440),
    low_seconds integer NOT NULL DEFAULT 180 CHECK (low_seconds BETWEEN 30 AND 3600),
    changed_at timestamptz,
    changed_by text
);
INSERT INTO incident_bounds DEFAULT VALUES;
COMMENT ON TABLE incident_bounds IS
    'written by service_api: from how many sites and units on an incident is regional, and a storm';
COMMENT ON COLUMN incident_bounds.back_minutes IS
    'a unit that is not back so long after mains came back at its site gets a ticket';
COMMENT ON COLUMN incident_bounds.low_seconds IS
    'a unit whose battery is predicted to end within it gets a ticket';

CREATE TABLE campaign (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    manufacturer text NOT NULL,
    model text NOT NULL,
    firmware text NOT NULL,
    rule_key text NOT NULL,
    state text NOT NULL DEFAULT 'candidate'
        CHECK (state IN ('candidate', 'confirmed', 'dismissed')),
    found_at timestamptz NOT NULL,
    last_at timestamptz NOT NULL,
    units integer NOT NULL,
    customers integer NOT NULL,
    decided_at timestamptz,
    decided_by text,
    reason text NOT NULL DEFAULT '',
    CHECK ((state = 'candidate') = (decided_at IS NULL))
);
CREATE UNIQUE INDEX campaign_candidate ON campaign (manufacturer, model, firmware, rule_key)
    WHERE state <> 'dismissed';
COMMENT ON TABLE campaign IS
    'written by rules, decided by service_api: the same failure of the same model and firmware at several customers';
"""

SECURITY = """
CREATE TRIGGER append_only BEFORE UPDATE ON topology_change
FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE ON incident_event
FOR EACH ROW EXECUTE FUNCTION refuse_change();

ALTER TABLE topology_node ENABLE ROW LEVEL SECURITY;
ALTER TABLE topology_node FORCE ROW LEVEL SECURITY;
CREATE POLICY seen ON topology_node
    USING ((SELECT is_staff()) OR EXISTS (SELECT FROM site s WHERE s.id = site_id))
    WITH CHECK ((SELECT is_staff()));
CREATE POLICY service ON topology_node TO ridethrough_ingest USING (true) WITH CHECK (true);

ALTER TABLE topology_unit ENABLE ROW LEVEL SECURITY;
ALTER TABLE topology_unit FORCE ROW LEVEL SECURITY;
CREATE POLICY seen ON topology_unit
    USING ((SELECT is_staff()) OR EXISTS (SELECT FROM device d WHERE d.id = device_id))
    WITH CHECK ((SELECT is_staff()));
CREATE POLICY service ON topology_unit TO ridethrough_ingest USING (true) WITH CHECK (true);

ALTER TABLE topology_change ENABLE ROW LEVEL SECURITY;
ALTER TABLE topology_change FORCE ROW LEVEL SECURITY;
CREATE POLICY staff ON topology_change USING ((SELECT is_staff()));
CREATE POLICY service ON topology_change TO ridethrough_ingest USING (true) WITH CHECK (true);

ALTER TABLE incident_member ENABLE ROW LEVEL SECURITY;
ALTER TABLE incident_member FORCE ROW LEVEL SECURITY;
CREATE POLICY seen ON incident_member
    USING ((SELECT is_staff()) OR customer_id = (SELECT seen_customer()));
CREATE POLICY service ON incident_member TO ridethrough_ingest USING (true) WITH CHECK (true);

ALTER TABLE incident_event ENABLE ROW LEVEL SECURITY;
ALTER TABLE incident_event FORCE ROW LEVEL SECURITY;
CREATE POLICY seen ON incident_event
    USING ((SELECT is_staff()) OR EXISTS (SELECT FROM incident i WHERE i.id = incident_id));
CREATE POLICY service ON incident_event TO ridethrough_ingest USING (true) WITH CHECK (true);

ALTER TABLE incident_decision ENABLE ROW LEVEL SECURITY;
ALTER TABLE incident_decision FORCE ROW LEVEL SECURITY;
CREATE POLICY staff ON incident_decision USING ((SELECT is_staff()));
CREATE POLICY service ON incident_decision TO ridethrough_ingest USING (true) WITH CHECK (true);

ALTER TABLE campaign ENABLE ROW LEVEL SECURITY;
ALTER TABLE campaign FORCE ROW LEVEL SECURITY;
CREATE POLICY staff ON campaign USING ((SELECT is_staff()));
CREATE POLICY service ON campaign TO ridethrough_ingest USING (true) WITH CHECK (true);

GRANT SELECT, INSERT, UPDATE, DELETE ON topology_node, topology_unit TO ridethrough_api;
GRANT SELECT, INSERT ON topology_change TO ridethrough_api;
GRANT SELECT ON topology_node, topology_unit TO ridethrough_ingest;
GRANT SELECT, INSERT, UPDATE ON incident_member, incident_decision, campaign
    TO ridethrough_ingest, ridethrough_api;
GRANT SELECT, INSERT ON incident_event TO ridethrough_ingest, ridethrough_api;
GRANT SELECT ON incident_bounds TO ridethrough_ingest, ridethrough_api;
GRANT UPDATE ON incident_bounds TO ridethrough_api;
"""


def upgrade() -> None:
    """Create the tables of the topology and of membership; keep what incidents have."""
    execute(TOPOLOGY)
    execute(INCIDENTS)
    execute(SECURITY)


def downgrade() -> None:
    """Drop them; an alarm keeps the incident that it is in."""
    execute("""
        DROP TABLE campaign, incident_bounds, incident_event, incident_member, incident_decision,
            topology_change, topology_unit, topology_node;
        DROP INDEX incident_site_id_opened_at_idx, incident_subject_cause_id_idx;
        ALTER TABLE incident DROP COLUMN parent_id, DROP COLUMN merged_into_id,
            DROP COLUMN restore_expected_at;
        COMMENT ON COLUMN incident.subject IS
            'what the cause struck: site:ID or collector_group:NAME';
    """)
