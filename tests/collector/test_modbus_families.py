"""Units of each Modbus family, their registers written by hand from the makers' tables.

What is expected is worked out from the tables too: scale, unit and code of each register.
"""

import asyncio
import struct

import pytest

from collector.address import ModbusAddress
from collector.probe import probe
from collector.raw import Failure, ReadFailed
from device_sims.modbus_server import ModbusServers


class Held:
    """A unit that holds this: function → address → word or bit."""

    delay_seconds = 0.0
    copies = 1

    def __init__(self, words, objects=None):
        self._words, self._objects = words, objects or {}

    def answers(self):
        return True

    def spoiled(self, message):
        return message

    def words(self, function):
        return self._words.get(function, {})

    def objects(self):
        return self._objects


def run_of(start, *words):
    return {start + offset: word for offset, word in enumerate(words)}


def text(start, letters, length, order="big"):
    padded = letters.ljust(2 * length).encode()
    return {
        start + at // 2: int.from_bytes(padded[at : at + 2], order)
        for at in range(0, 2 * length, 2)
    }


def floats(start, *numbers):
    words = [w for number in numbers for w in struct.unpack(">HH", struct.pack(">f", number))]
    return run_of(start, *words)


ONES = 0xFFFF

UNITS = {
    "apc-modbus": (
        {
            3: {
                # on battery (bit 2), low input voltage was the reason; outlet groups 0 to 3
                **run_of(0, 0, 0b100, 2, 0, 1, 0, 0, 1, 0, 0, 2, 0, ONES, ONES, ONES),
                **run_of(18, 0, 0, 0, 1, 0b100, 0b100, 0),
                **run_of(128, 0, 1_800, 50 * 512, 27 * 32 + 16, 0, 9_131, 0, 28 * 128),
                **run_of(136, 40 * 256, 0, 45 * 256, 0, 5 * 32, 0, 230 * 64, 0, 50 * 128),
                **run_of(145, 1, 0x86A0, 0, 0, 0, 0, ONES, 0, 0, 0xFFFC, 0xFFFF),
                **text(516, "UPS 09.3 (ID18)", 8),
                **text(532, "Smart-UPS 1500", 16),
                **text(564, "AS1234567890", 8),
                **run_of(588, 1_500, 1_000, 0b11, 7_305, 0, 0, 0, 8_035),
                **run_of(1026, 253, 208),
            }
        },
        {},
        {
            "battery.runtime": 1800,
            "battery.charge": 50,
            "battery.voltage": 27.5,
            "battery.temperature": 28,
            "ups.load": 40,
            "output.current": 5,
            "output.voltage": 230,
            "output.frequency": 50,
            "output.energy": 100_000,
            "ups.power.nominal": 1500,
            "ups.realpower.nominal": 1000,
            "input.transfer.high": 253,
            "input.transfer.low": 208,
            "status.on_battery": True,
            "status.on_line": False,
            "status.overload": True,  # power system error, bit 0
            "status.replace_battery": True,  # battery system error, bit 2
            "ups.test.result": "passed",
            "input.transfer.reason": "low input voltage",
            "outlet.group.1.status": "on",
            "outlet.group.2.status": "off",
        },
        # input voltage and efficiency of −4 (on battery) are not available, nor is group 3 there
        {"input.voltage", "ups.efficiency", "outlet.group.3.status", "ups.timer.shutdown"},
    ),
    "apc-nmc-modbus": (
        {
            3: run_of(
                0, 0, 0, 0, 0b10001000, 0, 93, 41, 54, 31, 0, 0, 2, 22, 48, 230, 238, 229, 232, 50
            )
        },
        {},
        {
            "battery.charge": 93,
            "battery.runtime": 41 * 60,
            "battery.voltage": 54,
            "ups.temperature": 31,
            "battery.packs.bad": 0,
            "ups.load": 22,
            "battery.voltage.nominal": 48,
            "output.voltage": 230,
            "input.voltage": 232,
            "input.voltage.maximum": 238,
            "input.voltage.minimum": 229,
            "output.frequency": 50,
            "status.on_line": True,
            "status.on_battery": False,
            "status.replace_battery": True,
            "status.low_battery": False,
        },
        set(),
    ),
    "apc-symmetra-modbus": (
        {
            3: {
                **run_of(0, 0, 0, 0, 0, 0, 0x00FF, 100, 25, 438, 0x0019, 37, 0, 4, 55, 241, 228),
                **run_of(16, 384, 437, 50),
                **run_of(19, 231, 60, 232, 50, 51, 12, 230, 52, 70),
                **run_of(28, 229, 61, 233, 52, 53, 12, 231, 53, 71),
                **run_of(37, 230, 62, 234, 54, 55, 12, 229, 54, 72),
            }
        },
        {},
        {
            "battery.charge": 100,
            "battery.runtime": 1500,
            "battery.voltage": 438,
            "ups.temperature": 25,
            "ups.load": 55,
            "battery.voltage.nominal": 384,
            "input.frequency": 50,
            "input.L1-N.voltage": 231,
            "input.L3-N.voltage": 230,
            "input.L2.current": 61,
            "input.bypass.L3-N.voltage": 234,
            "output.L2-N.voltage": 231,
            "output.L3.current": 54,
            "alarm.input_bad": False,
        },
        {"status.on_line"},
    ),
    "huawei-ups2000": (
        {
            3: {
                **run_of(11000, 2301, 0, 0, 500, 2295, 0x7FFF, 0x7FFF, 499, 2200),
                **run_of(11011, 81, 0x7FFF, 0x7FFF, 500, 16, 0, 0, 18, 0, 0, 605),
                **run_of(11024, 3, 0, 0, 314),
                11043: 0b1000000,
                **run_of(12000, 724, 153, 5, 64, 0, 754, 0, 1),
                12033: 9,
                19009: 30,
                **dict.fromkeys(range(41179, 41207), 0),
                41188: 0b10,
                41197: 0b100000,
            }
        },
        {135: b"\0\0\0\1", 136: b"1=UPS2000;2=V100R001C01SPC120;3=1.00;4=2102310XYZ;5=1;6=1"},
        {
            "input.voltage": 230.1,
            "input.frequency": 50,
            "input.bypass.voltage": 229.5,
            "input.bypass.frequency": 49.9,
            "output.voltage": 220,
            "output.current": 8.1,
            "output.frequency": 50,
            "ups.realpower": 1600,
            "ups.power": 1800,
            "ups.load": 60.5,
            "ups.temperature": 31.4,
            "battery.voltage": 72.4,
            "battery.current": 15.3,  # discharging
            "battery.charge": 64,
            "battery.runtime": 754,
            "battery.capacity": 9,
            "ups.power.nominal": 3000,
            "status.on_battery": True,
            "status.low_battery": True,
            "status.discharging": True,
            "battery.charger.status": "discharging",
            "status.replace_battery": True,
            "status.overload": True,
        },
        set(),
    ),
    "riello-modbus": (
        {
            3: {
                # bits 6, 8 and 14 on; 28 and 29 in register 1
                **run_of(0, 0b0100_0001_0100_0000, 0b0011_0000_0000_0000, 0, 0),
                **run_of(11, 231, 232, 233, 1, 1, 1, 500),
                **run_of(21, 229, 230, 231, 499, 230, 230, 231),
                **run_of(37, 40, 50, 60),
                43: 500,
                47: 5420,
                51: 100,
                53: 23,
                61: 0xFFFE,
                **run_of(77, 230, 500, 400, 360),
                83: 55,
            }
        },
        {},
        {
            "input.L1-N.voltage": 231,
            "input.L3-N.voltage": 233,
            "input.frequency": 50,
            "input.bypass.L2-N.voltage": 230,
            "input.bypass.frequency": 49.9,
            "output.L3-N.voltage": 231,
            "ups.L1.load": 40,
            "ups.L3.load": 60,
            "ups.load": 60,  # of the line that carries most
            "output.frequency": 50,
            "battery.voltage": 542,
            "battery.charge": 100,
            "battery.runtime": 1380,
            "ups.temperature": -2,
            "output.voltage.nominal": 230,
            "output.frequency.nominal": 50,
            "ups.power.nominal": 40_000,
            "ups.realpower.nominal": 36_000,
            "battery.capacity": 55,
            "status.on_line": True,
            "status.on_battery": False,
            "status.off": False,
            "status.overload": True,
            "alarm.bypass_bad": True,
            "alarm.over_temperature": True,
            "alarm.general_fault": False,
        },
        set(),
    ),
    "delta-modbus": (
        {
            2: {**dict.fromkeys(range(256, 304), 0), 0x101: 1, 0x109: 1, 0x129: 1},
            4: {
                **run_of(1025, 230, 500, 230, 500, 600, 540, 5, 180, 264),
                **run_of(1038, 0, 192),
                **run_of(1054, 2, 1, 3, 95, 12, 71, 2013, 105, 29, 71, ONES),
                **run_of(1073, 498, 15, 0, 0),
                **run_of(1091, 500),
                **run_of(1093, 2304, 112, 245, 47),
                **run_of(1110, 500, ONES, 2290),
                1127: 4,
                **run_of(1129, 24, 45),
                **text(1283, "GES-602R", 8, "little"),
                **text(1294, "V1.02", 8, "little"),
                1308: 1,
            },
        },
        {},
        {
            "input.voltage.nominal": 230,
            "input.frequency.nominal": 50,
            "ups.power.nominal": 6000,
            "ups.realpower.nominal": 5400,
            "battery.runtime.low": 300,
            "input.transfer.low": 180,
            "input.transfer.high": 264,
            "battery.voltage.nominal": 192,
            "battery.runtime.elapsed": 95,
            "battery.runtime": 720,
            "battery.charge": 71,
            "battery.voltage": 201.3,
            "battery.current": 10.5,
            "battery.temperature": 29,
            "input.frequency": 49.8,
            "input.voltage": 1.5,
            "output.frequency": 50,
            "output.voltage": 230.4,
            "output.current": 11.2,
            "ups.realpower": 2450,
            "ups.load": 47,
            "input.bypass.voltage": 229,
            "ambient.temperature": 24,
            "ambient.humidity": 45,
            "status.on_battery": True,
            "status.low_battery": True,
            "status.replace_battery": True,
            "battery.charger.status": "discharging",
            "ups.test.result": "failed",
            "alarm.input_bad": True,
            "alarm.fan_fault": True,
            "alarm.bypass_bad": True,
            "alarm.output_bad": False,
            "alarm.comm_lost": False,
        },
        {"battery.packs.external"},
    ),
    "socomec-jbus": (
        {
            3: {
                **run_of(0x1000, 515, 800, 0, 0x5350, 0x3230, 0x3131, 0x3332, 0x3534, 0, 0, 0, 0),
                # load on battery, near its end; bypass input present
                **run_of(0x1020, 0b1000_0000_0010_0000, 0b0000_0100_0000_0000, 0, 0),
                **run_of(0x1040, 0b0000_0000_0010_0001, 0b1000_0000_0000_0000, 0, 0),
                **dict.fromkeys(range(4192, 4240), ONES),
                **run_of(0x1060, 31, 32, 33, 32, 44, 380, 230, 231, 232, 229, 230, 231),
                **run_of(0x106F, 40, 41, 42, 500, 501, 3920),
                **run_of(0x1076, 27, 9, 312),
                **run_of(0x10E0, 400, 400, 50, 50, 0, 0, 0, 0, 650, 192, 0, 0, 0, 0, 0, 0),
            }
        },
        {},
        {
            "ups.power.nominal": 80_000,
            "ups.L1.load": 31,
            "ups.L3.load": 33,
            "ups.load": 32,
            "battery.charge": 44,
            "input.bypass.L1-N.voltage": 230,
            "output.L3-N.voltage": 231,
            "output.L2.current": 41,
            "input.bypass.frequency": 50,
            "output.frequency": 50.1,
            "battery.voltage": 392,
            "ambient.temperature": 27,
            "battery.runtime": 540,
            "battery.current": 31.2,
            "battery.capacity": 65,
            "status.on_battery": True,
            "status.low_battery": True,
            "alarm.general_fault": True,
            "alarm.input_bad": True,
            "alarm.shutdown_imminent": True,
        },
        set(),
    ),
    "socomec-modbus": (
        {
            3: {
                **run_of(1, 0, 0, 0, 0, 200, 180, 0x0303, 0, 0, 0, 0, 0, 0, 1, 0x8300),
                **text(0x10, "P001122334", 10),
                **text(0x1A, "MASTERYS GP4", 10),
                **text(0x24, "ROOM 3", 6),
                **dict.fromkeys(range(42, 62), 0),
                **run_of(0x30, 0b1, 0, 0b10000, 0, 0, 0),  # S000 on inverter, S036 charging
                **run_of(0x38, 0, 1 << 11, 1 << 3, 1 << 6, 0, 0),
                **dict.fromkeys(range(64, 144), ONES),
                **run_of(0x40, 35, 34, 35, 36, 70, 63, 101, 102, 103, 5, 230, 231, 232, 500),
                **run_of(0x4F, 236, 2710, ONES, 12, ONES, ONES, ONES, 99, 550, 31, 0, 251),
                **run_of(0x60, 229, 230, 231, 499),
            }
        },
        {},
        {
            "ups.power.nominal": 20_000,
            "ups.realpower.nominal": 18_000,
            "ups.load": 35,
            "ups.L3.load": 36,
            "ups.power": 7000,
            "ups.realpower": 6300,
            "output.L1.current": 10.1,
            "output.L3-N.voltage": 232,
            "output.frequency": 50,
            "ambient.temperature": 23.6,
            "battery.voltage": 271,
            "battery.current": -1.2,  # charging
            "battery.charge": 99,
            "battery.capacity": 55,
            "battery.runtime": 1860,
            "battery.temperature": 25.1,
            "input.L1-N.voltage": 229,
            "input.frequency": 49.9,
            "status.on_line": True,
            "status.charging": True,
            "status.replace_battery": True,  # A027
            "alarm.input_bad": True,  # A035
            "alarm.fan_fault": True,  # A054
            "status.on_battery": False,
        },
        set(),
    ),
    "liebert-gxt-modbus": (
        {
            2: {72: 1, 73: 0, 80: 1, 127: 0, 153: 1, 170: 0, 185: 0, 289: 0},
            4: {
                19: 9,
                **run_of(20, 0, 3000),
                33: 72,
                52: 2,
                **run_of(
                    101, 0, 1234, 0, 1100, 41, 500, 501, 499, 0, 0, 5, 82, 0, 24, 100, 0, 0, 26
                ),
                129: 2,
                152: 231,
            },
        },
        {},
        {
            "battery.capacity": 9,
            "ups.power.nominal": 3000,
            "battery.voltage.nominal": 72,
            "battery.runtime.low": 120,
            "ups.power": 1234,
            "ups.realpower": 1100,
            "ups.load": 41,
            "input.frequency": 50,
            "output.frequency": 50.1,
            "input.bypass.frequency": 49.9,
            "battery.voltage": 82,
            "battery.runtime": 1440,
            "battery.charge": 100,
            "battery.temperature": 26,
            "input.voltage": 231,
            "battery.charger.status": "floating",
            "ups.test.result": "passed",
            "status.on_line": True,
            "status.on_battery": False,
            "status.replace_battery": True,
            "status.overload": True,
        },
        set(),
    ),
    "liebert-aps-modbus": (
        {
            4: {
                **run_of(436, 17, 2163, 0xFF38, 88, 2, 1, 253),
                449: 3,
                **run_of(463, 1201, 1202, 0, 95, 96, 5998, 98, 99, 512),
            }
        },
        {},
        {
            "battery.runtime": 1020,
            "battery.voltage": 216.3,
            "battery.current": -2,  # charging
            "battery.charge": 88,
            "battery.temperature": 25.3,
            "battery.runtime.low": 180,
            "output.voltage": 120.1,
            "output.frequency": 59.98,
            "ups.power": 5120,
            "status.on_line": True,
            "status.charging": True,
            "status.low_battery": False,
            "battery.charger.status": "charging",
        },
        set(),
    ),
    "liebert-apm-modbus": (
        {
            2: run_of(51, 0, 1, 0, 0, 0, 0, 1, 0),
            4: {
                **run_of(384, 398, 399, 400, 51, 52, 53, 500, 229, 230, 231, 99, 99, 99, 98, 0, 0),
                **run_of(400, 228, 229, 230, 500, 0, 0, 0, 15, 540, 24, 0, 22, 0, 3, 2),
                **run_of(418, 230, 231, 232, 60, 61, 62, 500, 400, 401, 402, 90, 91, 92),
                **run_of(431, 40, 41, 42, 0, 0, 42, 38),
                **run_of(446, 4, 8, 0),
            },
        },
        {},
        {
            "input.L1-L2.voltage": 398,
            "input.L3.current": 53,
            "input.frequency": 50,
            "input.L2-N.voltage": 230,
            "input.bypass.L3-N.voltage": 230,
            "battery.runtime": 900,
            "battery.voltage": 540,
            "battery.temperature": 24,
            "ambient.temperature": 22,
            "output.L3-N.voltage": 232,
            "output.L1.current": 60,
            "output.L3-L1.voltage": 402,
            "ups.L2.load": 41,
            "ups.power": 42_000,
            "ups.realpower": 38_000,
            "status.bypass": True,
            "status.on_line": True,
            "alarm.fan_fault": True,
            "alarm.general_fault": False,
            "status.low_battery": False,
        },
        set(),
    ),
    "manageups-modbus": (
        {
            3: {
                **run_of(0x13, 3, 61, 312, 23, 3804, 251, 29),
                **run_of(0x20, 503, 3, 12, 13, 14, 0, 0, 0),
                **run_of(0x3D, 71, 72, 73),
                **run_of(0x45, 0, 500, 0, 230, 231, 232),
                **run_of(0x56, 0b1100101, 0b1, 0b10000001, 0, 2, 2),
            }
        },
        {},
        {
            "battery.runtime.elapsed": 61,
            "battery.runtime": 312,  # seconds in this map
            "battery.charge": 23,
            "battery.voltage": 380.4,
            "battery.current": 25.1,
            "battery.temperature": 29,
            "input.frequency": 50.3,
            "input.L2-N.voltage": 13,
            "ups.L3.load": 73,
            "input.bypass.frequency": 50,
            "input.bypass.L1-N.voltage": 230,
            "status.on_battery": True,
            "status.on_line": False,
            "status.low_battery": True,
            "alarm.over_temperature": True,
            "alarm.input_bad": True,
            "status.overload": True,
            "alarm.fan_fault": True,
            "alarm.shutdown_imminent": True,
            "alarm.general_fault": False,
        },
        set(),
    ),
    "generex-modbus": (
        {
            3: {
                **run_of(97, 2301, 2302, 2303, 41, 42, 43, 100, 2290, 2291, 2292, 285, 27, 0, 5422),
                **run_of(111, 50, 50, 50, 3),
                **run_of(115, *[0] * 8, 1, *[0] * 6, 1, *[0] * 8),
            }
        },
        {},
        {
            "output.L1-N.voltage": 230.1,
            "output.L3-N.voltage": 230.3,
            "ups.L2.load": 42,
            "battery.charge": 100,
            "input.L3-N.voltage": 229.2,
            "ups.temperature": 28.5,
            "battery.runtime": 1620,
            "battery.voltage": 542.2,
            "input.frequency": 50,
            "status.on_line": True,
            "status.on_battery": False,
            "status.bypass": True,  # the 9th alarm of the UPS-MIB
            "alarm.fan_fault": True,  # the 16th
            "alarm.fuse_fault": False,
        },
        set(),
    ),
    "eaton-pxg-modbus": (
        {
            2: {1057: 1},
            4: {
                **text(1032, "Eaton", 32),
                **text(1064, "9395 550", 32),
                **text(1276, "EN123", 32),
                **floats(1308, 1.25),
                **floats(4046, 277.5, 278.0, 276.5),
                **floats(4058, 275.0, 275.5, 276.0),
                **floats(4377, 480.25),
                **floats(5022, 100.5, 101.5, 102.5, 90.0, 91.0, 92.0),
            },
        },
        {},
        {
            "output.L1-N.voltage": 277.5,
            "output.L3-N.voltage": 276.5,
            "input.bypass.L2-N.voltage": 275.5,
            "battery.voltage": 480.25,
            "input.L3.current": 102.5,
            "output.L1.current": 90,
            "alarm.input_bad": True,
        },
        set(),
    ),
    "phoenix-quint4": (
        {
            4: {
                4: 305,
                **run_of(0x2000, 0b100100),
                **run_of(0x2006, 24_150, 5_300),
                0x200A: 26_400,
                0x200D: 298,
                0x200F: 87,
                **run_of(0x3000, 0b10_0000_0000, 0b1_0000_0100),
            }
        },
        {},
        {
            "output.voltage": 24.15,
            "output.current": 5.3,
            "battery.voltage": 26.4,
            "battery.temperature": 25,
            "battery.charge": 87,
            "status.on_battery": True,
            "status.on_line": False,
            "status.charging": True,
            "status.low_battery": True,
            "status.overload": True,
            "status.replace_battery": True,
            "alarm.battery_disconnected": False,
        },
        set(),
    ),
    "phoenix-quint": (
        {
            4: {
                4: 544,
                **run_of(29697, 0, 0, 1),
                29745: 24_050,
                29749: 100,
                **run_of(29792, 27_300, 293),
                29798: 1_250,
            }
        },
        {},
        {
            "output.voltage": 24.05,
            "output.current": 1.25,
            "battery.charge": 100,
            "battery.voltage": 27.3,
            "battery.temperature": 20,
            "status.on_line": True,
            "status.on_battery": False,
            "status.low_battery": False,
            "status.charging": True,
        },
        set(),
    ),
}

NAMED = {
    "schneider-galaxy-modbus": (
        {3: {0: 4, **text(1, "galaxy app", 9)}},
        {"alarm.general_warning": True, "alarm.general_fault": False},
    ),
    "socomec-modbus-whole": (
        {3: {5: 20, 6: 18, 0x44: 7, 0x45: 6, 0x4D: 500, 0x50: 271, 0x56: 98}},
        {
            "ups.power.nominal": 20_000,
            "ups.power": 7000,
            "ups.realpower": 6000,
            "output.frequency": 50,
            "battery.voltage": 271,
            "battery.charge": 98,
        },
    ),
    "eaton-xslot-modbus": (
        {2: {at: int(at == 3) for at in range(16)}},
        {"status.eco": True, "status.on_line": True, "status.on_battery": False},
    ),
    "phoenix-trio": (
        {4: {**run_of(29697, 1, 1, 0), 29700: 22_100, 29702: 22_000}},
        {
            "output.voltage": 22,
            "battery.voltage": 22.1,
            "status.on_battery": True,
            "status.low_battery": True,
            "status.charging": False,
        },
    ),
    "phoenix-trio-2g": (
        {4: {0x2000: 0b100000, 0x2002: 0, **run_of(0x2006, 24_000, 800), 0x3001: 0}},
        {
            "output.voltage": 24,
            "output.current": 0.8,
            "status.on_line": True,
            "status.charging": True,
            "status.low_battery": False,
        },
    ),
}


def probed(words, objects=None, profile=None):
    async def run():
        async with ModbusServers() as servers:
            port = await servers.add(Held(words, objects))
            return await probe(ModbusAddress("127.0.0.1", port), profile)

    return asyncio.run(run())


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_is_recognized_and_read_as_its_makers_table_says(name):
    words, objects, expected, absent = UNITS[name]
    result = probed(words, objects)
    assert result.profile == name, result.evidence
    found = {point: result.points.get(point) for point in expected}
    assert approx(found, expected)
    assert absent.isdisjoint(result.points)


@pytest.mark.parametrize("name", NAMED)
def test_a_unit_that_does_not_say_who_it_is_is_read_by_the_profile_named(name):
    words, expected = NAMED[name]
    result = probed(words, profile=name)
    assert approx({point: result.points.get(point) for point in expected}, expected)


def approx(found, expected):
    for point, value in expected.items():
        wanted = value if isinstance(value, bool | str) else pytest.approx(value, abs=1e-4)
        assert found[point] == wanted, point
    return True


def test_the_identity_is_read_from_texts_of_either_byte_order_and_from_objects():
    smart, delta, huawei, socomec, gateway = (
        probed(*UNITS[name][:2]).identity
        for name in (
            "apc-modbus",
            "delta-modbus",
            "huawei-ups2000",
            "socomec-jbus",
            "eaton-pxg-modbus",
        )
    )
    assert (smart.model, smart.serial) == ("Smart-UPS 1500", "AS1234567890")
    assert smart.details["ups.mfr.date"] == "2020-01-01"
    assert (delta.model, delta.firmware) == ("GES-602R", "V1.02")
    assert (huawei.model, huawei.firmware) == ("UPS2000", "V100R001C01SPC120")
    assert huawei.serial == "2102310XYZ"
    assert (socomec.model, socomec.serial) == ("DELPHYS MX", "PS02112345")
    assert (gateway.manufacturer, gateway.firmware) == ("Eaton", "1.25")


def test_registers_that_fit_no_family_ask_for_the_profile_by_name():
    with pytest.raises(ReadFailed) as failed:
        probed({3: {0: 4}}, {0: b"Some Maker", 1: b"GW-7", 2: b"1.0"})
    assert failed.value.kind is Failure.UNSUPPORTED
    assert "calls itself 'Some Maker GW-7'" in failed.value.detail
    assert "--profile" in failed.value.detail
    assert "schneider-galaxy-modbus" in failed.value.detail
    assert "\n" not in failed.value.detail


def test_registers_that_fit_two_families_are_not_guessed():
    riello, delta = UNITS["riello-modbus"][0], UNITS["delta-modbus"][0]
    with pytest.raises(ReadFailed) as failed:
        probed({3: riello[3], **delta})
    assert "several families alike" in failed.value.detail
    assert failed.value.detail.endswith("delta-modbus, riello-modbus")


def test_the_evidence_names_the_registers():
    (text_told,) = probed(*UNITS["apc-modbus"][:2]).evidence
    assert text_told == "registers 532+16 hold 'Smart-UPS 1500'"
    signature = probed(*UNITS["riello-modbus"][:2]).evidence
    assert "register 77 (function 3) holds 230" in signature[0]
    assert "register 78 (function 3) holds 500" in signature[1]
