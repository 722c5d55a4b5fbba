"""How the report behaves at 10,000 candidates: weight of the file, and what a reader waits for in headless Chromium.

    python benchmarks/report.py discover

takes the candidates of a campaign, repeats them under new ids up to `--n`, writes the report and opens it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "report"))

from chromium import browser, find_chromium

from genmat.cli.pipelines import stored_outcome
from genmat.report import write_report

ACTS = {
    "sort by formula": "document.querySelector('#head-formula button').click()",
    "sort by energy": "document.querySelector('#head-e_above_hull button').click()",
    "show the failures": "(k => { k.value = 'failed'; k.onchange({ target: k }); })(document.getElementById('kind'))",
    "show everything": "(k => { k.value = 'all'; k.onchange({ target: k }); })(document.getElementById('kind'))",
    "turn the page": "document.getElementById('page-on').click()",
}
"""Acts that are done when they return: script, layout included."""
PAGE = """(async () => {
  const start = performance.now();
  document.querySelectorAll('#table-body .name')[20].click();
  while (!document.querySelector('#plot-powder .main-svg')) {
    document.getElementById('plot-powder').scrollIntoView();
    await new Promise((done) => setTimeout(done, 5));
  }
  return performance.now() - start;
})()"""


def main() -> None:
    """Print one line per figure; times in ms unless said otherwise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("campaign", type=Path)
    parser.add_argument("--n", type=int, default=10_000)
    asked = parser.parse_args()
    outcome = stored_outcome(asked.campaign)
    rounds = -(-asked.n // len(outcome.candidates))
    many = [c.replace(id=f"{c.id}-{k}") for k in range(rounds) for c in outcome.candidates][: asked.n]
    with tempfile.TemporaryDirectory() as folder:
        start = time.process_time()
        path = write_report(many, Path(folder), funnel=outcome.funnel, run=outcome.run, **outcome.figures)
        print(f"{len(many):,} candidates: {path.stat().st_size / 1e6:.1f} MB, written in", end=" ")
        print(f"{time.process_time() - start:.1f} CPU-s")
        measure(path)


def measure(path: Path) -> None:
    """Open the report and use it."""
    executable = find_chromium()
    if executable is None:
        sys.exit("no chromium found; set GENMAT_CHROMIUM to its path")
    with browser(executable) as page:
        page.open(path)
        page.wait("document.querySelectorAll('#table-body tr').length")
        entry = "performance.getEntriesByType('navigation')[0].loadEventEnd"
        page.call("Performance.enable")
        metrics = {item["name"]: item["value"] for item in page.call("Performance.getMetrics")["metrics"]}
        print(f"open: {page.evaluate(entry):.0f} ms, CPU of the tab {metrics['ProcessTime']:.1f} s")
        for name, script in ACTS.items():
            timed = f"(() => {{ const t = performance.now(); {script}; document.body.offsetHeight;"
            print(f"{name}: {page.evaluate(timed + 'return performance.now() - t; })()'):.0f} ms")
        print(f"page of a candidate, powder pattern drawn: {page.evaluate(PAGE):.0f} ms")
        metrics = {item["name"]: item["value"] for item in page.call("Performance.getMetrics")["metrics"]}
        print(f"memory of the page's scripts: {metrics['JSHeapUsedSize'] / 1e6:.0f} MB;", end=" ")
        print(f"CPU of the tab for all of this: {metrics['ProcessTime']:.1f} s")


if __name__ == "__main__":
    main()
