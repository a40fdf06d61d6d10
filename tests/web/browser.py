"""A headless Chromium, spoken to in the WebDriver protocol (https://www.w3.org/TR/webdriver2/)."""

from __future__ import annotations

import base64
import contextlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

from gateway.cli.ports import free_port
from tests.optional import not_tested

START_S = 60.0
PAGE_S = 60.0
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


class Browser:
    """One window. Elements are named by CSS selectors; the first that matches is meant."""

    def __init__(self, session_url: str) -> None:
        self._url = session_url
        self._http = httpx.Client(timeout=60)

    def close(self) -> None:
        self._ask("DELETE", "")
        self._http.close()

    def open(self, url: str) -> None:
        self._ask("POST", "/url", {"url": url})

    def reload(self) -> None:
        self._ask("POST", "/refresh", {})

    def back(self) -> None:
        self._ask("POST", "/back", {})

    def new_tab(self) -> str:
        """Open a tab and look at it from now on; returns the one that was looked at before."""
        before = str(self._ask("GET", "/window"))
        self.look_at(self._ask("POST", "/window/new", {"type": "tab"})["handle"])
        return before

    def look_at(self, tab: str) -> None:
        self._ask("POST", "/window", {"handle": tab})

    def forbid_scripts(self) -> None:
        """As for a visitor who has turned JavaScript off; `run` still asks pages."""
        self._command("Emulation.setScriptExecutionDisabled", {"value": True})

    @property
    def url(self) -> str:
        return str(self._ask("GET", "/url"))

    @property
    def title(self) -> str:
        return str(self._ask("GET", "/title"))

    @property
    def html(self) -> str:
        return str(self._ask("GET", "/source"))

    def text(self, selector: str = "body") -> str:
        return str(self._ask("GET", f"/element/{self._find(selector)}/text"))

    def has(self, selector: str) -> bool:
        return bool(self._ask("POST", "/elements", {"using": "css selector", "value": selector}))

    def fill(self, selector: str, text: str) -> None:
        element = self._find(selector)
        self._ask("POST", f"/element/{element}/clear", {})
        self._ask("POST", f"/element/{element}/value", {"text": text})

    def click(self, selector: str) -> None:
        """Click on something that leads to no other page."""
        self._ask("POST", f"/element/{self._find(selector)}/click", {})

    def follow(self, selector: str) -> None:
        """Click, and wait for the page that this leads to."""
        self._leave(lambda: self.click(selector), f"a click on {selector}")

    def _leave(self, act: Callable[[], None], what: str) -> None:
        self.run("window.isTheOldPage = true")
        act()
        deadline = time.monotonic() + PAGE_S
        while not self._is_loaded("return !window.isTheOldPage && document.readyState === 'complete'"):
            assert time.monotonic() < deadline, f"no new page after {what}; still {self.url}"
            time.sleep(0.05)

    def wait_for(self, selector: str) -> None:
        """Wait until the page has such an element."""
        deadline = time.monotonic() + PAGE_S
        while not self.has(selector):
            assert time.monotonic() < deadline, f"no {selector} on {self.url}"
            time.sleep(0.1)

    def _is_loaded(self, script: str) -> bool:
        try:
            return bool(self.run(script))
        except AssertionError:  # between two pages
            return False

    def press_tab(self) -> str:
        """Move the focus on; returns what has it then, as tag and text."""
        self.press("\ue004")
        found = self._ask("GET", "/element/active")
        element = found[_ELEMENT]
        name, text = self._ask("GET", f"/element/{element}/name"), self._ask("GET", f"/element/{element}/text")
        return f"{name} {text}".strip()

    def press(self, keys: str) -> None:
        """Type with whatever has the focus. Keys without a character: https://www.w3.org/TR/webdriver2/#keyboard-actions."""
        strokes = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self._ask("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": strokes}]})

    def press_enter(self) -> None:
        """Press Enter, and wait for the page that this leads to."""
        self._leave(lambda: self.press("\ue007"), "Enter")

    def run(self, script: str) -> Any:
        """Ask the page something. The pages bring no script of their own."""
        return self._ask("POST", "/execute/sync", {"script": script, "args": []})

    def run_async(self, script: str, *arguments: Any) -> Any:
        """The same, of what takes a while: the script's last argument is called with the answer."""
        return self._ask("POST", "/execute/async", {"script": script, "args": list(arguments)})

    def resize(self, width: int, height: int, *, is_dark: bool = False) -> None:
        """The size of the view as of a phone or a desk."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self._command("Emulation.setDeviceMetricsOverride", metrics)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}]
        self._command("Emulation.setEmulatedMedia", {"features": scheme})

    def screenshot(self, file: Path) -> None:
        """The whole page, not only what fits the view."""
        taken = self._command("Page.captureScreenshot", {"captureBeyondViewport": True})
        file.write_bytes(base64.b64decode(taken["data"]))

    def console(self) -> list[str]:
        """What the browser complained about since the last call: what the headers forbade, for example."""
        return [str(entry["message"]) for entry in self._ask("POST", "/se/log", {"type": "browser"})]

    def _command(self, name: str, params: dict[str, Any]) -> Any:
        return self._ask("POST", "/goog/cdp/execute", {"cmd": name, "params": params})

    def _find(self, selector: str) -> str:
        return str(self._ask("POST", "/element", {"using": "css selector", "value": selector})[_ELEMENT])

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        answer = self._http.request(method, self._url + path, **({} if body is None else {"json": body}))
        told = answer.json()["value"]
        assert answer.is_success, f"{method} {path} {body}: {told.get('message')}"
        return told


@contextlib.contextmanager
def open_browser() -> Iterator[Browser]:
    """A browser with an empty profile. Without Chromium on this machine the test is skipped, loudly."""
    driver, chromium = shutil.which("chromedriver"), shutil.which("chromium") or shutil.which("google-chrome")
    if driver is None or chromium is None:
        not_tested(
            "in a browser", "no chromium and chromedriver here (Debian: apt-get install chromium chromium-driver)"
        )
    port = free_port()
    profile = tempfile.mkdtemp(prefix="tgb")
    process = subprocess.Popen(
        [driver, f"--port={port}"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        browser = _start_session(f"http://127.0.0.1:{port}", chromium, profile)
        try:
            yield browser
        finally:
            browser.close()
    finally:
        process.terminate()
        process.wait(15)
        shutil.rmtree(profile, ignore_errors=True)


def _start_session(driver_url: str, chromium: str, profile: str) -> Browser:
    arguments = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--no-proxy-server",
        f"--user-data-dir={profile}",
        "--window-size=1280,900",
    ]
    wanted = {
        "browserName": "chrome",
        "goog:chromeOptions": {"binary": chromium, "args": arguments},
        "goog:loggingPrefs": {"browser": "ALL"},
    }
    deadline = time.monotonic() + START_S
    while True:
        try:
            answer = httpx.post(f"{driver_url}/session", json={"capabilities": {"alwaysMatch": wanted}}, timeout=60)
        except httpx.TransportError:
            assert time.monotonic() < deadline, "chromedriver did not start"
            time.sleep(0.1)
            continue
        told = answer.json()["value"]
        assert answer.is_success, told.get("message")
        return Browser(f"{driver_url}/session/{told['sessionId']}")
