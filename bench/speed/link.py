"""A link with a delay: `python -m bench.speed.link SERVER_PORT SECONDS` prints its port, then turns by connection.

Every byte waits half a round trip in each direction. A turn is one answer that the client waited for: it wrote, having
read something since it last wrote. Turns are counted, not timed. Neither bandwidth nor slow start is modelled.
"""

import queue
import socket
import sys
import threading
import time


def main(server_port: int, round_trip_seconds: float) -> None:
    """Serve until killed."""
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    while True:
        client, _ = listener.accept()
        threading.Thread(target=_serve, args=(client, server_port, round_trip_seconds), daemon=True).start()


def _serve(client: socket.socket, server_port: int, round_trip_seconds: float) -> None:
    time.sleep(round_trip_seconds)  # the handshake
    server = socket.create_connection(("127.0.0.1", server_port))
    for one in (client, server):
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    turns = _Turns()
    half = round_trip_seconds / 2
    upward = threading.Thread(target=_carry, args=(client, server, half, turns.client_wrote), daemon=True)
    upward.start()
    _carry(server, client, half, turns.server_wrote)
    upward.join()
    print(f"turns {turns.count}", flush=True)


class _Turns:
    def __init__(self) -> None:
        self.count = 0
        self._is_answered = True

    def client_wrote(self) -> None:
        if self._is_answered:
            self.count += 1
            self._is_answered = False

    def server_wrote(self) -> None:
        self._is_answered = True


def _carry(source: socket.socket, target: socket.socket, delay: float, note: object) -> None:
    waiting: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
    writer = threading.Thread(target=_write, args=(waiting, target, note), daemon=True)
    writer.start()
    data = b"x"
    while data:
        try:
            data = source.recv(65536)
        except OSError:
            data = b""
        waiting.put((time.monotonic() + delay, data))
    writer.join()


def _write(waiting: "queue.SimpleQueue[tuple[float, bytes]]", target: socket.socket, note: object) -> None:
    while True:
        due, data = waiting.get()
        time.sleep(max(0.0, due - time.monotonic()))
        try:
            if not data:
                target.shutdown(socket.SHUT_WR)
                return
            if callable(note):
                note()
            target.sendall(data)
        except OSError:
            return


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
