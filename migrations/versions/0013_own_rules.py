"""Rules of the service's own and overrides of rules, version by version.

Revision: 0013.
"""

from migrations.sql import execute

revision = "0013"
down_revision = "0012"

VERSIONS = """
CREATE TABLE rule_version (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rule_key text NOT NULL CHECK (rule_key ~ '^[a-z][a-z0-9_]{0,62}$'),
    scope text NOT NULL CHECK (scope IN ('rule', 'all', 'model', 'site', 'device')),
    about text NOT NULL DEFAULT '' CHECK ((about = '') = (scope IN ('rule', 'all'))),
    maker text NOT NULL DEFAULT '' CHECK (maker = '' OR scope = 'model'),
    version integer NOT NULL CHECK (version > 0),
    text text,
    at timestamptz NOT NULL,
    actor text NOT NULL,
    reason text NOT NULL,
    UNIQUE (rule_key, scope, about, maker, version)
);
COMMENT ON TABLE rule_version IS
    'written by rules, append-only: a rule of ours, or an override of a rule; the newest is in force';
COMMENT ON COLUMN rule_version.scope IS
    'rule: the rule itself; else an override for all units, a model, a site, a device';
COMMENT ON COLUMN rule_version.about IS 'the model, or the key of the site or device';
COMMENT ON COLUMN rule_version.maker IS 'of a model: its maker; empty: any';
COMMENT ON COLUMN rule_version.text IS 'TOML; NULL: retired, taken away';
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON rule_version
FOR EACH ROW EXECUTE FUNCTION refuse_change();
ALTER TABLE rule_version ENABLE ROW LEVEL SECURITY;
ALTER TABLE rule_version FORCE ROW LEVEL SECURITY;
CREATE POLICY seen ON rule_version USING ((SELECT is_staff())
    OR (scope IN ('rule', 'all') AND (SELECT seen_customer()) IS NOT NULL))
    WITH CHECK ((SELECT is_staff()));
CREATE POLICY service ON rule_version TO ridethrough_ingest USING (true) WITH CHECK (true);
GRANT SELECT, INSERT ON rule_version TO ridethrough_api;
GRANT SELECT ON rule_version TO ridethrough_ingest;
"""


def upgrade() -> None:
    """Create the table of versions."""
    execute(VERSIONS)


def downgrade() -> None:
    """Drop it."""
    execute("DROP TABLE rule_version;")
