"""Why a card cannot be read, in a sentence of each language. Pure."""

from datetime import datetime

from service_api import figures
from service_api.language import msg, translate

_REASONS = {
    "timeout": msg("it does not answer"),
    "refused": msg("its address answers, but nothing listens there"),
    "unreachable": msg("its address cannot be reached"),
    "auth": msg("it refuses the credentials"),
    "malformed": msg("what it answers cannot be understood"),
    "unsupported": msg("it has nothing of what its profile reads"),
    "gateway": msg("the gateway answers, the unit behind it does not"),
    "busy": msg("it, or the line that it shares, has no time"),
    "misrecorded": msg("its address or credentials are not recorded correctly"),
}
_OTHER = msg("reading it fails in an unexpected way")


def sentence(language: str, failure: str | None, since: datetime | None, now: datetime) -> str:
    """Say since when and why a card cannot be read."""
    reason = translate(language, _REASONS.get(failure or "", _OTHER))
    if since is None:
        return translate(language, msg("Cannot be read: %(reason)s."), reason=reason)
    return translate(
        language,
        msg("Cannot be read for %(time)s: %(reason)s."),
        time=figures.duration(language, now - since),
        reason=reason,
    )
