"""Who is served and where: roles, customers, sites, devices, collectors, users.

Revision: 0001.
"""

from migrations.sql import execute

revision = "0001"
down_revision = None

ROLES = """
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'ridethrough_ingest') THEN
        CREATE ROLE ridethrough_ingest NOLOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'ridethrough_api') THEN
        CREATE ROLE ridethrough_api NOLOGIN;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL; -- another database of the same server is being migrated at this moment
END
$$;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO ridethrough_ingest, ridethrough_api;
"""

# Who may see a row is decided by a setting of the request's transaction and nothing else:
# 'all' for staff, the customer's id for a customer; no setting means no rows. Policies ask in a
# sub-select: it is worked out once a query. Asked in every row, the planner takes each condition
# for rare and loops over the whole fleet once a unit (20 s for a list of 10,000 units).
VISIBILITY = """
CREATE FUNCTION is_staff() RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE
RETURN coalesce(current_setting('ridethrough.scope', true), '') = 'all';

CREATE FUNCTION seen_customer() RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE WHEN current_setting('ridethrough.scope', true) ~ '^[0-9]{1,18}$'
    THEN current_setting('ridethrough.scope', true)::bigint END;
"""

TABLES = """
CREATE TABLE service_center (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key text NOT NULL UNIQUE,
    name text NOT NULL,
    name_zh text NOT NULL,
    latitude double precision,
    longitude double precision
);
COMMENT ON TABLE service_center IS 'written by service_api';

CREATE TABLE customer (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key text NOT NULL UNIQUE,
    name text NOT NULL,
    name_zh text NOT NULL,
    value_class text NOT NULL DEFAULT 'standard'
        CHECK (value_class IN ('vip', 'large', 'standard', 'indirect')),
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE customer IS 'written by service_api';

CREATE TABLE site (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id bigint NOT NULL REFERENCES customer,
    service_center_id bigint REFERENCES service_center,
    key text NOT NULL UNIQUE,
    name text NOT NULL,
    name_zh text NOT NULL,
    address text NOT NULL DEFAULT '',
    time_zone text NOT NULL DEFAULT 'Asia/Shanghai',
    latitude double precision CHECK (latitude BETWEEN -90 AND 90),
    longitude double precision CHECK (longitude BETWEEN -180 AND 180)
);
CREATE INDEX ON site (customer_id);
COMMENT ON TABLE site IS 'written by service_api';

CREATE TABLE contact (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id bigint NOT NULL REFERENCES customer,
    site_id bigint REFERENCES site,
    name text NOT NULL,
    duty text NOT NULL DEFAULT '',
    phone text NOT NULL DEFAULT '',
    email text NOT NULL DEFAULT '',
    language text NOT NULL DEFAULT 'zh' CHECK (language IN ('en', 'zh')),
    channel_sealed bytea,
    wants_notices boolean NOT NULL DEFAULT true
);
CREATE INDEX ON contact (customer_id);
COMMENT ON TABLE contact IS 'written by service_api';
COMMENT ON COLUMN contact.channel_sealed IS 'an Apprise address, encrypted; NULL: shown on the notices page only';

CREATE TABLE credential (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sealed bytea NOT NULL,
    fingerprint text NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE credential IS 'written by service_api; sealed: a Fernet token, the key is in the settings';

CREATE TABLE device (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key text NOT NULL UNIQUE CHECK (key ~ '^[A-Za-z0-9][A-Za-z0-9_.:-]{0,99}$'),
    name text NOT NULL,
    customer_id bigint NOT NULL REFERENCES customer,
    site_id bigint NOT NULL REFERENCES site,
    protocol text NOT NULL CHECK (protocol IN ('snmp', 'modbus', 'mqtt')),
    address text NOT NULL,
    credential_id bigint REFERENCES credential,
    profile text,
    collector_group text NOT NULL DEFAULT 'default',
    poll_seconds real NOT NULL DEFAULT 30 CHECK (poll_seconds BETWEEN 1 AND 86400),
    deadline_seconds real NOT NULL DEFAULT 2 CHECK (deadline_seconds BETWEEN 0.1 AND 60),
    enabled boolean NOT NULL DEFAULT true,
    manufacturer text,
    model text,
    serial text,
    firmware text,
    identity jsonb NOT NULL DEFAULT '{}',
    identified_at timestamptz,
    criticality text NOT NULL DEFAULT 'normal' CHECK (criticality IN ('normal', 'high', 'critical')),
    installed_on date,
    warranty_until date,
    battery_installed_on date,
    battery_chemistry text NOT NULL DEFAULT 'vrla' CHECK (battery_chemistry IN ('vrla', 'li-ion')),
    battery_life_years real NOT NULL DEFAULT 4 CHECK (battery_life_years > 0),
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON device (customer_id);
CREATE INDEX ON device (site_id);
COMMENT ON TABLE device IS 'written by service_api; identity columns by collector';
COMMENT ON COLUMN device.battery_life_years IS
    'expected service life at the reference temperature: 4 years for a 5-year-design VRLA block';

CREATE TABLE device_owner (
    device_id bigint NOT NULL REFERENCES device ON DELETE CASCADE,
    customer_id bigint NOT NULL REFERENCES customer,
    during tstzrange NOT NULL,
    EXCLUDE USING gist (int8range(device_id, device_id, '[]') WITH &&, during WITH &&)
);
CREATE INDEX ON device_owner (device_id);
COMMENT ON TABLE device_owner IS 'written by the trigger on device: each owner sees their own interval';

CREATE FUNCTION keep_device_owner() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO device_owner VALUES (NEW.id, NEW.customer_id, tstzrange(NULL, NULL));
    ELSIF NEW.customer_id <> OLD.customer_id THEN
        UPDATE device_owner SET during = tstzrange(lower(during), now())
        WHERE device_id = NEW.id AND upper_inf(during);
        INSERT INTO device_owner VALUES (NEW.id, NEW.customer_id, tstzrange(now(), NULL));
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER keep_device_owner AFTER INSERT OR UPDATE OF customer_id ON device
FOR EACH ROW EXECUTE FUNCTION keep_device_owner();

CREATE TABLE collector (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key text NOT NULL,
    collector_group text NOT NULL,
    started_at timestamptz NOT NULL,
    beat_at timestamptz NOT NULL,
    stopped_at timestamptz,
    CHECK (beat_at >= started_at)
);
CREATE INDEX ON collector (collector_group, beat_at);
COMMENT ON TABLE collector IS
    'written by collector; one row a life: silence is counted only inside started_at … beat_at';

CREATE TABLE app_user (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    password_hash text NOT NULL,
    role text NOT NULL
        CHECK (role IN ('admin', 'dispatcher', 'engineer', 'customer', 'integrator')),
    customer_id bigint REFERENCES customer,
    language text NOT NULL DEFAULT 'zh' CHECK (language IN ('en', 'zh')),
    enabled boolean NOT NULL DEFAULT true,
    CHECK ((role = 'customer') = (customer_id IS NOT NULL))
);
COMMENT ON TABLE app_user IS 'written by service_api';

CREATE TABLE user_token (
    token_hash bytea PRIMARY KEY,
    user_id bigint NOT NULL REFERENCES app_user ON DELETE CASCADE,
    kind text NOT NULL CHECK (kind IN ('session', 'bearer', 'api_key')),
    label text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL,
    expires_at timestamptz
);
CREATE INDEX ON user_token (user_id);
COMMENT ON TABLE user_token IS 'written by service_api; only the SHA-256 of a token is kept';

CREATE TABLE job_run (
    job text NOT NULL,
    due_at timestamptz NOT NULL,
    started_at timestamptz NOT NULL,
    finished_at timestamptz,
    error text,
    PRIMARY KEY (job, due_at)
);
COMMENT ON TABLE job_run IS 'written by service_api; a run is claimed by inserting its row';

CREATE TABLE finding (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL,
    kind text NOT NULL,
    subject text NOT NULL,
    detail text NOT NULL,
    closed_at timestamptz
);
CREATE UNIQUE INDEX ON finding (kind, subject) WHERE closed_at IS NULL;
COMMENT ON TABLE finding IS 'written by rules: what is wrong with the product''s own data or rules';
"""

SECURITY = """
ALTER TABLE customer ENABLE ROW LEVEL SECURITY;
ALTER TABLE customer FORCE ROW LEVEL SECURITY;
CREATE POLICY seen ON customer USING ((SELECT is_staff()) OR id = (SELECT seen_customer())) WITH CHECK ((SELECT is_staff()));
CREATE POLICY service ON customer TO ridethrough_ingest USING (true) WITH CHECK (true);

ALTER TABLE site ENABLE ROW LEVEL SECURITY;
ALTER TABLE site FORCE ROW LEVEL SECURITY;
CREATE POLICY seen ON site USING ((SELECT is_staff()) OR customer_id = (SELECT seen_customer())) WITH CHECK ((SELECT is_staff()));
CREATE POLICY service ON site TO ridethrough_ingest USING (true) WITH CHECK (true);

ALTER TABLE contact ENABLE ROW LEVEL SECURITY;
ALTER TABLE contact FORCE ROW LEVEL SECURITY;
CREATE POLICY seen ON contact USING ((SELECT is_staff()) OR customer_id = (SELECT seen_customer()));
CREATE POLICY service ON contact TO ridethrough_ingest USING (true) WITH CHECK (true);

ALTER TABLE device ENABLE ROW LEVEL SECURITY;
ALTER TABLE device FORCE ROW LEVEL SECURITY;
CREATE POLICY seen ON device USING ((SELECT is_staff()) OR customer_id = (SELECT seen_customer())) WITH CHECK ((SELECT is_staff()));
CREATE POLICY service ON device TO ridethrough_ingest USING (true) WITH CHECK (true);

ALTER TABLE device_owner ENABLE ROW LEVEL SECURITY;
CREATE POLICY seen ON device_owner USING ((SELECT is_staff()) OR customer_id = (SELECT seen_customer()));
CREATE POLICY service ON device_owner TO ridethrough_ingest USING (true);

ALTER TABLE credential ENABLE ROW LEVEL SECURITY;
ALTER TABLE credential FORCE ROW LEVEL SECURITY;
CREATE POLICY staff ON credential USING ((SELECT is_staff()));
CREATE POLICY service ON credential TO ridethrough_ingest USING (true);

GRANT SELECT ON service_center, customer, site, contact, device, device_owner, credential, collector,
    finding, job_run TO ridethrough_ingest, ridethrough_api;
GRANT UPDATE (profile, manufacturer, model, serial, firmware, identity, identified_at)
    ON device TO ridethrough_ingest;
GRANT INSERT, UPDATE ON collector, finding, job_run TO ridethrough_ingest;
GRANT INSERT, UPDATE, DELETE ON service_center, customer, site, contact, device, credential
    TO ridethrough_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON app_user, user_token TO ridethrough_api;
GRANT SELECT ON app_user TO ridethrough_ingest;
GRANT UPDATE ON finding TO ridethrough_api;
GRANT SELECT ON schema_version TO ridethrough_ingest, ridethrough_api;
"""


def upgrade() -> None:
    """Create the ground tables."""
    execute(ROLES)
    execute(VISIBILITY)
    execute(TABLES)
    execute(SECURITY)


def downgrade() -> None:
    """Drop the ground tables; the roles stay, other databases of the server may use them."""
    execute("""
        DROP TABLE finding, job_run, user_token, app_user, collector, device_owner, device,
            credential, contact, site, customer, service_center CASCADE;
        DROP FUNCTION keep_device_owner;
        DROP FUNCTION seen_customer;
        DROP FUNCTION is_staff;
    """)
