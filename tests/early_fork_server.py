"""A fork server for a process that was forked from one that has imported everything.

To start one costs more than a second, in which it imports what is imported here already.
"""

from __future__ import annotations

import os
import socket
import sys
import types
from collections.abc import Sequence
from multiprocessing import forkserver


def prepare() -> None:
    """Fork a process that becomes the fork server of this one if workers are asked for; it ends with this one.

    This process has not run anything yet, and so the workers have nothing of it.
    """
    if sys.platform != "linux":  # only there a socket needs no file
        return
    ours, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("")
    listener.listen()
    parent, server = os.getpid(), os.fork()
    if not server:
        ours.close()
        _wait_and_serve(theirs, listener)
    theirs.close()
    set_preload = forkserver.set_forkserver_preload

    def take(names: Sequence[str]) -> None:
        set_preload(names)
        state = vars(forkserver._forkserver)
        if os.getpid() == parent and ours.fileno() >= 0 and not state["_forkserver_pid"]:
            # Where this process prints to by now, the workers print to, too.
            socket.send_fds(ours, [" ".join(names).encode()], [1, 2])
            state["_forkserver_address"] = listener.getsockname()
            state["_forkserver_alive_fd"], state["_forkserver_pid"] = ours.detach(), server

    forkserver.set_forkserver_preload = take


def _wait_and_serve(asked: socket.socket, listener: socket.socket) -> None:
    try:
        names, files, _, _ = socket.recv_fds(asked, 1 << 16, 2)
        if names:
            for number, file in enumerate(files, start=1):
                os.dup2(file, number)
                os.close(file)
            del sys.modules["crystallize.plugins.execution.preload"]  # it does more than import
            sys.modules["__main__"] = types.ModuleType("__main__")
            forkserver.main(listener.detach(), asked.detach(), names.decode().split())
    finally:
        os._exit(0)
