"""The web page of `genmat app` (Gradio): what is wanted on the left, the funnel and the report on the right.

Nothing is asked of the network: no analytics, no fonts from elsewhere. Reports are served as they are, below
``/campaign/<key>/``, and shown in a frame.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported

import gradio as gr

from genmat.cli.app_runs import FILES, Campaigns, discover_arguments, screen_arguments
from genmat.errors import GenmatError
from genmat.report.html import STAGES

POTENTIALS = ["chgnet", "emt", "lj"]
"""Those whose parameters come with genmat; only the first has a hull."""

FONT = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif"]
MONO = ["ui-monospace", "SF Mono", "Menlo", "Consolas", "DejaVu Sans Mono", "monospace"]
COLOURS = {
    "body_background_fill": ("#f6f5f1", "#12171a"), "block_background_fill": ("#ffffff", "#1a2125"),
    "body_text_color": ("#1c2328", "#e8e7e2"), "body_text_color_subdued": ("#586269", "#a5b0b6"),
    "block_info_text_color": ("#586269", "#a5b0b6"), "block_label_text_color": ("#586269", "#a5b0b6"),
    "block_title_text_color": ("#1c2328", "#e8e7e2"), "border_color_primary": ("#e0ddd4", "#2d373c"),
    "block_border_color": ("#e0ddd4", "#2d373c"), "input_background_fill": ("#ffffff", "#151b1f"),
    "input_border_color": ("#8a9299", "#8c989e"), "input_placeholder_color": ("#6a7278", "#97a1a7"),
    "button_primary_background_fill": ("#0b6a68", "#66cbbf"), "button_primary_text_color": ("#ffffff", "#0c1a1a"),
    "button_primary_background_fill_hover": ("#095654", "#8adad0"), "slider_color": ("#0b6a68", "#66cbbf"),
    "button_secondary_background_fill": ("#ffffff", "#1a2125"), "button_secondary_text_color": ("#1c2328", "#e8e7e2"),
    "button_primary_border_color": ("#0b6a68", "#66cbbf"),
    "button_secondary_border_color": ("#8a9299", "#8c989e"),
    "link_text_color": ("#0b6a68", "#66cbbf"),
}  # fmt: skip
"""The report's colours, light and dark, by Gradio's names."""


def page(campaigns: Campaigns, most: int, at_once: int) -> Any:
    """The page as Gradio Blocks; see `serve`."""
    with gr.Blocks(title="genmat", analytics_enabled=False) as blocks:
        gr.Markdown("# genmat\nNew inorganic crystals: generated, relaxed, placed on a convex hull, ranked.")
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                with gr.Tabs():
                    with gr.Tab("Generate"):
                        wanted = gr.Textbox(
                            label="Elements or formula", placeholder="Li-P-S or BaTiO3", elem_id="wanted",
                            info="Li-P-S is a chemical system, BaTiO3 a formula; empty lets the model choose.",
                        )  # fmt: skip
                        n = gr.Number(200, label="Candidates", precision=0, minimum=1, maximum=most, elem_id="n")
                        relax = gr.Number(20, label="Relax the best", precision=0, minimum=1, elem_id="relax")
                        go = gr.Button("Generate and screen", variant="primary", elem_id="go")
                    with gr.Tab("Screen my structures"):
                        files = gr.File(
                            label="CIF, POSCAR, extxyz, CSV or JSONL", file_count="multiple", elem_id="files"
                        )
                        go_files = gr.Button("Screen", variant="primary", elem_id="go-files")
                with gr.Accordion("How", open=False):
                    seed = gr.Number(0, label="Seed", precision=0, minimum=0, elem_id="seed")
                    potential = gr.Dropdown(
                        POTENTIALS, value="chgnet", label="Potential", elem_id="potential",
                        info="emt and lj are toys for trying out; only chgnet has a hull.",
                    )  # fmt: skip
                    steps = gr.Number(
                        200, label="Most steps of a relaxation", precision=0, minimum=1, elem_id="max-steps"
                    )
                stop = gr.Button("Stop", interactive=False, elem_id="stop")
            with gr.Column(scale=5, min_width=340):
                shown = gr.HTML(told("Nothing has been asked for yet.", {}), elem_id="steps", label="Progress")
                outcome = gr.HTML("", elem_id="outcome", label="Report")
        parts = {
            "chemistry": [wanted, n, relax], "files": files, "how": [seed, potential, steps],
            "buttons": [go, go_files, stop], "shown": [shown, outcome],
        }  # fmt: skip
        _wire(blocks, parts, campaigns, most, at_once)
    return blocks.queue()


def _wire(blocks: Any, parts: dict[str, Any], campaigns: Campaigns, most: int, at_once: int) -> None:
    """What happens when a button is pressed, or the visitor leaves; campaigns of all visitors stand in one line."""

    def busy(request: gr.Request) -> tuple[Any, ...]:
        campaigns.begin(str(request.session_hash))
        off = gr.update(interactive=False)
        return off, off, gr.update(interactive=True), told("Waiting for its turn.", {}), ""

    def idle() -> tuple[Any, ...]:
        on = gr.update(interactive=True)
        return on, on, gr.update(interactive=False)

    def generate(wanted: str, n: float, relax: float, seed: float, potential: str, steps: float,
                 request: gr.Request) -> Iterator[tuple[str, str]]:  # fmt: skip
        def arguments(folder: Path) -> list[str]:
            numbers = {"n": _whole(n), "relax": _whole(relax), "seed": _whole(seed), "max_steps": _whole(steps)}
            return discover_arguments(wanted or "", **numbers, potential=potential, most=most)

        yield from follow(campaigns, str(request.session_hash), arguments)

    def screen(files: list[str] | None, seed: float, potential: str, steps: float,
               request: gr.Request) -> Iterator[tuple[str, str]]:  # fmt: skip
        def arguments(folder: Path) -> list[str]:
            if not files:
                raise GenmatError("structures: none given; choose some files")
            return screen_arguments(files, folder, _whole(seed), potential, _whole(steps))

        yield from follow(campaigns, str(request.session_hash), arguments)

    def leave(request: gr.Request) -> None:
        campaigns.stop(str(request.session_hash))

    go, go_files, stop = parts["buttons"]
    line = {"concurrency_limit": at_once, "concurrency_id": "campaigns", "show_progress": "hidden"}
    quick: dict[str, Any] = {"queue": False, "api_visibility": "private"}
    for button, work, inputs in ((go, generate, parts["chemistry"]), (go_files, screen, [parts["files"]])):
        started = button.click(busy, None, [*parts["buttons"], *parts["shown"]], **quick)
        done = started.then(work, [*inputs, *parts["how"]], parts["shown"], api_visibility="private", **line)
        done.then(idle, None, parts["buttons"], **quick)
    stop.click(leave, None, None, **quick)
    blocks.unload(leave)


def follow(campaigns: Campaigns, visitor: str, arguments: Any) -> Iterator[tuple[str, str]]:
    """Run a campaign for a visitor; yields the progress and, at the end, the report, both as HTML."""
    counts: dict[str, tuple[int, int]] = {}
    try:
        folder = campaigns.new()
        asked = arguments(folder)
        yield told("Starting.", counts), ""
        for event in campaigns.run(visitor, folder, asked):
            if "stage" in event:
                counts[event["stage"]] = (event["done"], event["total"])
                yield told("Running.", counts), ""
            elif "error" in event:
                yield told(event["error"] or "the campaign ended without a word; run it again", counts, True), ""
            elif "stopped" in event:
                yield told("Stopped.", counts), ""
            else:
                yield finished(event["summary"]), framed(folder.name)
    except GenmatError as error:
        yield told(str(error), counts, True), ""


def _whole(value: float | None) -> int:
    """What a number field holds, which may be nothing."""
    if value is None:
        raise GenmatError("a number is missing; fill in every field")
    return int(value)


def told(say: str, counts: dict[str, tuple[int, int]], error: bool = False) -> str:
    """One line, and below it the stages of the funnel as far as they got: ``stage -> (done, all)``."""
    kind = ' class="say error"' if error else ' class="say"'
    lines = [f'<p{kind} role="status">{"Error: " if error else ""}{escape(say)}</p>']
    for stage, (done, total) in counts.items():
        name = escape(STAGES.get(stage, (stage.replace("_", " ").capitalize(), ""))[0])
        lines.append(
            f'<li><span>{name}</span><progress max="{max(total, 1)}" value="{done if total else 1}" '
            f'aria-label="{name}"></progress><span class="count">{done:,} of {total:,}</span></li>'
        )
    return f"{lines[0]}<ol>{''.join(lines[1:])}</ol>" if counts else lines[0]


def finished(summary: dict[str, Any]) -> str:
    """The end of a campaign in one line, and how many candidates passed each stage."""
    counts, hull = summary["counts"], summary["run"].get("hull_source") != "none"
    near = f"{counts['near_hull']:,} within 50 meV/atom of the hull, {counts['near_hull_novel_unique']:,} of them new"
    line = f"Done: {counts['relaxed']:,} relaxed, {near if hull else 'no hull for this potential'}."
    said, steps = told(line, {row["stage"]: (row["passed"], row["entered"]) for row in summary["funnel"]}).split("<ol>")
    return f"{said}<details><summary>What passed each stage</summary><ol>{steps}</details>"


def framed(key: str) -> str:
    """Links to the files of a campaign, and its report in a frame."""
    names = {"report.html": "Report", "results.csv": "Table (CSV)", "structures.zip": "Structures (ZIP)"}
    links = "".join(f'<a href="campaign/{key}/{name}" download="{name}">{names[name]}</a>' for name in FILES)
    alone = f'<a href="campaign/{key}/report.html" target="_blank" rel="noopener">Open in a window of its own</a>'
    frame = f'<iframe src="campaign/{key}/report.html" title="Report of the campaign"></iframe>'
    return f'<p class="get"><b>Save:</b> {links} {alone}</p>{frame}'


def theme() -> Any:
    """The colours and fonts of the report; no font is fetched."""
    pairs = {name: light for name, (light, _) in COLOURS.items()}
    pairs |= {f"{name}_dark": dark for name, (_, dark) in COLOURS.items()}
    return gr.themes.Base(font=FONT, font_mono=MONO, radius_size="lg").set(input_border_width="1px", **pairs)


def api(campaigns: Campaigns, most: int = 2000, at_once: int = 1) -> Any:
    """The page and the files of campaigns as one ASGI application."""
    from fastapi import FastAPI, HTTPException
    from fastapi.responses import FileResponse

    site = FastAPI(openapi_url=None)

    @site.get("/campaign/{key}/{name}")
    def fetch(key: str, name: str) -> FileResponse:
        path = campaigns.file(key, name)
        if path is None:
            raise HTTPException(404)
        return FileResponse(path, headers={"X-Content-Type-Options": "nosniff"})

    return gr.mount_gradio_app(
        site,
        page(campaigns, most, at_once),
        path="",
        theme=theme(),
        css_paths=Path(__file__).with_name("app.css"),
        footer_links=[],
        ssr_mode=False,
        run_history=False,
    )


def serve(out: str | Path, host: str = "127.0.0.1", port: int = 7860, most: int = 2000, at_once: int = 1) -> None:
    """Serve the page until interrupted.

    Args:
        out: folder for the campaigns.
        host, port: where to listen.
        most: candidates one campaign may ask for.
        at_once: campaigns that run at the same time.

    Raises:
        GenmatError: the address is taken, or `out` cannot be written.
    """
    import socket

    import uvicorn

    campaigns = Campaigns(Path(out).resolve())
    campaigns.new().rmdir()  # better now than when somebody waits
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        raise GenmatError(f"{host}:{port}: cannot listen there ({error.strerror}); choose another --port") from None
    uvicorn.run(api(campaigns, most, at_once), host=host, port=port, log_level="warning")
