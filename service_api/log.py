"""One form of log line, on standard error, quiet by default."""

import logging

FORM = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
LOUD = ("amqtt", "transitions", "apscheduler", "pymodbus", "httpx", "uvicorn.access", "asyncio")
"""Libraries that tell more than an operator wants to know."""
SILENT = ("pymodbus.logging",)
"""Libraries that log what they also raise: a silent unit is told once, by the poll loop."""


def set_up(level: str = "INFO") -> None:
    """Log from `level` on; libraries that chatter only from WARNING on."""
    logging.basicConfig(level=level.upper(), format=FORM)
    for name in LOUD:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in SILENT:
        logging.getLogger(name).setLevel(logging.CRITICAL)
