"""What is done about it: contracts, engineers, work orders, parts, notices, maintenance.

Revision: 0004.
"""

from migrations.sql import execute

revision = "0004"
down_revision = "0003"

TABLES = """
CREATE TABLE service_calendar (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key text NOT NULL UNIQUE,
    name text NOT NULL,
    name_zh text NOT NULL,
    always boolean NOT NULL DEFAULT false,
    opens time NOT NULL DEFAULT '08:30',
    closes time NOT NULL DEFAULT '17:30',
    weekdays smallint[] NOT NULL DEFAULT '{1,2,3,4,5}',
    holiday_country text
);
COMMENT ON TABLE service_calendar IS 'written by service_api; weekdays are ISO: 1 is Monday';
COMMENT ON COLUMN service_calendar.always IS 'around the clock: hours and holidays do not matter';

CREATE TABLE contract (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key text NOT NULL UNIQUE,
    customer_id bigint NOT NULL REFERENCES customer,
    name text NOT NULL,
    name_zh text NOT NULL,
    state text NOT NULL DEFAULT 'active' CHECK (state IN ('draft', 'active', 'cancelled')),
    starts_on date NOT NULL,
    ends_on date NOT NULL,
    calendar_id bigint NOT NULL REFERENCES service_calendar,
    respond_minutes integer NOT NULL CHECK (respond_minutes > 0),
    restore_minutes integer CHECK (restore_minutes > 0),
    covers_parts boolean NOT NULL DEFAULT false,
    covers_labor boolean NOT NULL DEFAULT true,
    covers_batteries boolean NOT NULL DEFAULT false,
    visits_per_year smallint NOT NULL DEFAULT 2 CHECK (visits_per_year >= 0),
    CHECK (ends_on >= starts_on)
);
CREATE INDEX ON contract (customer_id);
COMMENT ON TABLE contract IS 'written by service_api; ends_on is the last covered day';

CREATE TABLE contract_device (
    contract_id bigint NOT NULL REFERENCES contract ON DELETE CASCADE,
    device_id bigint NOT NULL REFERENCES device ON DELETE CASCADE,
    PRIMARY KEY (contract_id, device_id)
);
CREATE INDEX ON contract_device (device_id);
COMMENT ON TABLE contract_device IS 'written by service_api: the units that a contract covers';

ALTER TABLE ticket ADD FOREIGN KEY (contract_id) REFERENCES contract;

CREATE TABLE engineer (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key text NOT NULL UNIQUE,
    name text NOT NULL,
    name_zh text NOT NULL,
    service_center_id bigint REFERENCES service_center,
    user_id bigint UNIQUE REFERENCES app_user,
    skills text[] NOT NULL DEFAULT '{}',
    phone text NOT NULL DEFAULT '',
    latitude double precision,
    longitude double precision,
    active boolean NOT NULL DEFAULT true
);
COMMENT ON TABLE engineer IS 'written by service_api';

CREATE TABLE part (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sku text NOT NULL UNIQUE,
    kind text NOT NULL,
    name text NOT NULL,
    name_zh text NOT NULL,
    fits_models text[] NOT NULL DEFAULT '{}',
    price numeric(12, 2) CHECK (price >= 0)
);
COMMENT ON TABLE part IS 'written by service_api';
COMMENT ON COLUMN part.fits_models IS 'device models; empty: fits every model';

CREATE TABLE warehouse (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key text NOT NULL UNIQUE,
    name text NOT NULL,
    name_zh text NOT NULL,
    service_center_id bigint REFERENCES service_center,
    engineer_id bigint UNIQUE REFERENCES engineer
);
COMMENT ON TABLE warehouse IS 'written by service_api; with an engineer it is that engineer''s van';

CREATE TABLE work_order (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ticket_id bigint NOT NULL REFERENCES ticket,
    customer_id bigint NOT NULL REFERENCES customer,
    site_id bigint NOT NULL REFERENCES site,
    device_id bigint REFERENCES device,
    state text NOT NULL DEFAULT 'draft'
        CHECK (state IN ('draft', 'assigned', 'accepted', 'on_site', 'done', 'cancelled')),
    skills text[] NOT NULL DEFAULT '{}',
    estimated_minutes integer NOT NULL DEFAULT 120 CHECK (estimated_minutes > 0),
    engineer_id bigint REFERENCES engineer,
    planned tstzrange,
    candidates jsonb NOT NULL DEFAULT '[]',
    created_at timestamptz NOT NULL,
    arrived_at timestamptz,
    done_at timestamptz,
    report text,
    signed_by text,
    CHECK (state IN ('draft', 'cancelled') OR (engineer_id IS NOT NULL AND planned IS NOT NULL)),
    CONSTRAINT engineer_in_two_places EXCLUDE USING gist
        (int8range(engineer_id, engineer_id, '[]') WITH &&, planned WITH &&)
        WHERE (state IN ('assigned', 'accepted', 'on_site'))
);
CREATE UNIQUE INDEX work_order_open ON work_order (ticket_id)
    WHERE state NOT IN ('done', 'cancelled');
CREATE INDEX ON work_order (engineer_id, state);
CREATE INDEX ON work_order (customer_id);
COMMENT ON TABLE work_order IS 'written by service_api: a job for an engineer';
COMMENT ON COLUMN work_order.candidates IS
    'who could go, best first, as judged when drafted: [{"engineer_id", "score", "reasons"…}…]';

CREATE TABLE work_order_event (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    work_order_id bigint NOT NULL REFERENCES work_order ON DELETE CASCADE,
    at timestamptz NOT NULL,
    kind text NOT NULL,
    actor text NOT NULL,
    detail jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX ON work_order_event (work_order_id, id);
COMMENT ON TABLE work_order_event IS 'written by service_api, append-only';

CREATE TABLE stock_balance (
    part_id bigint NOT NULL REFERENCES part,
    warehouse_id bigint NOT NULL REFERENCES warehouse,
    on_hand integer NOT NULL DEFAULT 0 CHECK (on_hand >= 0),
    reserved integer NOT NULL DEFAULT 0 CHECK (reserved >= 0),
    PRIMARY KEY (part_id, warehouse_id),
    CONSTRAINT reserved_is_on_hand CHECK (reserved <= on_hand)
);
COMMENT ON TABLE stock_balance IS 'written by the trigger on stock_move and by nothing else';

CREATE TABLE stock_move (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL,
    part_id bigint NOT NULL REFERENCES part,
    warehouse_id bigint NOT NULL REFERENCES warehouse,
    kind text NOT NULL
        CHECK (kind IN ('receipt', 'reserve', 'release', 'issue', 'return', 'count')),
    on_hand_change integer NOT NULL,
    reserved_change integer NOT NULL,
    work_order_id bigint REFERENCES work_order,
    undoes_id bigint UNIQUE REFERENCES stock_move,
    actor text NOT NULL,
    remark text NOT NULL DEFAULT '',
    CHECK (on_hand_change <> 0 OR reserved_change <> 0)
);
CREATE INDEX ON stock_move (part_id, warehouse_id, id);
CREATE INDEX ON stock_move (work_order_id);
COMMENT ON TABLE stock_move IS 'written by service_api, append-only: the ledger that keeps stock_balance';

CREATE FUNCTION keep_stock_balance() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public AS $$
BEGIN
    INSERT INTO stock_balance (part_id, warehouse_id) VALUES (NEW.part_id, NEW.warehouse_id)
    ON CONFLICT DO NOTHING;
    UPDATE stock_balance
    SET on_hand = on_hand + NEW.on_hand_change, reserved = reserved + NEW.reserved_change
    WHERE part_id = NEW.part_id AND warehouse_id = NEW.warehouse_id;
    RETURN NEW;
END
$$;
CREATE TRIGGER keep_stock_balance AFTER INSERT ON stock_move
FOR EACH ROW EXECUTE FUNCTION keep_stock_balance();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON stock_move
FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE ON work_order_event
FOR EACH ROW EXECUTE FUNCTION refuse_change();

CREATE TABLE notice (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id bigint REFERENCES customer,
    contact_id bigint REFERENCES contact ON DELETE SET NULL,
    topic text NOT NULL,
    ref bigint NOT NULL,
    language text NOT NULL CHECK (language IN ('en', 'zh')),
    title text NOT NULL,
    body text NOT NULL,
    created_at timestamptz NOT NULL,
    sent_at timestamptz,
    attempts integer NOT NULL DEFAULT 0,
    next_at timestamptz,
    error text,
    dedup_key text NOT NULL UNIQUE
);
CREATE INDEX ON notice (created_at DESC);
CREATE INDEX ON notice (next_at) WHERE sent_at IS NULL;
COMMENT ON TABLE notice IS 'written by service_api: what customers and staff were told';

CREATE TABLE maintenance_plan (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key text NOT NULL UNIQUE,
    title text NOT NULL,
    title_zh text NOT NULL,
    interval_months smallint NOT NULL CHECK (interval_months BETWEEN 1 AND 240),
    basis text NOT NULL CHECK (basis IN ('completion', 'schedule')),
    duration_minutes integer NOT NULL CHECK (duration_minutes > 0),
    skills text[] NOT NULL DEFAULT '{}',
    part_kinds text[] NOT NULL DEFAULT '{}',
    steps_en text NOT NULL DEFAULT '',
    steps_zh text NOT NULL DEFAULT '',
    source text NOT NULL DEFAULT ''
);
COMMENT ON TABLE maintenance_plan IS 'written by service_api';
COMMENT ON COLUMN maintenance_plan.basis IS
    'next due counts from the day it was done (condition tasks) or was due (contractual ones)';

CREATE TABLE maintenance_due (
    device_id bigint NOT NULL REFERENCES device ON DELETE CASCADE,
    plan_id bigint NOT NULL REFERENCES maintenance_plan ON DELETE CASCADE,
    due_on date,
    last_done_on date,
    last_scheduled_on date,
    ticket_id bigint REFERENCES ticket,
    PRIMARY KEY (device_id, plan_id)
);
CREATE INDEX ON maintenance_due (due_on);
COMMENT ON TABLE maintenance_due IS
    'written by service_api; due_on NULL: cannot be told, a date is missing';
"""

SECURITY = """
ALTER TABLE contract ENABLE ROW LEVEL SECURITY;
ALTER TABLE contract FORCE ROW LEVEL SECURITY;
CREATE POLICY seen ON contract USING ((SELECT is_staff()) OR customer_id = (SELECT seen_customer())) WITH CHECK ((SELECT is_staff()));
CREATE POLICY service ON contract TO ridethrough_ingest USING (true) WITH CHECK (true);

ALTER TABLE contract_device ENABLE ROW LEVEL SECURITY;
ALTER TABLE contract_device FORCE ROW LEVEL SECURITY;
CREATE POLICY seen ON contract_device
    USING ((SELECT is_staff()) OR EXISTS (SELECT FROM contract c WHERE c.id = contract_id))
    WITH CHECK ((SELECT is_staff()));
CREATE POLICY service ON contract_device TO ridethrough_ingest USING (true) WITH CHECK (true);

ALTER TABLE work_order ENABLE ROW LEVEL SECURITY;
ALTER TABLE work_order FORCE ROW LEVEL SECURITY;
CREATE POLICY seen ON work_order USING ((SELECT is_staff()) OR customer_id = (SELECT seen_customer())) WITH CHECK ((SELECT is_staff()));
CREATE POLICY service ON work_order TO ridethrough_ingest USING (true) WITH CHECK (true);

ALTER TABLE work_order_event ENABLE ROW LEVEL SECURITY;
ALTER TABLE work_order_event FORCE ROW LEVEL SECURITY;
CREATE POLICY seen ON work_order_event
    USING ((SELECT is_staff()) OR EXISTS (SELECT FROM work_order w WHERE w.id = work_order_id))
    WITH CHECK ((SELECT is_staff()));
CREATE POLICY service ON work_order_event TO ridethrough_ingest USING (true) WITH CHECK (true);

ALTER TABLE notice ENABLE ROW LEVEL SECURITY;
ALTER TABLE notice FORCE ROW LEVEL SECURITY;
CREATE POLICY seen ON notice
    USING ((SELECT is_staff()) OR customer_id = (SELECT seen_customer()));
CREATE POLICY service ON notice TO ridethrough_ingest USING (true) WITH CHECK (true);

ALTER TABLE maintenance_due ENABLE ROW LEVEL SECURITY;
ALTER TABLE maintenance_due FORCE ROW LEVEL SECURITY;
CREATE POLICY seen ON maintenance_due
    USING ((SELECT is_staff()) OR EXISTS (SELECT FROM device d WHERE d.id = device_id))
    WITH CHECK ((SELECT is_staff()));
CREATE POLICY service ON maintenance_due TO ridethrough_ingest USING (true) WITH CHECK (true);

ALTER TABLE stock_balance ENABLE ROW LEVEL SECURITY;
CREATE POLICY staff ON stock_balance USING ((SELECT is_staff()));
CREATE POLICY service ON stock_balance TO ridethrough_ingest USING (true);

ALTER TABLE stock_move ENABLE ROW LEVEL SECURITY;
ALTER TABLE stock_move FORCE ROW LEVEL SECURITY;
CREATE POLICY staff ON stock_move USING ((SELECT is_staff()));
CREATE POLICY service ON stock_move TO ridethrough_ingest USING (true) WITH CHECK (true);

GRANT SELECT, INSERT, UPDATE, DELETE ON service_calendar, contract, contract_device, engineer, part,
    warehouse, maintenance_plan TO ridethrough_api;
GRANT SELECT ON service_calendar, contract, contract_device, engineer, part, warehouse,
    maintenance_plan TO ridethrough_ingest;
GRANT SELECT, INSERT, UPDATE ON work_order, notice, maintenance_due
    TO ridethrough_api, ridethrough_ingest;
GRANT SELECT, INSERT ON work_order_event, stock_move TO ridethrough_api, ridethrough_ingest;
GRANT SELECT ON stock_balance TO ridethrough_api, ridethrough_ingest;
"""


def upgrade() -> None:
    """Create the tables of service."""
    execute(TABLES)
    execute(SECURITY)


def downgrade() -> None:
    """Drop the tables of service."""
    execute("""
        DROP TABLE maintenance_due, maintenance_plan, notice, stock_move, stock_balance,
            work_order_event, work_order, warehouse, part, engineer, contract_device CASCADE;
        ALTER TABLE ticket DROP CONSTRAINT ticket_contract_id_fkey;
        DROP TABLE contract, service_calendar;
        DROP FUNCTION keep_stock_balance;
    """)
