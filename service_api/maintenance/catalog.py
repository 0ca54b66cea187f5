"""The shipped plans of work: what recurs at a UPS, how often, and on whose word.

Intervals, durations and steps follow published scopes of work; the source stands with each plan.
Which unit gets which plan and when it is due is in `maintenance.planning`.
"""

import psycopg
from psycopg.rows import TupleRow

# key, title, Chinese title, months, counted from, minutes, skills, part kinds,
# steps in English, steps in Chinese, source
PLANS: tuple[tuple[object, ...], ...] = (
    (
        "semi_annual",
        "Semi-annual inspection",
        "半年巡检",
        6,
        "schedule",
        120,
        ["ups"],
        ["filter"],
        (
            "Look for dust, noise, swelling, leaks and discoloration. "
            "Infrared scan of breakers and terminals. Record voltage, current and frequency of "
            "each phase, battery voltage and current, float voltage and ripple. "
            "Export the event log."
        ),
        (
            "检查积尘、异响、鼓包、渗漏与变色。红外扫描断路器与端子。记录各相电压、电流、频率，"
            "电池电压、电流，浮充电压与纹波。导出事件记录。"
        ),
        (
            "Manufacturers' scopes of work for semi-annual visits; service practice: one major and "
            "one minor visit a year above 40 kVA"
        ),
    ),
    (
        "annual",
        "Annual maintenance",
        "年度保养",
        12,
        "schedule",
        240,
        ["ups"],
        ["filter"],
        (
            "Get the customer's approval. Transfer to maintenance bypass, lock out and tag. Clean, "
            "check torque, inspect capacitors, fuses and fans, calibrate metering. "
            "Transfer bypass to inverter and back, simulate an outage for 3 minutes, return "
            "to normal, report."
        ),
        (
            "取得客户书面同意。转维修旁路，挂牌上锁。清洁、复紧，检查电容、熔断器与风扇，校准计量。"
            "旁路与逆变互切，模拟停电 3 分钟，恢复正常后出具报告。"
        ),
        "Manufacturers' scopes of work for annual visits",
    ),
    (
        "battery_annual",
        "Annual battery check",
        "电池年检",
        12,
        "schedule",
        180,
        ["battery"],
        [],
        (
            "Measure string voltage and current, temperature of posts and room, "
            "internal resistance of each block and of each connection. Retorque, clean. "
            "Compare with the first record."
        ),
        "测量电池串电压与电流、极柱与环境温度、单体内阻与连接电阻。复紧、清洁，与初始记录比较。",
        "IEEE 1188 for VRLA batteries: yearly readings add all connection resistances",
    ),
    (
        "capacity_test",
        "Battery capacity test",
        "电池容量测试",
        24,
        "completion",
        360,
        ["battery"],
        [],
        (
            "Float at full charge for 24 h at 18 to 27 °C. Discharge at constant load, "
            "record voltage every 10 s, stop at cut-off. Compute capacity; watch 24 h of recharge."
        ),
        (
            "在 18 至 27 °C 下满电浮充 24 小时。恒定负载放电，每 10 秒记录电压，到终止电压停止。"
            "计算容量，并观察 24 小时充电过程。"
        ),
        "IEEE 1188: a performance test at most every quarter of expected life or two years",
    ),
    (
        "fans",
        "Fan replacement",
        "更换风扇",
        72,
        "completion",
        120,
        ["ups"],
        ["fan_kit"],
        (
            "Transfer to bypass, lock out, replace the fans as a kit, check direction of "
            "air flow and tachometer."
        ),
        "转旁路并上锁，成套更换风扇，检查风向与转速信号。",
        "Component lives of 5 to 7 years, 44,000 to 60,000 h",
    ),
)


def seed_plans(connection: psycopg.Connection[TupleRow]) -> None:
    """Write the shipped plans that are missing; changed ones stay as they are."""
    with connection.cursor() as cursor:
        cursor.executemany(
            """
            INSERT INTO maintenance_plan (key, title, title_zh, interval_months, basis,
                duration_minutes, skills, part_kinds, steps_en, steps_zh, source)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (key) DO NOTHING
            """,
            [(*plan[:8], [plan[8]], [plan[9]], plan[10]) for plan in PLANS],
        )
