"""`genmat evaluate prediction`: is the right crystal among the first proposals for a composition?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genmat.cli import options as opt

if TYPE_CHECKING:
    from genmat.candidate import Candidate
    from genmat.data.prediction import Target, Trial

Progress = Callable[[str, int, int], None]
FMAX = 0.1
"""eV/Å; the matcher is blind to what a rattle or the rest of the way would change."""


@dataclass(frozen=True)
class Plan:
    """How proposals are made and relaxed.

    Attributes:
        n: compositions.
        proposals: per composition.
        samples: drawn of the model for each, among which its proposals are.
        steps: most steps of a relaxation, inside the symmetry of the proposal.
    """

    n: int
    proposals: int
    samples: int
    model: str
    potential: str
    workers: int
    steps: int
    seed: int


def prediction(
    data: Annotated[Path, typer.Option(help="Folder with structures_le20.parquet.")],
    out: Annotated[Path, typer.Option(help="Folder for prediction.csv and one campaign per way.")],
    n: Annotated[int, typer.Option("--n", "-n", min=1, help="Compositions of the test split.")] = 500,
    proposals: Annotated[int, typer.Option(min=1, help="Crystals proposed for each.")] = 20,
    samples: Annotated[int, typer.Option(min=1, help="Samples of the model for each composition.")] = 100,
    model: opt.Model = "crystal-gpt",
    potential: opt.Potential = "chgnet",
    workers: opt.Workers = None,
    max_steps: opt.MaxSteps = 30,
    seed: opt.Seed = 0,
    fresh: opt.Fresh = False,
    json: opt.Json = False,
) -> None:
    """Propose crystals for compositions of the test split, relax them, and look for the right one. It resumes."""
    from genmat.cli.console import emit, progress
    from genmat.cli.generation_runs import write_table
    from genmat.cli.settings import processes
    from genmat.cli.summary import typed
    from genmat.data.population import check_tables
    from genmat.data.prediction import right_among, targets, together

    check_tables(data)
    plan = Plan(n, proposals, samples, model, potential, processes(workers, None), max_steps, seed)
    with progress() as shown:
        wanted = targets(data, n, seed)
        found = {
            "model": tried(wanted, lambda: by_model(wanted, plan, shown), out / "model", plan, fresh, shown),
            "substitution": tried(
                wanted, lambda: by_templates(wanted, data, plan, shown), out / "substitution", plan, fresh, shown
            ),
        }
    found["both"] = {
        t.id: {
            when: together(*(found[way][t.id][when] for way in ("model", "substitution")), proposals) for when in WHEN
        }
        for t in wanted
    }
    rows = [
        {"id": t.id, "formula": t.formula, "free_coordinates": t.dof}
        | {
            f"{way}_{when}_{k}": right_among(found[way][t.id][when], k)
            for way in found
            for when in WHEN
            for k in (1, proposals)
        }
        for t in wanted
    ]
    path = write_table(list(rows[0]), rows, out / "prediction.csv")
    figures = {way: summary(wanted, found[way], proposals) for way in found}
    if json:
        emit({"command": typed(), "n": len(wanted), "proposals": proposals, "prediction": figures, "file": path})
    else:
        show(figures, proposals)
        print(f"table: {path}")


WHEN = ("as_proposed", "relaxed")


def by_model(wanted: Sequence[Target], plan: Plan, progress: Progress | None) -> list[Candidate]:
    """Proposals of the language model, told the composition."""
    from genmat.data.prediction import ranked_proposals
    from genmat.generation.sampler import generate, load_model

    loaded = load_model(plan.model)
    made = []
    for done, target in enumerate(wanted, start=1):
        drawn = list(generate(plan.samples, model=loaded, formula=target.formula, e_above_hull=0.0, seed=plan.seed))
        made += ranked_proposals(target, drawn, plan.proposals)
        if progress is not None:
            progress("propose", done, len(wanted))
    return made


def by_templates(wanted: Sequence[Target], data: Path, plan: Plan, progress: Progress | None) -> list[Candidate]:
    """Known crystals of the training split, decorated with the composition."""
    from genmat.data.prediction import Templates

    templates, made = Templates(data), []
    for done, target in enumerate(wanted, start=1):
        made += templates.proposals(target, plan.proposals)
        if progress is not None:
            progress("substitute", done, len(wanted))
    return made


def tried(
    wanted: Sequence[Target],
    propose: Callable[[], list[Candidate]],
    folder: Path,
    plan: Plan,
    fresh: bool,
    progress: Progress | None,
) -> dict[str, dict[str, list[Trial]]]:
    """For every target its proposals, as proposed and relaxed, held against the crystal."""
    from genmat.campaign import Campaign, Stage
    from genmat.crystal.validity import valid_stage
    from genmat.data.prediction import trials
    from genmat.screening.funnel import run_funnel
    from genmat.screening.potentials import load
    from genmat.screening.relax import relax

    potential = load(plan.potential)
    options = {"fmax": FMAX, "max_steps": plan.steps, "rattle": 0.0, "workers": plan.workers, "seed": plan.seed}
    work = partial(relax, potential=potential, **options)
    idle = {"workers"} if folder.name == "model" else {"workers", "model", "samples"}
    settings = {
        "targets": [t.id for t in wanted],
        "fmax": FMAX,
        **{k: v for k, v in vars(plan).items() if k not in idle},
    }

    def named(stage: str, done: int, total: int) -> None:
        if progress is not None:
            progress(f"{folder.name}: {stage}", done, total)

    with Campaign.open(folder, command="prediction", settings=settings, fresh=fresh) as campaign:
        proposed = campaign.source(propose)
        relaxed, funnel = run_funnel(campaign, proposed, [Stage("valid", valid_stage), Stage("relax", work)], named)
        campaign.note(funnel=funnel)
    found = dict(zip(WHEN, (_by_target(proposed), _by_target([c for c in relaxed if c.alive])), strict=True))
    out = {}
    for done, target in enumerate(wanted, start=1):
        out[target.id] = {when: trials(target, found[when][target.id]) for when in WHEN}
        named("compare", done, len(wanted))
    return out


def _by_target(candidates: Sequence[Candidate]) -> dict[str, list[Candidate]]:
    found: dict[str, list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        found[candidate.provenance["target"]].append(candidate)
    return found


def summary(
    wanted: Sequence[Target], found: dict[str, dict[str, list[Trial]]], proposals: int
) -> dict[str, dict[str, Any]]:
    """Success among 1 and all proposals, as proposed and relaxed, and by freedom."""
    from genmat.data.prediction import by_freedom, success

    out: dict[str, dict[str, Any]] = {}
    for when in WHEN:
        pairs = [(target, found[target.id][when]) for target in wanted]
        out[when] = {f"among {most}": success([t for _, t in pairs], most) for most in sorted({1, proposals})}
        out[when]["by free coordinates"] = by_freedom(pairs, proposals)
    return out


def show(figures: dict[str, dict[str, Any]], proposals: int) -> None:
    """One line per way and time."""
    for way, found in figures.items():
        for when, shares in found.items():
            told = [
                f"{most} {s['percent']:.1f} [{s['low']:.1f}, {s['high']:.1f}] %"
                for most, s in shares.items()
                if "n" in s
            ]
            print(f"{way}, {when.replace('_', ' ')}: {'  '.join(told)}")
            parts = [f"{name}: {s['percent']:.1f} % of {s['n']}" for name, s in shares["by free coordinates"].items()]
            print(f"  among {proposals}, by free coordinates: {'  '.join(parts)}")
