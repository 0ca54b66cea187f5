"""How a contact is reached: an Apprise address, opened only to send.

Sealing is in `service_api.secrets`. Addresses carry passwords and tokens, so nothing here puts one
into a message or a log.
"""

import logging

import apprise

LOCAL_SCHEMES = frozenset({"dbus", "glib", "gnome", "kde", "macosx", "qt", "syslog", "windows"})
"""They would speak to whoever sits at the server, not to a customer."""


class ChannelInvalid(ValueError):
    """The address cannot be used; the message says why without the address."""


class SendFailed(Exception):
    """The channel did not take the notice; the message says what is known."""


def check_channel(address: str) -> None:
    """Raise `ChannelInvalid` unless Apprise knows how to send to this address."""
    scheme = address.partition("://")[0].lower()
    if scheme in LOCAL_SCHEMES:
        raise ChannelInvalid(f"{scheme}:// notifies this server's own desktop, not a contact")
    if not apprise.Apprise().add(address):
        raise ChannelInvalid(
            "not an Apprise address: mailto://user:password@host, wecombot://key, "
            "dingtalk://token, feishu://token, jsons://host/path …"
        )


def send(address: str, title: str, body: str) -> None:
    """Send through Apprise, whose own deadlines bound it. Raises `SendFailed`."""
    way = apprise.Apprise()
    if not way.add(address):
        raise SendFailed("the channel's address is no longer understood")
    with apprise.LogCapture(level=logging.WARNING) as said:  # type: ignore[no-untyped-call]
        if way.notify(title=title, body=body, body_format=apprise.NotifyFormat.TEXT):
            return
        reason = said.getvalue().strip().splitlines()
    raise SendFailed(reason[-1][:300] if reason else "the channel refused without a reason")
