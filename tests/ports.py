"""Ports of this machine for servers that tests start."""

import socket


def free_ports(count):
    """The system gives them to nobody else while this process lives; a server may listen on them.

    That is what a socket does which is bound, but does not listen.
    """
    ports = []
    for _ in range(count):
        place = socket.socket()
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        place.bind(("127.0.0.1", 0))
        ports.append(place.getsockname()[1])
        place.detach()
    return ports
