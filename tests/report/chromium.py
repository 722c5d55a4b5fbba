"""Headless Chromium driven over a pipe by the DevTools protocol: no driver, no web socket, no port."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--remote-debugging-pipe",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
]
WEBGL = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
"""WebGL without a graphics card; slow."""


def find_chromium() -> str | None:
    """Path of an installed Chromium or Chrome, or None."""
    names = (os.environ.get("GENMAT_CHROMIUM"), "chromium", "chromium-browser", "google-chrome", "chrome")
    return next((path for name in names if name and (path := shutil.which(name))), None)


class Page:
    """One tab. Every event is kept, so a test can ask afterwards what was logged and requested."""

    def __init__(self, read: int, write: int) -> None:
        self._read, self._write, self._buffer, self._last = read, write, b"", 0
        self.events: list[dict[str, Any]] = []
        target = self._send("Target.createTarget", url="about:blank")["targetId"]
        self._session: str | None = None
        self._session = self._send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One protocol command in this tab."""
        return self._send(method, **parameters)

    def evaluate(self, expression: str) -> Any:
        """Value of a JavaScript expression (promises are awaited); an exception there raises here."""
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise AssertionError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def wait(self, expression: str, seconds: float = 60) -> Any:
        """Wait until an expression is true; its truth is all that is returned."""
        end = time.monotonic() + seconds
        while not (value := self.evaluate(f"Boolean({expression})")):
            if time.monotonic() > end:
                raise AssertionError(f"never true: {expression}; problems: {self.problems()}")
            time.sleep(0.1)
        return value

    def open(self, path: Path | str, width: int = 1280, height: int = 600, phone: bool = False, part: str = "") -> None:
        """Load a local file or an address in a window of this size, at a ``#part`` of it."""
        self.size(width, height, phone)
        seen = len(self.events)
        self.call("Page.navigate", url=(path if isinstance(path, str) else path.resolve().as_uri()) + part)
        while all(event["method"] != "Page.loadEventFired" for event in self.events[seen:]):
            self.events.append(self._receive())

    def size(self, width: int, height: int, phone: bool = False) -> None:
        """Resize the window; a phone has two device pixels per pixel and a touch screen."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=2 if phone else 1,
            mobile=phone,
        )  # fmt: skip

    def theme(self, name: str) -> None:
        """Prefer "light" or "dark"."""
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def press(self, key: str) -> None:
        """Press and release a key in the focused element."""
        text = {"text": key} if len(key) == 1 else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, code=key, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, code=key)

    def png(self) -> bytes:
        """What the window shows."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])

    def problems(self) -> list[str]:
        """Uncaught exceptions and everything logged as an error or warning."""
        found = []
        for event in self.events:
            parameters = event["params"]
            if event["method"] == "Runtime.exceptionThrown":
                found.append(json.dumps(parameters["exceptionDetails"])[:2000])
            elif event["method"] == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
                found.append(parameters["entry"]["text"])
            elif event["method"] == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning"):
                found.append(" ".join(str(a.get("value", a.get("description"))) for a in parameters["args"]))
        return found

    def requests(self) -> list[str]:
        """Addresses asked for, other than local files and data held by the page itself."""
        urls = [e["params"]["request"]["url"] for e in self.events if e["method"] == "Network.requestWillBeSent"]
        return [url for url in urls if not url.startswith(("file:", "data:", "blob:", "about:"))]

    def _send(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._last += 1
        message: dict[str, Any] = {"id": self._last, "method": method, "params": parameters}
        if getattr(self, "_session", None):
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") != self._last:
                self.events.append(answer)
            elif "error" in answer:
                raise AssertionError(f"{method}: {answer['error']}")
            else:
                return answer["result"]

    def _receive(self, seconds: float = 120) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            if not select.select([self._read], [], [], seconds)[0]:
                raise AssertionError("the browser does not answer")
            chunk = os.read(self._read, 1 << 20)
            if not chunk:
                raise AssertionError("the browser has closed the connection")
            self._buffer += chunk
        message, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(message)


@contextmanager
def browser(executable: str, webgl: bool = True) -> Iterator[Page]:
    """A fresh Chromium with an empty profile and one tab; gone afterwards. Without `webgl` pages draw flat."""
    profile = tempfile.mkdtemp(prefix="genmat-chromium-")
    commands_out, commands_in = os.pipe()
    answers_out, answers_in = os.pipe()
    # the protocol expects commands on descriptor 3 and answers on 4, which only a shell can arrange portably
    line = f'exec "$0" "$@" 3<&{commands_out} 4>&{answers_in}'
    extra = WEBGL if webgl else ["--disable-3d-apis"]
    process = subprocess.Popen(
        ["bash", "-c", line, executable, *FLAGS, *extra, f"--user-data-dir={profile}"],
        pass_fds=(commands_out, answers_in), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(commands_out)
    os.close(answers_in)
    try:
        yield Page(answers_out, commands_in)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(commands_in)
        os.close(answers_out)
        shutil.rmtree(profile, ignore_errors=True)
