"""Which alarms share a cause: the subject that an incident is about.

Pure. One open incident for a (subject, cause) is the database's unique index, not this module.
"""

MAINS_FAILURE = "mains_failure"
COMMUNICATION_LOST = "communication_lost"
COLLECTOR_DOWN = "collector_down"
NO_DATA = "no_data"

CAUSES: dict[str, tuple[str, str]] = {
    MAINS_FAILURE: ("Mains failure", "市电中断"),
    COMMUNICATION_LOST: ("Communication lost", "通信中断"),
    COLLECTOR_DOWN: ("Collector down: its units are out of sight", "采集器离线：所辖设备不可见"),
    NO_DATA: ("No data: nothing has been stored for minutes", "无数据：数分钟内未存储任何读数"),
}
"""Cause → title (en, zh)."""


def site_subject(site_id: int) -> str:
    """Return the subject of causes that strike a whole site."""
    return f"site:{site_id}"


def collector_group_subject(name: str) -> str:
    """Return the subject of a collector group that nobody serves."""
    return f"collector_group:{name}"


WHOLE_FLEET = "fleet"
"""The subject of what strikes everything that this service watches."""
