"""Headless Chromium for tests of pages: the DevTools protocol over a pipe, without a network and without a library."""

import base64
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OPTIONS = (
    "--headless=new", "--no-sandbox", "--remote-debugging-pipe", "--no-first-run", "--disable-dev-shm-usage",
    "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--hide-scrollbars", "--mute-audio",
)  # fmt: skip
LOCAL = ("file:", "data:", "blob:", "about:")  # addresses that need no host
PATIENCE = 90.0  # seconds; WebGL is computed by the processor here


def chromium() -> str | None:
    """The path of an installed Chromium, or None."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


class Browser:
    """One page of a headless Chromium; use it in a `with` statement.

    requests: addresses of the page's requests that are not LOCAL; problems: errors of its console and its exceptions.
    """

    def __init__(self, profile: Path, size: tuple[int, int] = (1280, 900)) -> None:
        self.requests: list[str] = []
        self.problems: list[str] = []
        self._buffer = b""
        self._number = 0
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()
        program = chromium()
        assert program is not None, f"none of {', '.join(PROGRAMS)} is installed"
        command = [program, *OPTIONS, f"--user-data-dir={profile}", f"--window-size={size[0]},{size[1]}", "about:blank"]
        # Chromium reads its commands from descriptor 3 and answers on 4
        script = f'exec "$0" "$@" 3<&{to_browser} 4>&{from_browser}'
        self._process = subprocess.Popen(
            ["bash", "-c", script, *command],
            pass_fds=(to_browser, from_browser),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        targets = self._call("Target.getTargets", session=None)["targetInfos"]
        page = next(target["targetId"] for target in targets if target["type"] == "page")
        self._session: str | None = self._call("Target.attachToTarget", session=None, targetId=page, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self._call(f"{domain}.enable", session=self._session)
        self.resize(*size)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._write)  # Chromium ends with its pipe
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._read)

    def resize(self, width: int, height: int) -> None:
        """Give the page a size in pixels."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._call("Emulation.setDeviceMetricsOverride", session=self._session, **metrics)

    def open(self, path: Path, fragment: str = "") -> None:
        """Load a file and wait until the browser has read it."""
        address = path.resolve().as_uri()
        self._call("Page.navigate", session=self._session, url=address + fragment)
        # the page may add a fragment of its own
        self.wait(f"document.readyState === 'complete' && location.href.split('#')[0] === {json.dumps(address)}")

    def visit(self, address: str) -> None:
        """Load a page of a server on this machine."""
        self._call("Page.navigate", session=self._session, url=address)
        self.wait("document.readyState === 'complete' && location.protocol === 'http:'")

    def click(self, x: float, y: float, *, to: tuple[float, float] | None = None, modifiers: int = 0) -> None:
        """Press the mouse button at a place in pixels, move to another one if it is given, and release it."""
        path = [(x, y)] if to is None else [(x, y), ((x + to[0]) / 2, (y + to[1]) / 2), to]
        steps = [("mouseMoved", path[0]), ("mousePressed", path[0])]
        steps += [*(("mouseMoved", place) for place in path[1:]), ("mouseReleased", path[-1])]
        for number, (kind, place) in enumerate(steps):
            held = 0 < number < len(steps) - 1
            self._call(
                "Input.dispatchMouseEvent", session=self._session, type=kind, x=place[0], y=place[1],
                modifiers=modifiers, button="left" if number else "none", buttons=int(held),
                clickCount=int(kind != "mouseMoved"),
            )  # fmt: skip

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, promises awaited."""
        answer = self._call(
            "Runtime.evaluate", session=self._session, expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, expression: str, seconds: float = PATIENCE) -> None:
        """Until a JavaScript expression is true."""
        end = time.monotonic() + seconds
        while not self.evaluate(f"Boolean({expression})"):
            assert time.monotonic() < end, f"{expression} is not true after {seconds:g} s; console: {self.problems}"
            time.sleep(0.1)

    def press(self, key: str, modifiers: int = 0) -> None:
        """Press and release a key, such as Enter; modifiers: the sum of 1 Alt, 2 Ctrl, 8 Shift."""
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 and not modifiers else "")
        codes = {"Enter": 13, "Tab": 9, "Delete": 46, "ArrowRight": 39, "ArrowLeft": 37}
        code = codes.get(key, ord(key.upper()) if len(key) == 1 else 0)
        for kind in ("keyDown", "keyUp"):
            self._call(
                "Input.dispatchKeyEvent", session=self._session, type=kind, key=key, modifiers=modifiers,
                text=text if kind == "keyDown" else "", windowsVirtualKeyCode=code,
            )  # fmt: skip

    def screenshot(self, path: Path, whole: bool = False) -> bytes:
        """Write a picture (PNG) of the window, or of the whole page, and return it."""
        picture = self._call(
            "Page.captureScreenshot", session=self._session, format="png", captureBeyondViewport=whole
        )["data"]
        path.write_bytes(base64.b64decode(picture))
        return path.read_bytes()

    def _call(self, method: str, *, session: str | None, **parameters: Any) -> Any:
        """Send one command and return its answer; events that arrive before are kept."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]
            self._note(answer)

    def _receive(self) -> dict[str, Any]:
        end = time.monotonic() + PATIENCE
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"Chromium does not answer for {PATIENCE:g} s"
            chunk = os.read(self._read, 1 << 20)
            assert chunk, "Chromium has ended"
            self._buffer += chunk
        text, self._buffer = self._buffer.split(b"\0", 1)
        answer: dict[str, Any] = json.loads(text)
        return answer

    def _note(self, event: dict[str, Any]) -> None:
        content = event.get("params", {})
        if event.get("method") == "Network.requestWillBeSent":
            address = content["request"]["url"]
            if not address.startswith(LOCAL):
                self.requests.append(address)
        elif event.get("method") == "Runtime.exceptionThrown":
            details = content["exceptionDetails"]
            self.problems.append(details.get("exception", {}).get("description", details["text"]))
        elif event.get("method") == "Runtime.consoleAPICalled" and content["type"] in ("error", "assert", "warning"):
            self.problems.append(" ".join(str(a.get("value", a.get("description", ""))) for a in content["args"]))
        elif event.get("method") == "Log.entryAdded" and content["entry"]["level"] == "error":
            self.problems.append(content["entry"]["text"])
