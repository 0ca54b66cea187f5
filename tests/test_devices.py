"""Every folder of tests/devices: a recording is replayed, probed, and compared."""

import asyncio
import json
from pathlib import Path

import pytest

from collector.address import parse_address
from collector.probe import probe
from device_sims.replay import serving_recording

FOLDERS = sorted(path for path in Path(__file__).with_name("devices").iterdir() if path.is_dir())


def probed(folder: Path) -> dict:
    (recording,) = [
        p for p in folder.iterdir() if p.name in ("recording.snmprec", "registers.yaml")
    ]
    scheme = "snmp" if recording.suffix == ".snmprec" else "modbus"

    async def run():
        async with serving_recording(recording) as port:
            return await probe(parse_address(f"{scheme}://127.0.0.1:{port}"))

    return asyncio.run(run()).to_json()


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_recorded_device_is_read_as_expected(folder):
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    assert expected.keys() >= {"profile", "identity", "points", "problems"}
    found = probed(folder)
    assert {key: found.get(key) for key in expected} == expected
