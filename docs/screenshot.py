"""Take the screenshots of a report that the documentation shows.

    python docs/screenshot.py discover/report.html docs/report.png

writes docs/report.png (light, laptop width), docs/report-dark.png and docs/report-phone.png.
"""

from __future__ import annotations

import io
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "report"))

from chromium import browser, find_chromium
from PIL import Image

SHOTS = {
    "": {"width": 1200, "height": 1560, "theme": "light"},
    "-dark": {"width": 1200, "height": 1560, "theme": "dark"},
    "-phone": {"width": 390, "height": 844, "theme": "light", "phone": True},
}


def main(report: Path, out: Path) -> None:
    """One PNG per entry of `SHOTS`, next to `out`."""
    executable = find_chromium()
    if executable is None:
        sys.exit("no chromium found; set GENMAT_CHROMIUM to its path")
    for ending, shot in SHOTS.items():
        with browser(executable) as page:
            page.theme(shot["theme"])
            page.open(report, shot["width"], shot["height"], shot.get("phone", False))
            if not shot.get("phone"):
                page.wait("document.querySelector('#stage canvas')")
            time.sleep(3)  # the viewer has drawn its first picture
            path = out.with_name(f"{out.stem}{ending}.png")
            Image.open(io.BytesIO(page.png())).convert("RGB").quantize(256).save(path, optimize=True)
            print(path, f"{path.stat().st_size / 1024:.0f} kB")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
