"""The same failure of the same model and firmware at several customers: found, for a person to say.

A campaign gathers no alarms and no tickets: each customer's case stays their own. Only staff see
it. Run by a job; deciding is `service_api.campaigns`.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

import psycopg
from psycopg.rows import TupleRow

from rules.catalogue import Rule
from rules.points import BY_COLUMN

Connection = psycopg.Connection[TupleRow]

WITHIN = timedelta(days=7)
LEAST_UNITS = 3
LEAST_CUSTOMERS = 2
LEAST_SHARE = 0.1
"""Three units of two customers, and a tenth of all with that firmware, within a week (judgement):
fewer is what happens in any fleet."""
QUIET_AFTER_DISMISSAL = timedelta(days=30)


def find_campaigns(connection: Connection, rules: Mapping[str, Rule], *, now: datetime) -> int:
    """Write down what looks like a campaign; returns how many candidates are new.

    Failures with an outside cause (mains, a room, a network) do not count, nor what no reading of
    the unit shows, such as a missed date: they say nothing of the model.
    """
    own = [
        rule.key
        for rule in rules.values()
        if rule.ticket is not None
        and rule.cause is None
        and rule.condition.columns & BY_COLUMN.keys()
    ]
    row = connection.execute(
        """
        WITH struck AS (
            SELECT d.manufacturer, d.model, d.firmware, a.rule_key, max(a.raised_at) AS last_at,
                count(DISTINCT d.id) AS units, count(DISTINCT a.customer_id) AS customers
            FROM alarm a JOIN device d ON d.id = a.device_id
            WHERE a.raised_at BETWEEN %(since)s AND %(now)s AND a.rule_key = ANY(%(own)s)
            AND NOT a.is_quiet
            AND d.manufacturer IS NOT NULL AND d.model IS NOT NULL AND d.firmware IS NOT NULL
            GROUP BY 1, 2, 3, 4
            HAVING count(DISTINCT d.id) >= %(units)s
            AND count(DISTINCT a.customer_id) >= %(customers)s),
        found AS (
            SELECT s.* FROM struck s
            WHERE s.units >= %(share)s * (SELECT count(*) FROM device d
                WHERE d.manufacturer = s.manufacturer AND d.model = s.model
                AND d.firmware = s.firmware AND d.enabled)
            AND NOT EXISTS (SELECT FROM campaign c WHERE c.manufacturer = s.manufacturer
                AND c.model = s.model AND c.firmware = s.firmware AND c.rule_key = s.rule_key
                AND c.state = 'dismissed' AND c.decided_at > %(quiet)s)),
        written AS (
            INSERT INTO campaign (manufacturer, model, firmware, rule_key, found_at, last_at, units,
                customers)
            SELECT manufacturer, model, firmware, rule_key, %(now)s, last_at, units, customers
            FROM found ORDER BY 1, 2, 3, 4
            ON CONFLICT (manufacturer, model, firmware, rule_key) WHERE state <> 'dismissed'
                DO UPDATE SET last_at = excluded.last_at,
                    units = greatest(campaign.units, excluded.units),
                    customers = greatest(campaign.customers, excluded.customers)
            RETURNING xmax = 0 AS is_new)
        SELECT count(*) FILTER (WHERE is_new) FROM written
        """,
        {
            "since": now - WITHIN,
            "now": now,
            "own": own,
            "units": LEAST_UNITS,
            "customers": LEAST_CUSTOMERS,
            "share": LEAST_SHARE,
            "quiet": now - QUIET_AFTER_DISMISSAL,
        },
    ).fetchone()
    return int(row[0]) if row else 0
