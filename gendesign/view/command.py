"""`gendesign view [FOLDER|FILE ...] [key=value ...]`: serve the page on this machine."""

import argparse
import secrets
import socket
import sys
import webbrowser
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

from gendesign.errors import SettingsError, UserError
from gendesign.run.settings import resolve

HELP = "draw conditions, start runs and look at results, on a page of this machine"
LOCAL = ("127.0.0.1", "localhost", "::1")
EXTRA = "pip install 'gendesign[view]'"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise SettingsError(f"view: {message}; see gendesign view --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        "gendesign view",
        description=HELP,
        epilog="KEY=VALUE are defaults of gendesign generate, such as potential=PATH or an objective of your own.",
    )
    parser.add_argument("what", nargs="*", metavar="FOLDER|FILE|KEY=VALUE", help="results and structures to look at")
    parser.add_argument("--scene", default="results/view", metavar="FOLDER", help="where the scene and its runs are")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at; others need --allow-remote")
    parser.add_argument("--port", type=int, default=0, help="port; 0 takes a free one")
    parser.add_argument(
        "--allow-remote", action="store_true",
        help="let other machines connect: whoever has the address with its token can start runs as you, unencrypted",
    )  # fmt: skip
    parser.add_argument("--no-browser", action="store_true", help="print the address and open nothing")
    parser.add_argument("--zndraw", metavar="URL", help="offer the actions in a running ZnDraw instead of a page")
    return parser


def view_help() -> str:
    """The answer to `gendesign view --help`."""
    return _parser().format_help().rstrip()


def run_view(arguments: Sequence[str]) -> None:
    """Serve until Ctrl-C; raises UserError for invalid words."""
    options = _parser().parse_args(list(arguments))
    # a file that exists may have a = in its name
    given = [word for word in options.what if "=" in word and not Path(word).exists()]
    opened = [Path(word) for word in options.what if word not in given]
    resolve("generate", given)
    for path in opened:
        _check_opened(path)
    if options.host not in LOCAL and not options.allow_remote:
        raise SettingsError(
            f"--host {options.host} lets other machines start runs as you, unencrypted: give --allow-remote to do so"
        )
    if options.zndraw:
        from gendesign.view.zndraw import serve_zndraw

        serve_zndraw(options.zndraw, given)
        return
    _check_installed()
    serve(Path(options.scene), given, opened, options)


def _check_opened(path: Path) -> None:
    if not path.exists():
        raise SettingsError(f"{path} does not exist; give results folders or files of structures")
    if path.is_dir() and not (path / "summary.json").is_file():
        raise SettingsError(f"{path} is no results folder (it has no summary.json); give one, or files of structures")


def _check_installed() -> None:
    for package in ("starlette", "uvicorn"):
        if find_spec(package) is None:
            raise UserError(f"gendesign view needs {package}: {EXTRA}")
    from gendesign.view.app import LIBRARY

    if not LIBRARY.is_file():
        raise UserError(
            f"the page is not built ({LIBRARY.name} is missing): run `make view` in the repository, or install a wheel"
        )


def serve(scene: Path, given: Sequence[str], opened: Sequence[Path], options: argparse.Namespace) -> None:
    """Serve the page of a scene; the address is printed first."""
    import fcntl

    import uvicorn

    from gendesign.view.app import application
    from gendesign.view.security import Guard
    from gendesign.view.session import Session

    try:
        scene.mkdir(parents=True, exist_ok=True)
        lock = open(scene / ".lock", "w")  # noqa: SIM115 - held until the process ends
    except OSError as error:
        raise SettingsError(f"--scene {scene} cannot be written ({error.strerror}); give another folder") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SettingsError(
            f"--scene {scene} is open in another gendesign view; use it, or give another folder"
        ) from None
    listening = _socket(options.host, options.port)
    port, token = listening.getsockname()[1], secrets.token_urlsafe(24)
    host = f"[{options.host}]" if ":" in options.host else options.host
    name = "127.0.0.1" if options.host in ("0.0.0.0", "::") else host
    address = f"http://{name}:{port}/?token={token}"
    print(f"gendesign view: {address}", flush=True)
    if options.allow_remote and options.host not in LOCAL:
        print("gendesign: warning: other machines can connect; the token is all that protects it", file=sys.stderr)
    session = Session(scene, given, opened)
    app = Guard(application(session), token, port, options.allow_remote)
    if not options.no_browser:
        webbrowser.open(address)
    config = uvicorn.Config(
        app, log_level="error", access_log=False, server_header=False, timeout_graceful_shutdown=1, lifespan="on"
    )

    class Server(uvicorn.Server):
        def handle_exit(self, sig: int, frame: Any) -> None:
            session.events.close()  # the server waits for its connections, and streams of events have no end
            super().handle_exit(sig, frame)

    with lock:
        Server(config).run(sockets=[listening])


def _socket(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(64)  # the address is printed next, and may be opened before the server is ready
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SettingsError(f"--host {host} --port {port}: {reason}; give another port, or 0 for a free one") from None
    return listening
