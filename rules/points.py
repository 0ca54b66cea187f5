"""The table of points: the one vocabulary for readings, columns, rule text and simulators.

A point is a canonical quantity of a UPS. Names are NUT's (Network UPS Tools, `nut-names.txt`,
RFC 9271); the column and the word in rule text is the name in lower case with dots and dashes as
underscores. Units are fixed here: V, A, Hz, VA, W, Wh, Ah, °C, %, s. How a device family encodes
a point is not here but in its profile.
"""

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """What a point's value is: a float8, a boolean or a short text."""

    NUMBER = "number"
    FLAG = "flag"
    TEXT = "text"


class Pace(Enum):
    """How fast a point changes, which decides how often it is read and when it expires."""

    FAST = "fast"
    """Read on every poll; unknown once older than three polls."""
    SLOW = "slow"
    """Nominal values and settings, read rarely; unknown once older than two days."""


@dataclass(frozen=True, slots=True)
class Point:
    """One quantity with its unit, its plausible range and its meaning in English and Chinese.

    `low` and `high` bound what physics and equipment allow, not what is healthy: a value outside
    is refused as a reading. They are None for flags and texts. `trend` marks what rollups keep.
    """

    name: str
    kind: Kind
    unit: str
    pace: Pace
    low: float | None
    high: float | None
    trend: bool
    en: str
    zh: str

    @property
    def column(self) -> str:
        """The database column and the word in rule text."""
        return column_of(self.name)


def column_of(name: str) -> str:
    """Return the column name for a point name: lower case, dots and dashes as underscores."""
    return name.lower().replace(".", "_").replace("-", "_")


def _number(
    name: str, unit: str, bounds: tuple[float, float], en: str, zh: str, *, trend: bool = False
) -> Point:
    return Point(name, Kind.NUMBER, unit, Pace.FAST, *bounds, trend, en, zh)


def _setting(name: str, unit: str, bounds: tuple[float, float], en: str, zh: str) -> Point:
    return Point(name, Kind.NUMBER, unit, Pace.SLOW, *bounds, trend=False, en=en, zh=zh)


def _flag(name: str, en: str, zh: str, *, trend: bool = False) -> Point:
    return Point(name, Kind.FLAG, "", Pace.FAST, None, None, trend, en, zh)


def _text(name: str, en: str, zh: str) -> Point:
    return Point(name, Kind.TEXT, "", Pace.FAST, None, None, trend=False, en=en, zh=zh)


# Wide enough for three-phase units of 1.5 MVA and 800 V strings; zero is a real input voltage
# while mains is off. Load to 300 % covers the overload that large units carry for seconds.
_VOLTS = (0.0, 1_000.0)
_AMPS = (-5_000.0, 5_000.0)
_WATTS = (-10_000.0, 5_000_000.0)
_HERTZ = (0.0, 75.0)
_PERCENT = (0.0, 100.0)
_LOAD = (0.0, 300.0)
_CELSIUS = (-30.0, 120.0)
_RUNTIME = (0.0, 30 * 86_400.0)


def _phases(
    pattern: str, unit: str, bounds: tuple[float, float], en: str, zh: str, *, lines: str = "L"
) -> tuple[Point, ...]:
    names = {
        "L": ("L1", "L2", "L3"),
        "L-N": ("L1-N", "L2-N", "L3-N"),
        "L-L": ("L1-L2", "L2-L3", "L3-L1"),
    }[lines]
    return tuple(
        _number(pattern.format(line), unit, bounds, f"{en} {line}", f"{zh} {line}")
        for line in names
    )


POINTS: tuple[Point, ...] = (
    # Battery
    _number("battery.charge", "%", _PERCENT, "Battery charge", "电池电量", trend=True),
    _number("battery.runtime", "s", _RUNTIME, "Estimated runtime", "预计后备时间", trend=True),
    _number("battery.runtime.elapsed", "s", _RUNTIME, "Time on battery", "电池供电时长"),
    _number("battery.voltage", "V", _VOLTS, "Battery voltage", "电池电压", trend=True),
    _number(
        "battery.current", "A", _AMPS, "Battery current, + discharging", "电池电流（放电为正）"
    ),
    _number("battery.temperature", "°C", _CELSIUS, "Battery temperature", "电池温度", trend=True),
    _number("battery.packs.bad", "", (0.0, 1_000.0), "Bad battery packs", "故障电池组数"),
    _setting("battery.charge.low", "%", _PERCENT, "Low-charge threshold", "低电量阈值"),
    _setting("battery.runtime.low", "s", _RUNTIME, "Low-runtime threshold", "低后备时间阈值"),
    _setting("battery.voltage.nominal", "V", _VOLTS, "Nominal battery voltage", "电池标称电压"),
    _setting(
        "battery.packs.external", "", (0.0, 1_000.0), "External battery packs", "外接电池组数"
    ),
    _setting("battery.capacity", "Ah", (0.0, 100_000.0), "Battery capacity", "电池容量"),
    _text("battery.charger.status", "Charger state", "充电器状态"),
    # Input
    _number("input.voltage", "V", _VOLTS, "Input voltage", "输入电压", trend=True),
    *_phases("input.{}.voltage", "V", _VOLTS, "Input voltage", "输入电压", lines="L-N"),
    *_phases("input.{}.voltage", "V", _VOLTS, "Input voltage", "输入电压", lines="L-L"),
    _number("input.frequency", "Hz", _HERTZ, "Input frequency", "输入频率", trend=True),
    _number("input.current", "A", _AMPS, "Input current", "输入电流"),
    *_phases("input.{}.current", "A", _AMPS, "Input current", "输入电流"),
    _number("input.realpower", "W", _WATTS, "Input power", "输入有功功率"),
    *_phases("input.{}.realpower", "W", _WATTS, "Input power", "输入有功功率"),
    _setting("input.voltage.nominal", "V", _VOLTS, "Nominal input voltage", "额定输入电压"),
    _setting("input.frequency.nominal", "Hz", _HERTZ, "Nominal input frequency", "额定输入频率"),
    _setting("input.transfer.low", "V", _VOLTS, "Low transfer voltage", "输入切换下限"),
    _setting("input.transfer.high", "V", _VOLTS, "High transfer voltage", "输入切换上限"),
    _text("input.transfer.reason", "Last transfer cause", "最近切换原因"),
    # Bypass
    _number("input.bypass.voltage", "V", _VOLTS, "Bypass voltage", "旁路电压"),
    *_phases("input.bypass.{}.voltage", "V", _VOLTS, "Bypass voltage", "旁路电压", lines="L-N"),
    _number("input.bypass.frequency", "Hz", _HERTZ, "Bypass frequency", "旁路频率"),
    # Output
    _number("output.voltage", "V", _VOLTS, "Output voltage", "输出电压", trend=True),
    *_phases("output.{}.voltage", "V", _VOLTS, "Output voltage", "输出电压", lines="L-N"),
    *_phases("output.{}.voltage", "V", _VOLTS, "Output voltage", "输出电压", lines="L-L"),
    _number("output.frequency", "Hz", _HERTZ, "Output frequency", "输出频率", trend=True),
    _number("output.current", "A", _AMPS, "Output current", "输出电流", trend=True),
    *_phases("output.{}.current", "A", _AMPS, "Output current", "输出电流"),
    *_phases("output.{}.realpower", "W", _WATTS, "Output power", "输出有功功率"),
    _number("output.powerfactor", "", (-1.0, 1.0), "Output power factor", "输出功率因数"),
    _number("output.energy", "Wh", (0.0, 1e13), "Output energy", "输出电能"),
    _setting("output.voltage.nominal", "V", _VOLTS, "Nominal output voltage", "额定输出电压"),
    _setting("output.frequency.nominal", "Hz", _HERTZ, "Nominal output frequency", "额定输出频率"),
    # The unit
    _number("ups.load", "%", _LOAD, "Load", "负载率", trend=True),
    *_phases("ups.{}.load", "%", _LOAD, "Load", "负载率"),
    _number("ups.power", "VA", _WATTS, "Apparent power", "视在功率", trend=True),
    _number("ups.realpower", "W", _WATTS, "Active power", "有功功率", trend=True),
    _number("ups.efficiency", "%", _PERCENT, "Efficiency", "效率"),
    _number("ups.temperature", "°C", _CELSIUS, "Internal temperature", "机内温度", trend=True),
    _setting("ups.power.nominal", "VA", _WATTS, "Rated apparent power", "额定视在功率"),
    _setting("ups.realpower.nominal", "W", _WATTS, "Rated active power", "额定有功功率"),
    _text("ups.test.result", "Last self-test", "最近自检结果"),
    # Surroundings
    _number("ambient.temperature", "°C", _CELSIUS, "Room temperature", "环境温度", trend=True),
    _number("ambient.humidity", "%", _PERCENT, "Room humidity", "环境湿度", trend=True),
    # Flags of the unit's state
    _flag("status.on_line", "On mains", "市电供电"),
    _flag("status.on_battery", "On battery", "电池供电", trend=True),
    _flag("status.low_battery", "Low battery", "电池电量低", trend=True),
    _flag("status.replace_battery", "Replace battery", "需更换电池", trend=True),
    _flag("status.charging", "Charging", "充电中"),
    _flag("status.discharging", "Discharging", "放电中"),
    _flag("status.bypass", "On bypass", "旁路供电", trend=True),
    _flag("status.calibrating", "Calibrating", "校准中"),
    _flag("status.testing", "Self-test running", "自检中"),
    _flag("status.off", "Output off", "输出关闭", trend=True),
    _flag("status.overload", "Overload", "过载", trend=True),
    _flag("status.trim", "Trimming high voltage", "降压稳压"),
    _flag("status.boost", "Boosting low voltage", "升压稳压"),
    _flag("status.eco", "Economy mode", "经济模式"),
    _flag("status.forced_shutdown", "Forced shutdown", "强制关机"),
    # Faults that the unit reports itself
    _flag("alarm.battery_depleted", "Battery depleted", "电池耗尽"),
    _flag("alarm.battery_fault", "Battery fault", "电池故障"),
    _flag("alarm.battery_disconnected", "Battery disconnected", "电池未连接"),
    _flag("alarm.battery_temperature", "Battery temperature alarm", "电池温度告警"),
    _flag("alarm.battery_test_failed", "Battery test failed", "电池自检失败"),
    _flag("alarm.charger_fault", "Charger fault", "充电器故障"),
    _flag("alarm.input_bad", "Input out of tolerance", "输入异常"),
    _flag("alarm.bypass_bad", "Bypass not available", "旁路不可用"),
    _flag("alarm.maintenance_bypass", "Maintenance bypass", "维修旁路"),
    _flag("alarm.output_bad", "Output out of tolerance", "输出异常"),
    _flag("alarm.short_circuit", "Short circuit at output", "输出短路"),
    _flag("alarm.over_temperature", "Over-temperature", "温度过高"),
    _flag("alarm.ambient_temperature", "Room temperature alarm", "环境温度告警"),
    _flag("alarm.fan_fault", "Fan fault", "风扇故障"),
    _flag("alarm.fuse_fault", "Fuse blown", "熔断器故障"),
    _flag("alarm.breaker_open", "Breaker open", "断路器断开"),
    _flag("alarm.inverter_fault", "Inverter fault", "逆变器故障"),
    _flag("alarm.rectifier_fault", "Rectifier fault", "整流器故障"),
    _flag("alarm.internal_fault", "Internal fault", "内部故障"),
    _flag("alarm.redundancy_lost", "Redundancy lost", "冗余丢失"),
    _flag("alarm.epo", "Emergency power off", "紧急断电"),
    _flag("alarm.shutdown_imminent", "Shutdown imminent", "即将关机"),
    _flag("alarm.comm_lost", "Card lost its UPS", "网卡与主机通信中断"),
    _flag("alarm.general_fault", "General fault", "一般故障"),
)
"""Every point that has a column, in the order of the columns."""

BY_NAME: dict[str, Point] = {point.name: point for point in POINTS}
BY_COLUMN: dict[str, Point] = {point.column: point for point in POINTS}

TREND_NUMBERS: tuple[Point, ...] = tuple(
    point for point in POINTS if point.trend and point.kind is Kind.NUMBER
)
TREND_FLAGS: tuple[Point, ...] = tuple(
    point for point in POINTS if point.trend and point.kind is Kind.FLAG
)

EXTRA_FLAGS: dict[str, tuple[str, str]] = {
    "alarm.ambient_humidity": ("Room humidity alarm", "环境湿度告警"),
    "alarm.awaiting_power": ("Waiting for mains", "等待市电恢复"),
    "alarm.backfeed": ("Backfeed", "反灌"),
    "alarm.battery_comm_lost": ("Battery pack lost", "电池组通信中断"),
    "alarm.battery_voltage": ("Battery voltage alarm", "电池电压告警"),
    "alarm.config_change": ("Configuration changed", "配置已变更"),
    "alarm.contact_input": ("Input contact", "输入干接点"),
    "alarm.general_warning": ("General warning", "一般警告"),
    "alarm.ground_fault": ("Ground fault", "接地故障"),
    "alarm.input_frequency": ("Input frequency alarm", "输入频率告警"),
    "alarm.input_phase": ("Input phase alarm", "输入相序告警"),
    "alarm.input_voltage": ("Input voltage alarm", "输入电压告警"),
    "alarm.maintenance_due": ("Maintenance due", "需要维护"),
    "alarm.module_fault": ("Power module fault", "功率模块故障"),
    "alarm.output_unprotected": ("Output not protected", "输出未受保护"),
    "alarm.shutdown_pending": ("Shutdown pending", "等待关机"),
    "alarm.site_wiring": ("Site wiring fault", "现场接线故障"),
    "alarm.smoke": ("Smoke", "烟感告警"),
    "alarm.static_switch_fault": ("Static switch fault", "静态开关故障"),
    "alarm.water_leak": ("Water leak", "漏水告警"),
}
"""Alarm codes without a column of their own, with their words: a reading has them in `extra`."""

FACT_COLUMNS: dict[str, tuple[Kind, str, str, str]] = {
    "seconds_since_seen": (Kind.NUMBER, "s", "Time since last heard", "失联时长"),
}
"""Words of rule text that no device reports: name → kind, unit, meaning (en, zh).

`seconds_since_seen` counts silence only while a live collector owned the device.
"""

TEST_RESULTS: tuple[str, ...] = ("passed", "warning", "failed", "aborted", "in_progress", "none")
"""Values of `ups.test.result`: aborted, refused and invalid tests are `aborted`, never `failed`."""

CHARGER_STATES: tuple[str, ...] = (
    "charging",
    "discharging",
    "floating",
    "resting",
    "off",
    "fault",
    "testing",
    "unknown",
)
"""Values of `battery.charger.status`."""
