"""Take the screenshots that the documentation shows, of a report, its candidate page, and the web page of `genmat app`.

    python docs/screenshot.py discover/report.html docs

writes report.png (light, laptop width), report-dark.png, report-phone.png, candidate.png and candidate-phone.png; with
the address of a running `genmat app` as a third argument also app.png, of a small campaign it runs there.
"""

from __future__ import annotations

import io
import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "report"))

from chromium import Page, browser, find_chromium
from PIL import Image

SHOTS: dict[str, dict[str, Any]] = {
    "report": {"width": 1200, "height": 1560, "theme": "light"},
    "report-dark": {"width": 1200, "height": 1560, "theme": "dark"},
    "report-phone": {"width": 390, "height": 844, "theme": "light", "phone": True},
    "candidate": {"width": 1200, "height": 2060, "theme": "light", "page": True},
    "candidate-phone": {"width": 390, "height": 844, "theme": "dark", "phone": True, "page": True},
}
ASKED = {"wanted": "Ba-Ti-O", "n": 40, "relax": 6}
"""What is typed into the fields of `genmat app`."""


def save(page: Page, path: Path) -> None:
    """Write what the window shows, in 256 colours."""
    Image.open(io.BytesIO(page.png())).convert("RGB").quantize(256).save(path, optimize=True)
    print(path, f"{path.stat().st_size / 1024:.0f} kB")


def shoot(page: Page, report: Path, shot: dict[str, Any]) -> None:
    """Open the report, or the page of its best candidate, and wait until it is drawn."""
    page.theme(shot["theme"])
    page.open(report, shot["width"], shot["height"], shot.get("phone", False))
    page.wait("document.querySelectorAll('#cards .drawing').length")
    if shot.get("page"):
        page.evaluate("document.getElementById('viewer-page').click()")
    if shot.get("page") or not shot.get("phone"):
        page.wait("document.querySelector('#stage canvas')")
    time.sleep(4)  # the viewer has drawn its first picture


def run_app(page: Page, address: str) -> None:
    """Run a small campaign in the web page, to its end."""
    page.open(address, 1200, 1000)
    page.wait("document.querySelector('#go')")
    for id, value in ASKED.items():
        page.evaluate(
            f"(() => {{ const e = document.querySelector('#{id} input, #{id} textarea');"
            f"Object.getOwnPropertyDescriptor(Object.getPrototypeOf(e), 'value').set.call(e, {json.dumps(str(value))});"
            "for (const event of ['input', 'change']) e.dispatchEvent(new Event(event, {bubbles: true})); })()"
        )
    time.sleep(1)
    page.evaluate("document.querySelector('#go').click()")
    page.wait("document.querySelector('#steps').innerText.includes('Done')", 600)
    page.wait("document.querySelector('#outcome iframe').contentDocument.querySelectorAll('#cards .drawing').length")
    time.sleep(4)


def main(report: Path, folder: Path, address: str | None = None) -> None:
    """One PNG per entry of `SHOTS` in `folder`, and one of the web page where its address is given."""
    executable = find_chromium()
    if executable is None:
        sys.exit("no chromium found; set GENMAT_CHROMIUM to its path")
    for name, shot in SHOTS.items():
        with browser(executable) as page:
            shoot(page, report, shot)
            save(page, folder / f"{name}.png")
    if address is not None:
        with browser(executable) as page:
            run_app(page, address)
            save(page, folder / "app.png")


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
