"""ready.py PORT: exit 0 when a Kafka broker on 127.0.0.1:PORT names itself in a metadata answer, else 1.

An open port is not enough: a starting broker accepts connections before it can serve them.
"""

import socket
import struct
import sys

METADATA, VERSION, CORRELATION = 3, 1, 41


def main() -> int:
    name = b"lakegate-services"
    request = struct.pack(">hhih", METADATA, VERSION, CORRELATION, len(name)) + name + struct.pack(">i", 0)
    try:
        with socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=2) as peer:
            peer.sendall(struct.pack(">i", len(request)) + request)
            answer = peer.makefile("rb")
            (length,) = struct.unpack(">i", answer.read(4))
            correlation, brokers = struct.unpack(">ii", answer.read(length)[:8])
    except (OSError, struct.error):
        return 1
    return 0 if correlation == CORRELATION and brokers > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
