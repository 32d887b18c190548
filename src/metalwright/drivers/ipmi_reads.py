"""What takes a BMC many commands to tell: its FRU inventory and its sensors; and who answers.

Part of the worker process (`ipmi_worker.py`): `ask` is one open session. Everything that is read is
bounded, and goes to the parent undecoded where it can.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

APPLICATION, STORAGE, SENSOR = 0x06, 0x0A, 0x04
GET_SYSTEM_GUID, GET_SENSOR_READING = 0x37, 0x2D
GET_FRU_AREA_INFO, READ_FRU = 0x10, 0x11

FRU_CHUNK: Final = 16
FRU_BYTES_MAX: Final = 4_096
SENSORS_MAX: Final = 400
TEXT_MAX: Final = 48

Request = dict[str, Any]
Answer = dict[str, Any]


class Ask(Protocol):
    """One open session, as the worker gives it."""

    session: Any

    def if_known(self, netfn: int, command: int, *data: int) -> bytes:
        """The data of the answer, none where the BMC refuses."""

    def unless_busy(self, netfn: int, command: int, *data: int) -> bytes:
        """The same; it raises where the BMC is only busy."""


def another_machine(ask: Ask, own: Request | None) -> Answer | None:
    """Who answers, when that is not, or not surely, the machine that a change is for.

    `own` has the GUIDs that it may show, and the GUID with which its serial number is known.
    """
    if own is None:
        return None
    guid = ask.if_known(APPLICATION, GET_SYSTEM_GUID)
    is_set = len(guid) == 16 and guid not in (bytes(16), b"\xff" * 16)
    if own["guids"] and is_set and guid.hex() not in own["guids"]:
        return {"stranger": guid.hex()}
    if own["fru_unless"] is not None and guid.hex() != own["fru_unless"]:
        return {"unsure": True, "guid": guid.hex(), "fru": read_fru(ask).hex()}
    return None


def read_fru(ask: Ask) -> bytes:
    """The chassis, board and product areas of FRU device 0 in their places, zeros between them.

    Sixteen bytes at a time: some BMCs give no more. What cannot be read is left out; where the BMC
    is busy nothing is told, since half of a serial number is another one.
    """
    info = ask.unless_busy(STORAGE, GET_FRU_AREA_INFO, 0)
    if len(info) < 3:
        return b""
    unit = 2 if info[2] & 1 else 1  # it is addressed in words, or in bytes
    whole = bytearray(min((info[0] | info[1] << 8) * unit, FRU_BYTES_MAX))

    def read(begin: int, end: int) -> bool:
        while begin < min(end, len(whole)):
            count = min(FRU_CHUNK, end - begin, len(whole) - begin)
            place = (begin // unit).to_bytes(2, "little")
            found = ask.unless_busy(STORAGE, READ_FRU, 0, *place, count // unit)[1 : 1 + count]
            if not found:
                return False
            whole[begin : begin + len(found)] = found
            begin += len(found)
        return True

    if len(whole) < 8 or not read(0, 8) or whole[0] & 0x0F != 1:
        return b""
    for area in (2, 3, 4):
        begin = whole[area] * 8
        if begin and begin + 8 <= len(whole) and read(begin, begin + 8):
            read(begin + 8, begin + whole[begin + 1] * 8)
    return bytes(whole)


class _Session:
    """Our session as pyghmi's SDR wants it: its own `Command` would ask the BMC for its maker, and
    talk to some makers' BMCs over HTTP.
    """

    def __init__(self, session: Any) -> None:
        self.raw_command = session.raw_command

    def xraw_command(self, netfn: int, command: int, data: tuple[int, ...] = ()) -> Any:
        from pyghmi.exceptions import IpmiException

        answer = self.raw_command(netfn=netfn, command=command, data=data)
        if "error" in answer:
            raise IpmiException(answer["error"])
        return {**answer, "data": memoryview(bytearray(answer["data"]))}

    def get_event_constants(self) -> Any:
        from pyghmi.ipmi.private import constants

        return constants


def sensors(ask: Ask) -> Answer:
    """Every sensor of the BMC that reads something: slow, it reads the whole SDR repository."""
    from pyghmi.ipmi.sdr import SDR

    session = _Session(ask.session)
    repository = SDR(session)
    found = []
    for number in list(repository.get_sensor_numbers())[:SENSORS_MAX]:
        sensor = repository.sensors[number]
        raw = ask.session.raw_command(
            netfn=SENSOR,
            command=GET_SENSOR_READING,
            rslun=sensor.sensor_lun,
            data=(sensor.sensor_number,),
        )
        if "error" in raw:
            continue
        told = sensor.decode_sensor_reading(session, raw["data"])
        if told.unavailable:
            continue
        value = None if told.value is None else round(float(told.value), 3)
        found.append(
            {
                "name": str(told.name)[:TEXT_MAX],
                "kind": str(told.type)[:TEXT_MAX],
                "value": value,
                "units": str(told.units or "")[:TEXT_MAX],
                "health": int(told.health),
                "states": [str(each)[:TEXT_MAX] for each in told.states or ()][:4],
            }
        )
    return {"sensors": found}
