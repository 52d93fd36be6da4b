"""Messages between a potential and its engine: a JSON header and plain arrays, without pickles."""

import json
import socket
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

_LENGTH = struct.Struct("<Q")
LARGEST_HEADER = 2**24  # bytes; a larger one is not of this protocol

Fields = dict[str, Any]
Arrays = dict[str, np.ndarray]


def send(connection: socket.socket, fields: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Send plain values and arrays of any shape; raises OSError where the other end is closed."""
    packed = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    layout = [[name, array.dtype.str, array.shape] for name, array in packed.items()]
    header = json.dumps({"fields": dict(fields), "arrays": layout}).encode()
    connection.sendall(_LENGTH.pack(len(header)) + header)
    for array in packed.values():
        if array.size:
            connection.sendall(memoryview(array).cast("B"))


def receive(connection: socket.socket) -> tuple[Fields, Arrays]:
    """The next message; raises EOFError where the other end is closed."""
    (length,) = _LENGTH.unpack(_exactly(connection, _LENGTH.size))
    if length > LARGEST_HEADER:
        raise EOFError(f"a header of {length} bytes is none of this protocol")
    header = json.loads(bytes(_exactly(connection, length)))
    arrays = {}
    for name, dtype, shape in header["arrays"]:
        array = np.empty(shape, np.dtype(dtype))
        if array.size:
            _fill(connection, memoryview(array).cast("B"))
        arrays[name] = array
    return header["fields"], arrays


def _exactly(connection: socket.socket, size: int) -> bytearray:
    data = bytearray(size)
    _fill(connection, memoryview(data))
    return data


def _fill(connection: socket.socket, view: memoryview) -> None:
    done = 0
    while done < len(view):
        count = connection.recv_into(view[done:])
        if not count:
            raise EOFError("the other end of the connection is closed")
        done += count
