"""Child processes, forked by this process or by a small server process from which all children inherit.

The pools of multiprocessing import the user's script again and require `if __name__ == "__main__"` in every script;
these children do not. No child outlives its parent: on Linux the kernel kills it, elsewhere it ends when its pipe
closes.
"""

import ctypes
import gc
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, Protocol
from weakref import WeakSet

STARTING = 300.0  # seconds to import everything on a busy machine
PR_SET_PDEATHSIG = 1  # of Linux's prctl
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS")}
_REPLY = struct.Struct("ii")  # process id, wait status
_FORK, _END = b"fork", b"end:"
NO_CHILD = -1  # the reply of a server that cannot fork

Serve = Callable[[Connection], None]  # the main loop of a child, which ends when its pipe closes


class Child(Protocol):
    """A running child process and the pipe to it."""

    pid: int
    pipe: Connection

    def end(self) -> int:
        """Kill the process if it is still running, and return its wait status."""


class Starter(Protocol):
    """Starts child processes."""

    def child(self) -> Child:
        """Start a child process."""

    def close(self) -> None:
        """Release all resources."""


class _Forked:
    """A child of this process."""

    def __init__(self, pid: int, pipe: Connection) -> None:
        self.pid, self.pipe = pid, pipe

    def end(self) -> int:
        self.pipe.close()
        return _kill(self.pid)


class Forking:
    """Forks children from this process. They inherit its memory; the process must have no other threads."""

    def __init__(self, serve: Serve) -> None:
        self.serve = serve

    def child(self) -> _Forked:
        """Fork a child, which serves its end of the pipe."""
        here, there = Pipe()
        pid = _fork()
        if pid == 0:
            here.close()
            _serve_and_exit(self.serve, there)
        there.close()
        return _Forked(pid, here)

    def close(self) -> None:
        """Do nothing: there are no resources to release."""


class _Remote:
    """A child of a nursery."""

    def __init__(self, nursery: "Nursery", pid: int, pipe: Connection) -> None:
        self.nursery, self.pid, self.pipe = nursery, pid, pipe

    def end(self) -> int:
        self.pipe.close()
        return self.nursery.end(self.pid)


class Nursery:
    """A server process that forks children on demand, so that threads of the calling process do not matter.

    `forked` inherits the memory of the calling process and must be called before other threads or a GPU driver are
    started. `started` begins with a fresh interpreter and can always be called.
    """

    def __init__(self, control: socket.socket, process: "subprocess.Popen | _Forked") -> None:
        self.control, self.process = control, process
        PRIVATE.add(control)  # otherwise a copy in another server would hide from this one that the parent has ended

    @classmethod
    def forked(cls, serve: Serve) -> "Nursery":
        """Fork the server from this process."""
        here, there = socket.socketpair()
        pid = _fork()
        if pid == 0:
            try:
                here.close()
                os.setsid()
                gc.freeze()  # garbage collection then does not copy shared pages
                _tend(there, serve)
            finally:
                os._exit(1)  # after an error the child must not continue as a second parent
        there.close()
        return cls(here, _Forked(pid, Pipe()[0]))

    @classmethod
    def started(cls, serve: str, preload: Sequence[str] = ()) -> "Nursery":
        """Start the server as a program.

        serve: a function as module:name. preload: modules that the server imports once for all children. Raises
        ChildProcessError if the server does not start.
        """
        here, there = socket.socketpair()
        # For the kernel the parent has ended when the thread that started the process has ended.
        parent = os.getpid() if threading.current_thread() is threading.main_thread() else None
        arguments = f"{there.fileno()}, {serve!r}, {tuple(preload)!r}, {parent}"
        command = f"from gendesign.processes.children import run_server; run_server({arguments})"
        paths = os.pathsep.join(path or "." for path in sys.path)
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", command], env={**os.environ, **ONE_THREAD, "PYTHONPATH": paths},
            pass_fds=[there.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        there.close()
        here.settimeout(STARTING)
        ready = b""
        try:
            with suppress(TimeoutError):
                ready = here.recv(1)
        finally:
            if not ready:  # also after Ctrl-C
                process.kill()
                process.wait()
        if not ready:
            raise ChildProcessError("the server of worker processes did not start; see its messages above")
        here.settimeout(None)
        return cls(here, process)

    def child(self) -> _Remote:
        """Fork a child, which serves its end of the pipe.

        Raises ConnectionError if the server has ended, and ChildProcessError if it cannot fork.
        """
        here, there = Pipe()
        with there:
            socket.send_fds(self.control, [_FORK], [there.fileno()])
        pid, error = self._reply()
        if pid == NO_CHILD:
            raise ChildProcessError(f"no more processes can be started ({os.strerror(error)}); set workers lower")
        return _Remote(self, pid, here)

    def end(self, pid: int) -> int:
        """Kill a child if it is still running, and return its wait status."""
        try:
            self.control.sendall(_END + struct.pack("i", pid))
            return self._reply()[1]
        except OSError:  # the server has ended and with it all its children
            return signal.SIGKILL

    def close(self) -> None:
        """Kill the server and all its children."""
        PRIVATE.discard(self.control)
        self.control.close()
        if isinstance(self.process, subprocess.Popen):
            self.process.wait()
        else:
            with suppress(ChildProcessError):
                os.waitpid(self.process.pid, 0)

    def _reply(self) -> tuple[int, int]:
        data = b""
        while len(data) < _REPLY.size:
            part = self.control.recv(_REPLY.size - len(data))
            if not part:
                raise ConnectionResetError("the server of worker processes is gone")
            data += part
        return _REPLY.unpack(data)


def run_server(descriptor: int, serve: str, preload: Sequence[str], parent: int | None = None) -> None:
    """The main function of a server started by `Nursery.started`.

    descriptor: of the control socket. serve, preload: as in `Nursery.started`. parent: process id of the parent; if
    given, the server ends together with it.
    """
    import importlib

    if parent is not None:
        die_with_parent()
        if os.getppid() != parent:
            os._exit(1)
    control = socket.socket(fileno=descriptor)
    for name in preload:
        importlib.import_module(name)
    module, _, function = serve.partition(":")
    run = getattr(importlib.import_module(module), function)
    gc.freeze()
    control.sendall(b"!")
    _tend(control, run)


def _tend(control: socket.socket, serve: Serve) -> None:
    """Fork and end children on request until the control socket closes; then kill the process group."""
    children: set[int] = set()
    while True:
        try:
            message, descriptors, _, _ = socket.recv_fds(control, len(_FORK), 1)
        except OSError:
            message, descriptors = b"", []
        if not message:
            for pid in children:
                _kill(pid)
            os.killpg(0, signal.SIGKILL)  # this process and all processes that the children started
        if message == _FORK:
            try:
                pid = _fork()
            except OSError as error:
                os.close(descriptors[0])
                control.sendall(_REPLY.pack(NO_CHILD, error.errno or 0))
                continue
            if pid == 0:
                control.close()
                _serve_and_exit(serve, Connection(descriptors[0]))
            os.close(descriptors[0])
            children.add(pid)
            control.sendall(_REPLY.pack(pid, 0))
        else:
            (pid,) = struct.unpack("i", control.recv(4))
            status = 0
            if pid in children:  # only this server reaps them, so that the id cannot belong to another process
                children.remove(pid)
                status = _kill(pid)
            control.sendall(_REPLY.pack(pid, status))


def _kill(pid: int) -> int:
    """Kill a child of this process if it is still running, and return its wait status."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    with suppress(ChildProcessError):
        return os.waitpid(pid, 0)[1]
    return 0


def _fork() -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    # Ctrl-C before the child ignores it would raise KeyboardInterrupt: the child would continue as a second parent.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        pid = os.fork()
        if pid == 0:
            _become_child(parent)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return pid


def _become_child(parent: int) -> None:
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        die_with_parent()
        for opened in PRIVATE:
            opened.close()
        PRIVATE.clear()
        orphan = os.getppid() != parent  # the parent ended before the kernel watched it
    except BaseException:
        orphan = True
    if orphan:
        os._exit(1)


def die_with_parent() -> None:
    """Let the kernel end this process when its parent ends; only Linux can."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _serve_and_exit(serve: Serve, pipe: Connection) -> None:
    """Run the main loop of a child and exit; the code of the parent is never resumed."""
    global IN_CHILD
    IN_CHILD = True
    status = 1
    try:
        devnull = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):  # hides progress bars and warnings of libraries; results return through the pipe
            os.dup2(devnull, stream)
        serve(pipe)
        status = 0
    finally:
        os._exit(status)


# Open files and sockets that children must not inherit, such as locks, which would otherwise outlive the parent.
PRIVATE: "WeakSet[Any]" = WeakSet()
IN_CHILD = False  # True in children, which have one thread and may therefore fork
