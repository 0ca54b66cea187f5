"""Switch rules off and on, with a reason."""

from datetime import datetime

from rules.operations import NotThere, OperationRefused
from rules.switched_off import set_rule
from rules.version_store import known_rules
from service_api.request import Connection


def switch(
    connection: Connection,
    key: str,
    *,
    enabled: bool,
    reason: str,
    actor: str,
    now: datetime,
) -> None:
    """Switch a rule; its standing alarms turn stale while it is off.

    Raises `NotThere` for a rule that is not, `OperationRefused` for one that is as wanted already.
    """
    if key not in known_rules(connection).rules:
        raise NotThere(f"there is no rule {key}")
    changed = set_rule(
        connection, key, enabled=enabled, reason=reason.strip(), actor=actor, now=now
    )
    if not changed:
        raise OperationRefused(f"the rule is {'on' if enabled else 'off'} already")
