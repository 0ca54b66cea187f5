"""A real SNMP version 3 agent, pysnmp's engine, with a user for every algorithm."""

import asyncio
import secrets

from pysnmp.carrier.asyncio.dgram.udp import DOMAIN_NAME, UdpTransport
from pysnmp.carrier.asyncio.dispatch import AsyncioDispatcher
from pysnmp.entity import config
from pysnmp.entity.engine import SnmpEngine
from pysnmp.entity.rfc3413 import cmdrsp, context
from pysnmp.proto.rfc1902 import OctetString

AUTH_PASSPHRASE = "some-authentication"
PRIV_PASSPHRASE = "some-privacy"
AUTH = {
    None: config.USM_AUTH_NONE,
    "md5": config.USM_AUTH_HMAC96_MD5,
    "sha1": config.USM_AUTH_HMAC96_SHA,
    "sha224": config.USM_AUTH_HMAC128_SHA224,
    "sha256": config.USM_AUTH_HMAC192_SHA256,
    "sha384": config.USM_AUTH_HMAC256_SHA384,
    "sha512": config.USM_AUTH_HMAC384_SHA512,
}
PRIV = {
    None: config.USM_PRIV_NONE,
    "des": config.USM_PRIV_CBC56_DES,
    "aes128": config.USM_PRIV_CFB128_AES,
    "aes192": config.USM_PRIV_CFB192_AES_BLUMENTHAL,
    "aes192c": config.USM_PRIV_CFB192_AES,
    "aes256": config.USM_PRIV_CFB256_AES_BLUMENTHAL,
    "aes256c": config.USM_PRIV_CFB256_AES,
}
LEVELS = {(False, False): "noAuthNoPriv", (True, False): "authNoPriv", (True, True): "authPriv"}
ENCRYPTED = 0x02  # of the flags in a message's header (RFC 3412 section 6.4)


def user_name(auth: str | None, priv: str | None) -> str:
    return f"{auth}-{priv}"


class Port(UdpTransport):
    """A socket that counts what comes and may keep it to itself."""

    def __init__(self, agent, loop):
        super().__init__(loop=loop)
        self.agent, self.closed = agent, loop.create_future()

    def datagram_received(self, datagram, address):
        self.agent.questions += 1
        flags = datagram.index(b"\x04\x01") + 2
        is_encrypted = bool(datagram[flags] & ENCRYPTED)
        if not self.agent.is_silent and not (is_encrypted and self.agent.drops_encrypted):
            self._callback_function(self, address, datagram)

    def connection_lost(self, exc):
        super().connection_lost(exc)
        self.closed.set_result(None)


class V3Agent:
    """An agent on a free port of 127.0.0.1, or on `port`, with an engine id of its own.

    `users` are pairs of algorithms: making keys takes pysnmp a while, so only those that are asked.
    """

    def __init__(self, *users, port: int = 0) -> None:
        self.port = port
        self.users = users or (("sha256", "aes128"),)
        self.questions = 0
        self.is_silent = False
        self.drops_encrypted = False

    async def __aenter__(self):
        loop = asyncio.get_running_loop()
        engine_id = OctetString(b"\x80\x00\x4f\xb8\x05" + secrets.token_bytes(8))
        self.engine = SnmpEngine(snmpEngineID=engine_id)
        self.dispatcher = AsyncioDispatcher()
        self.engine.register_transport_dispatcher(self.dispatcher)
        for auth, priv in self.users:
            self._add_user(auth, priv)
        whole = context.SnmpContext(self.engine)
        cmdrsp.GetCommandResponder(self.engine, whole)
        cmdrsp.NextCommandResponder(self.engine, whole)
        _, self.socket = await loop.create_datagram_endpoint(
            lambda: Port(self, loop), local_addr=("127.0.0.1", self.port)
        )
        self.dispatcher.register_transport(DOMAIN_NAME, self.socket)
        self.port = self.socket.transport.get_extra_info("sockname")[1]
        return self

    async def __aexit__(self, *_):
        timer = self.dispatcher.loopingcall
        self.engine.close_dispatcher()
        await self.socket.closed
        if timer is not None:
            await asyncio.wait([timer])

    def restart(self) -> None:
        """Start once more, with the time beginning anew: it only counts the starts here."""
        builder = self.engine.get_mib_builder()
        (boots,) = builder.import_symbols("__SNMP-FRAMEWORK-MIB", "snmpEngineBoots")
        boots.syntax = boots.syntax.clone(int(boots.syntax) + 1)

    def _add_user(self, auth, priv) -> None:
        name = user_name(auth, priv)
        login = (AUTH[auth], AUTH_PASSPHRASE) if auth else ()
        secret = (PRIV[priv], PRIV_PASSPHRASE) if priv else ()
        config.add_v3_user(self.engine, name, *login, *secret)
        level = LEVELS[auth is not None, priv is not None]
        config.add_vacm_user(self.engine, 3, name, level, (1, 3, 6), (1, 3, 6))
