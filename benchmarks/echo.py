"""A server on loopback that sends back what it gets, in a thread of its own."""

from __future__ import annotations

import selectors
import socket
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self


class Echo:
    """The server; no event loop, so that it takes as little of the processor as it can."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=1_000)
        self._stop, self._stopped = socket.socketpair()
        self._thread = threading.Thread(target=self._serve)
        self.address: tuple[str, int] = self._listening.getsockname()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, _1: type[BaseException] | None, _2: BaseException | None, _3: TracebackType | None
    ) -> None:
        self._stop.close()
        self._thread.join()

    def _serve(self) -> None:
        with selectors.DefaultSelector() as selector, self._stopped, self._listening:
            selector.register(self._stopped, selectors.EVENT_READ)
            selector.register(self._listening, selectors.EVENT_READ)
            connections: list[socket.socket] = []
            while True:
                for key, _ in selector.select():
                    if key.fileobj is self._stopped:
                        for connection in connections:
                            connection.close()
                        return
                    if key.fileobj is self._listening:
                        connection, _ = self._listening.accept()
                        connections.append(connection)
                        selector.register(connection, selectors.EVENT_READ, connection)
                    elif data := key.data.recv(1_024):
                        key.data.sendall(data)
                    else:
                        selector.unregister(key.data)
