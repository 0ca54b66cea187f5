"""Plans of maintenance and dates that come near.

Revision: 0009.
"""

from migrations.sql import execute

revision = "0009"
down_revision = "0008"

OCCASIONS = """
CREATE TABLE device_fact (
    device_id bigint NOT NULL REFERENCES device ON DELETE CASCADE,
    occasion text NOT NULL CHECK (occasion IN ('health', 'calendar')),
    at timestamptz NOT NULL,
    values jsonb NOT NULL,
    PRIMARY KEY (device_id, occasion)
);
COMMENT ON TABLE device_fact IS
    'written by rules: what an occasion worked out last of a device, the words of rule text that no reading brings';

CREATE TABLE reminder (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subject text NOT NULL CHECK (subject IN ('device', 'site', 'customer', 'contract', 'ticket')),
    subject_id bigint NOT NULL,
    rule_key text NOT NULL,
    customer_id bigint NOT NULL REFERENCES customer,
    site_id bigint REFERENCES site,
    device_id bigint REFERENCES device ON DELETE CASCADE,
    state text NOT NULL CHECK (state IN ('pending', 'active', 'clearing', 'closed')),
    since_at timestamptz NOT NULL,
    next_at timestamptz,
    unknown_since_at timestamptz,
    raised_at timestamptz,
    closed_at timestamptz,
    step double precision,
    owner text NOT NULL,
    taken_by text,
    put_off_until_at timestamptz,
    put_off_by text,
    put_off_reason text,
    reason jsonb NOT NULL DEFAULT '{}',
    CHECK ((state = 'closed') = (closed_at IS NOT NULL)),
    CHECK ((state = 'pending') = (raised_at IS NULL))
);
CREATE UNIQUE INDEX reminder_open ON reminder (subject, subject_id, rule_key)
    WHERE closed_at IS NULL;
CREATE INDEX ON reminder (raised_at DESC);
CREATE INDEX ON reminder (device_id);
COMMENT ON TABLE reminder IS
    'written by rules: a date that comes near or a fact that is missing, with the duty that must act';
COMMENT ON COLUMN reminder.step IS
    'the step told last, such as 30 days left or 75 % of a deadline; each is told once';
COMMENT ON COLUMN reminder.owner IS 'the duty that must act; taken_by is the person who does';

CREATE TABLE reminder_event (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    reminder_id bigint NOT NULL REFERENCES reminder ON DELETE CASCADE,
    at timestamptz NOT NULL,
    kind text NOT NULL,
    actor text NOT NULL,
    detail jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX ON reminder_event (reminder_id, id);
COMMENT ON TABLE reminder_event IS 'written by rules, append-only';
CREATE TRIGGER append_only BEFORE UPDATE ON reminder_event
FOR EACH ROW EXECUTE FUNCTION refuse_change();

CREATE TABLE warranty_fault (
    device_id bigint NOT NULL REFERENCES device ON DELETE CASCADE,
    warranty_until date NOT NULL,
    alarm_id bigint NOT NULL REFERENCES alarm ON DELETE CASCADE,
    at timestamptz NOT NULL,
    PRIMARY KEY (device_id, warranty_until)
);
COMMENT ON TABLE warranty_fault IS
    'written by rules, append-only: the first fault within a warranty, frozen when it was found';
CREATE TRIGGER append_only BEFORE UPDATE ON warranty_fault
FOR EACH ROW EXECUTE FUNCTION refuse_change();

ALTER TABLE device ADD COLUMN battery_warranty_until date;
COMMENT ON COLUMN device.battery_warranty_until IS 'the last covered day; NULL: not recorded';
"""

# Steps were one text; a list is what an engineer ticks off.
PLANS = """
ALTER TABLE maintenance_plan
    ALTER COLUMN steps_en DROP DEFAULT, ALTER COLUMN steps_zh DROP DEFAULT;
ALTER TABLE maintenance_plan
    ALTER COLUMN steps_en TYPE text[] USING CASE steps_en WHEN '' THEN '{}' ELSE ARRAY[steps_en] END,
    ALTER COLUMN steps_zh TYPE text[] USING CASE steps_zh WHEN '' THEN '{}' ELSE ARRAY[steps_zh] END;
ALTER TABLE maintenance_plan
    ALTER COLUMN steps_en SET DEFAULT '{}', ALTER COLUMN steps_zh SET DEFAULT '{}',
    ADD COLUMN enabled boolean NOT NULL DEFAULT true,
    ADD COLUMN on_site boolean NOT NULL DEFAULT true,
    ADD COLUMN opens_tickets boolean NOT NULL DEFAULT true,
    ADD COLUMN duration_minutes_three_phase integer CHECK (duration_minutes_three_phase > 0),
    ADD COLUMN component text,
    ADD COLUMN includes text[] NOT NULL DEFAULT '{}',
    ADD COLUMN selector jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN meters jsonb NOT NULL DEFAULT '[]',
    ADD COLUMN conditions jsonb NOT NULL DEFAULT '[]',
    ADD COLUMN version integer NOT NULL DEFAULT 1,
    ADD COLUMN changed_at timestamptz,
    ADD COLUMN changed_by text NOT NULL DEFAULT 'shipped';
COMMENT ON COLUMN maintenance_plan.selector IS
    'which units: {"profiles", "models", "manufacturers", "chemistry", "three_phase", "least_va", "most_va"}; {} is every unit';
COMMENT ON COLUMN maintenance_plan.component IS
    'what wears faster with heat: battery, fans, capacitors …; NULL: heat does not matter';
COMMENT ON COLUMN maintenance_plan.includes IS 'keys of plans whose work is done along with this one';

CREATE TABLE maintenance_plan_version (
    plan_id bigint NOT NULL REFERENCES maintenance_plan ON DELETE CASCADE,
    version integer NOT NULL,
    at timestamptz NOT NULL,
    actor text NOT NULL,
    why text NOT NULL DEFAULT '',
    body jsonb NOT NULL,
    PRIMARY KEY (plan_id, version)
);
COMMENT ON TABLE maintenance_plan_version IS
    'written by service_api, append-only: every plan as it was, who changed it, when and why';
CREATE TRIGGER append_only BEFORE UPDATE ON maintenance_plan_version
FOR EACH ROW EXECUTE FUNCTION refuse_change();

CREATE TABLE maintenance_exception (
    device_id bigint NOT NULL REFERENCES device ON DELETE CASCADE,
    plan_id bigint NOT NULL REFERENCES maintenance_plan ON DELETE CASCADE,
    waived boolean NOT NULL DEFAULT false,
    interval_months smallint CHECK (interval_months BETWEEN 1 AND 240),
    reason text NOT NULL CHECK (reason <> ''),
    made_by text NOT NULL,
    made_at timestamptz NOT NULL,
    PRIMARY KEY (device_id, plan_id),
    CHECK (waived <> (interval_months IS NOT NULL))
);
COMMENT ON TABLE maintenance_exception IS
    'written by service_api: a unit that a plan treats otherwise, or not at all, and why';

CREATE TABLE change_freeze (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    site_id bigint NOT NULL REFERENCES site ON DELETE CASCADE,
    starts_on date NOT NULL,
    ends_on date NOT NULL,
    reason text NOT NULL,
    made_by text NOT NULL,
    made_at timestamptz NOT NULL,
    ended_by text,
    ended_at timestamptz,
    CHECK (ends_on >= starts_on)
);
CREATE INDEX ON change_freeze (site_id, ends_on);
COMMENT ON TABLE change_freeze IS
    'written by service_api: days on which nothing may be done at a site, both ends included, local';

CREATE TABLE maintenance_visit (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    site_id bigint NOT NULL REFERENCES site,
    customer_id bigint NOT NULL REFERENCES customer,
    visit_on date NOT NULL,
    ticket_id bigint UNIQUE REFERENCES ticket,
    made_at timestamptz NOT NULL,
    split_from_id bigint REFERENCES maintenance_visit,
    ended_at timestamptz
);
CREATE INDEX ON maintenance_visit (site_id) WHERE ended_at IS NULL;
COMMENT ON TABLE maintenance_visit IS
    'written by service_api: work at one site that one trip does; its lines are maintenance_due.visit_id';

ALTER TABLE maintenance_due
    ADD COLUMN opens_on date,
    ADD COLUMN late_on date,
    ADD COLUMN minutes integer NOT NULL DEFAULT 0,
    ADD COLUMN reasons jsonb NOT NULL DEFAULT '[]',
    ADD COLUMN holding_since jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN every_months real,
    ADD COLUMN held_by text,
    ADD COLUMN visit_id bigint REFERENCES maintenance_visit;
CREATE INDEX ON maintenance_due (visit_id);
COMMENT ON COLUMN maintenance_due.reasons IS
    'what could make it due, the deciding one first: [{"kind", "due_on", "en", "zh"}…]';
COMMENT ON COLUMN maintenance_due.held_by IS
    'why nothing may be done now though it is due: freeze or redundancy_lost';

CREATE TABLE maintenance_occurrence (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device_id bigint NOT NULL REFERENCES device ON DELETE CASCADE,
    plan_id bigint NOT NULL REFERENCES maintenance_plan ON DELETE CASCADE,
    due_on date,
    done_on date,
    outcome text NOT NULL CHECK (outcome IN ('early', 'in_time', 'late', 'missed')),
    ticket_id bigint REFERENCES ticket,
    remark text NOT NULL DEFAULT '',
    actor text NOT NULL,
    at timestamptz NOT NULL,
    undone_at timestamptz,
    undone_by text,
    CHECK ((outcome = 'missed') = (done_on IS NULL)),
    CHECK ((undone_at IS NULL) = (undone_by IS NULL))
);
CREATE INDEX ON maintenance_occurrence (device_id, plan_id, done_on);
CREATE UNIQUE INDEX ON maintenance_occurrence (device_id, plan_id, ticket_id)
    WHERE undone_at IS NULL AND ticket_id IS NOT NULL;
CREATE UNIQUE INDEX ON maintenance_occurrence (device_id, plan_id, due_on)
    WHERE undone_at IS NULL AND outcome = 'missed';
COMMENT ON TABLE maintenance_occurrence IS
    'written by service_api: planned work that was done or missed, and by when it should have been';

INSERT INTO maintenance_occurrence (device_id, plan_id, due_on, done_on, outcome, actor, at)
SELECT device_id, plan_id, last_scheduled_on, last_done_on, 'in_time', 'migration', now()
FROM maintenance_due WHERE last_done_on IS NOT NULL;

-- Planned work at a site is one need of several units, so it belongs to none of them.
ALTER TABLE ticket DROP CONSTRAINT ticket_check1;
ALTER TABLE ticket ADD CONSTRAINT ticket_about_something
    CHECK (device_id IS NOT NULL OR incident_id IS NOT NULL OR source IN ('person', 'schedule'));
"""

_OF_DEVICES = ("device_fact", "warranty_fault", "maintenance_exception", "maintenance_occurrence")

SECURITY = """
ALTER TABLE reminder ENABLE ROW LEVEL SECURITY;
ALTER TABLE reminder FORCE ROW LEVEL SECURITY;
CREATE POLICY staff ON reminder USING ((SELECT is_staff())) WITH CHECK ((SELECT is_staff()));
CREATE POLICY service ON reminder TO ridethrough_ingest USING (true) WITH CHECK (true);
ALTER TABLE reminder_event ENABLE ROW LEVEL SECURITY;
ALTER TABLE reminder_event FORCE ROW LEVEL SECURITY;
CREATE POLICY staff ON reminder_event USING ((SELECT is_staff())) WITH CHECK ((SELECT is_staff()));
CREATE POLICY service ON reminder_event TO ridethrough_ingest USING (true) WITH CHECK (true);
ALTER TABLE change_freeze ENABLE ROW LEVEL SECURITY;
ALTER TABLE change_freeze FORCE ROW LEVEL SECURITY;
CREATE POLICY seen ON change_freeze
    USING ((SELECT is_staff()) OR EXISTS (SELECT FROM site s WHERE s.id = site_id))
    WITH CHECK ((SELECT is_staff()));
CREATE POLICY service ON change_freeze TO ridethrough_ingest USING (true);
ALTER TABLE maintenance_visit ENABLE ROW LEVEL SECURITY;
ALTER TABLE maintenance_visit FORCE ROW LEVEL SECURITY;
CREATE POLICY seen ON maintenance_visit
    USING ((SELECT is_staff()) OR customer_id = (SELECT seen_customer()))
    WITH CHECK ((SELECT is_staff()));
CREATE POLICY service ON maintenance_visit TO ridethrough_ingest USING (true) WITH CHECK (true);

GRANT SELECT, INSERT, UPDATE ON device_fact TO ridethrough_ingest;
GRANT SELECT ON device_fact TO ridethrough_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON reminder TO ridethrough_ingest;
GRANT SELECT, UPDATE ON reminder TO ridethrough_api;
GRANT SELECT, INSERT ON reminder_event TO ridethrough_ingest, ridethrough_api;
GRANT SELECT, INSERT ON warranty_fault TO ridethrough_ingest;
GRANT SELECT ON warranty_fault TO ridethrough_api;
GRANT SELECT, INSERT ON maintenance_plan_version TO ridethrough_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON maintenance_exception, change_freeze TO ridethrough_api;
GRANT SELECT ON maintenance_exception, change_freeze TO ridethrough_ingest;
GRANT SELECT, INSERT, UPDATE ON maintenance_visit, maintenance_occurrence
    TO ridethrough_ingest, ridethrough_api;
GRANT DELETE ON maintenance_due TO ridethrough_ingest;
"""


def upgrade() -> None:
    """Create the tables of upkeep."""
    execute(OCCASIONS)
    execute(PLANS)
    for table in _OF_DEVICES:
        execute(f"""
            ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
            ALTER TABLE {table} FORCE ROW LEVEL SECURITY;
            CREATE POLICY seen ON {table}
                USING ((SELECT is_staff()) OR EXISTS (SELECT FROM device d WHERE d.id = device_id))
                WITH CHECK ((SELECT is_staff()));
            CREATE POLICY service ON {table} TO ridethrough_ingest USING (true) WITH CHECK (true);
        """)
    execute(SECURITY)


def downgrade() -> None:
    """Drop the tables of upkeep; a site's visit goes back to the ticket of one of its units."""
    execute("""
        REVOKE DELETE ON maintenance_due FROM ridethrough_ingest;
        UPDATE ticket t SET device_id = (
            SELECT min(m.device_id) FROM maintenance_due m WHERE m.ticket_id = t.id),
            failure_mode = t.failure_mode || '_' || t.id
        WHERE device_id IS NULL AND incident_id IS NULL AND source = 'schedule';
        UPDATE ticket SET source = 'person'
        WHERE device_id IS NULL AND incident_id IS NULL AND source = 'schedule';
        ALTER TABLE ticket DROP CONSTRAINT ticket_about_something;
        ALTER TABLE ticket ADD CONSTRAINT ticket_check1
            CHECK (device_id IS NOT NULL OR incident_id IS NOT NULL OR source = 'person');
        ALTER TABLE maintenance_due DROP COLUMN opens_on, DROP COLUMN late_on, DROP COLUMN minutes,
            DROP COLUMN reasons, DROP COLUMN holding_since, DROP COLUMN every_months,
            DROP COLUMN held_by, DROP COLUMN visit_id;
        DROP TABLE maintenance_occurrence, maintenance_visit, change_freeze, maintenance_exception,
            maintenance_plan_version, warranty_fault, reminder_event, reminder, device_fact;
        ALTER TABLE maintenance_plan DROP COLUMN enabled, DROP COLUMN on_site, DROP COLUMN opens_tickets,
            DROP COLUMN duration_minutes_three_phase, DROP COLUMN component, DROP COLUMN includes,
            DROP COLUMN selector, DROP COLUMN meters, DROP COLUMN conditions, DROP COLUMN version,
            DROP COLUMN changed_at, DROP COLUMN changed_by,
            ALTER COLUMN steps_en DROP DEFAULT, ALTER COLUMN steps_zh DROP DEFAULT;
        ALTER TABLE maintenance_plan
            ALTER COLUMN steps_en TYPE text USING array_to_string(steps_en, ' '),
            ALTER COLUMN steps_zh TYPE text USING array_to_string(steps_zh, '');
        ALTER TABLE maintenance_plan
            ALTER COLUMN steps_en SET DEFAULT '', ALTER COLUMN steps_zh SET DEFAULT '';
        ALTER TABLE device DROP COLUMN battery_warranty_until;
    """)
