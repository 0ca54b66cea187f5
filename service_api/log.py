"""One form of log line, on standard error, quiet by default."""

import logging

FORM = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
LOUD = ("amqtt", "transitions", "apscheduler", "pymodbus", "httpx", "uvicorn.access", "asyncio")
"""Libraries that tell more than an operator wants to know."""


def set_up(level: str = "INFO") -> None:
    """Log from `level` on; libraries that chatter only from WARNING on."""
    logging.basicConfig(level=level.upper(), format=FORM)
    for name in LOUD:
        logging.getLogger(name).setLevel(logging.WARNING)
