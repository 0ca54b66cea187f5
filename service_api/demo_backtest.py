"""A back-test that the demo's service runs first: the rule on warm batteries, beside a proposal."""

from datetime import datetime, timedelta

from service_api.backtests.operations import ask
from service_api.backtests.schemas import NewBacktest, RuleChoice
from service_api.request import Connection

SPAN = timedelta(days=56)
PROPOSED = """
[battery_warm_on_average]
title.en = "Battery above 28 °C on average of a day"
title.zh = "电池日平均温度高于 28 °C"
severity = "warning"
condition = "avg_24h(battery_temperature) > 28"
clear = "avg_24h(battery_temperature) <= 27"
raise_after_seconds = 0
clear_after_seconds = 0
source = "proposed: earlier than the rule in force, and not reset by one cool reading"
"""


def ask_for_one(connection: Connection, *, now: datetime) -> None:
    """Ask for it as the engineer would."""
    asked = NewBacktest(
        rule=RuleChoice(key="battery_warm"), against=RuleChoice(text=PROPOSED), since=now - SPAN
    )
    ask(connection, asked, actor="engineer", now=now)
