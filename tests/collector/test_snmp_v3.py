import asyncio
from dataclasses import replace

import pytest

from collector.address import Credentials, SnmpAddress
from collector.raw import CardMemory, Failure, ReadFailed
from collector.readers import snmp
from device_sims.fleet import V3_AUTH_PASSPHRASE, V3_PRIV_PASSPHRASE, V3_USER
from device_sims.replay import serving_recording

NAME, ABSENT = "1.3.6.1.2.1.1.2.0", "1.3.6.1.4.1.99999.1.0"
RIGHT = SnmpAddress(
    "127.0.0.1",
    161,
    "3",
    "sha256",
    "aes128",
    Credentials(V3_USER, V3_AUTH_PASSPHRASE, V3_PRIV_PASSPHRASE),
)


def read(address, tmp_path, memory=None):
    recording = tmp_path / "unit.snmprec"
    recording.write_text(f"{NAME}|6|1.3.6.1.4.1.318.1.3.27\n")

    async def run():
        async with serving_recording(recording) as port:
            return await snmp.read(
                replace(address, port=port),
                [NAME, ABSENT],
                deadline=3.0,
                memory=memory or CardMemory(),
            )

    return asyncio.run(run())


def test_version_3_is_read_with_authentication_and_privacy(tmp_path):
    memory = CardMemory()
    reply = read(RIGHT, tmp_path, memory)
    assert reply.values == {NAME: "1.3.6.1.4.1.318.1.3.27"}
    assert reply.missing == {ABSENT}
    assert memory.engine_id


@pytest.mark.parametrize(
    "wrong",
    [
        {"credentials": Credentials("nobody", V3_AUTH_PASSPHRASE, V3_PRIV_PASSPHRASE)},
        {"credentials": Credentials(V3_USER, "wrong-passphrase", V3_PRIV_PASSPHRASE)},
        {"credentials": Credentials(V3_USER, V3_AUTH_PASSPHRASE, "wrong-passphrase")},
        {"auth": "sha1"},
        {"priv": "aes256"},
        {"auth": None, "priv": None},
    ],
    ids=["user", "authentication", "privacy", "auth-algorithm", "priv-algorithm", "level"],
)
def test_wrong_credentials_of_version_3_are_told_as_such(wrong, tmp_path):
    with pytest.raises(ReadFailed) as failed:
        read(replace(RIGHT, **wrong), tmp_path)
    assert failed.value.kind is Failure.AUTH
    assert "passphrase" in failed.value.detail
    assert "wrong-passphrase" not in failed.value.detail
