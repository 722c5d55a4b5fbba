"""What `genmat evaluate generation` does: every source becomes columns, every column a campaign, every campaign rows.

All columns go the same way: geometry where the source has none, validity, relaxation, hull. Energies are placed on the
hull anew, so a campaign screened before stands on the same hull as the others.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genmat.campaign import FILENAME, Campaign, Stage
from genmat.candidate import Candidate
from genmat.cli.settings import Screening
from genmat.errors import GenmatError

if TYPE_CHECKING:
    from genmat.data.generation_metrics import Judged

Progress = Callable[[str, int, int], None]
GEOMETRIES = ("random", "template", "model")
_SAMPLED = ("geometry", "spellings")
_STAGES = ("relax", "valid_relaxed", "hull")


@dataclass(frozen=True)
class Column:
    """One column of the table.

    Attributes:
        name: heading, and name of its folder.
        candidates: as sampled; of genes, without geometry.
        folder: of a finished campaign, instead of candidates.
        geometry: one of `GEOMETRIES`, for genes.
    """

    name: str
    candidates: tuple[Candidate, ...] = ()
    folder: Path | None = None
    geometry: str | None = None


@dataclass(frozen=True)
class Geometry:
    """How genes get a geometry: ways, geometries per gene (the lowest energy counts), the model that spells one; and
    among how many spellings of every sample one evaluation chooses (1 = it keeps its own)."""

    ways: tuple[str, ...] = ("random",)
    trials: int = 1
    model: str = "crystal-gpt"
    spellings: int = 1


def columns_of(sources: Sequence[Path], names: Sequence[str], geometry: Geometry, n: int | None) -> list[Column]:
    """The columns of files of structures or genes and of campaign folders, at most `n` samples each.

    Raises:
        GenmatError: unreadable source, more names than sources, two columns of one name, unknown way of geometry.
    """
    from genmat.data.genes import is_gene_file, read_genes, trials_of
    from genmat.data.read import read_candidates

    if len(names) > len(sources):
        raise GenmatError(f"{len(names)} names for {len(sources)} sources; give one --name per source at most")
    if wrong := [way for way in geometry.ways if way not in GEOMETRIES]:
        raise GenmatError(f"geometry {wrong[0]!r}: unknown; give one of {', '.join(GEOMETRIES)}")
    found: list[Column] = []
    for index, source in enumerate(sources):
        name = names[index] if index < len(names) else source.name.split(".")[0]
        if (source / FILENAME).is_file():
            found.append(Column(name, folder=source))
        elif is_gene_file(source):
            genes = trials_of(read_genes(source)[:n], geometry.trials)
            found += [Column(f"{name}-{way}", tuple(genes), geometry=way) for way in geometry.ways]
        else:
            found.append(Column(name, tuple(read_candidates(source))[:n]))
    return found


def check_names(columns: Sequence[Column]) -> None:
    """Raise GenmatError when there is no column, or two have one name."""
    names = [column.name for column in columns]
    if not names:
        raise GenmatError("no candidates: nothing to judge; give a source, --with-test or --with-substituted")
    if twice := [name for name in names if names.count(name) > 1]:
        raise GenmatError(f"{twice[0]}: two columns of this name; tell them apart with --name")


def judged(
    columns: Sequence[Column],
    out: Path,
    data: Path,
    screening: Screening,
    geometry: Geometry,
    *,
    also: Sequence[Path] = (),
    fresh: bool = False,
    progress: Progress | None = None,
) -> tuple[dict[str, list[Judged]], dict[str, Any]]:
    """Screen and judge every column; campaigns live in ``out/<name>`` and continue when interrupted.

    Returns:
        Rows by column, and what to say about potential and hull.

    Raises:
        GenmatError: no hull, unusable campaign, missing tables.
    """
    from genmat.cli.pipelines import screening_stages
    from genmat.data.judge import judge

    stages, hull, info = screening_stages(screening)
    if hull is None:
        raise GenmatError("--reference none: stability needs a hull; give a table of formation energies")
    found = {}
    for column in columns:
        if column.folder is not None:
            sampled, relaxed = _stored(column.folder)
        else:
            choice = _choice_stage(column.geometry, geometry, screening)
            plan = [_geometry_stage(column.geometry, geometry, screening, data), choice, *_screened(stages)]
            settings = {**_settings(column.candidates, screening, info), "geometry": column.geometry}
            if column.geometry or choice:
                settings |= {"trials": geometry.trials, "model": geometry.model, "spellings": geometry.spellings}
            sampled, relaxed = _screen(column, [s for s in plan if s], out / column.name, settings, fresh, progress)
        relaxed = _placed(relaxed, hull)
        sampled, relaxed = _best_trials(sampled, relaxed)
        found[column.name] = judge(sampled, relaxed, data, progress, also)
    return found, {key: info[key] for key in ("potential", "hull_source", "reference", "relaxation")}


def sampled_only(
    columns: Sequence[Column], data: Path, screening: Screening, geometry: Geometry, progress: Progress | None = None
) -> dict[str, list[Judged]]:
    """Rows by column without relaxing anything: what samples tell by themselves.

    Raises:
        GenmatError: missing tables or unusable campaign.
    """
    from genmat.data.judge import judge_sampled

    found = {}
    for column in columns:
        candidates = _stored(column.folder)[0] if column.folder is not None else list(column.candidates)
        stage = _geometry_stage(column.geometry, geometry, screening, data)
        given = candidates if stage is None else list(stage.function(candidates))
        found[column.name] = judge_sampled(given, data, progress)
    return found


def _screened(stages: Sequence[Stage]) -> list[Stage]:
    """Validity, relaxation and hull; other stages of a screening (second opinions, doubts) are not needed here."""
    from genmat.crystal.validity import valid_stage

    return [Stage("valid", valid_stage), *(stage for stage in stages if stage.name in _STAGES)]


def _geometry_stage(way: str | None, geometry: Geometry, screening: Screening, data: Path) -> Stage | None:
    if way == "random":
        from genmat.data.genes import random_stage

        return Stage("geometry", partial(random_stage, seed=screening.seed, workers=screening.workers))
    if way == "template":
        from genmat.data.template_start import SiteTemplates, template_stage

        return Stage("geometry", partial(template_stage, templates=SiteTemplates(data)))
    if way == "model":
        from genmat.generation.geometry import spell_stage

        return Stage("geometry", partial(spell_stage, model=geometry.model, seed=screening.seed))
    return None


def _choice_stage(way: str | None, geometry: Geometry, screening: Screening) -> Stage | None:
    """Further geometries by the model, among which one evaluation chooses; random ones stay as they are."""
    if geometry.spellings < 2 or way == "random":
        return None
    from genmat.generation.geometry import spellings
    from genmat.generation.sampler import load_model
    from genmat.screening.geometries import lowest_stage
    from genmat.screening.potentials import load

    model, seed, more = load_model(geometry.model), screening.seed, geometry.spellings - 1
    potential = load(screening.potential, python=screening.python)
    return Stage(
        "spellings",
        partial(lowest_stage, respell=lambda c: spellings(c, more, model, seed=seed, first=1), potential=potential),
    )


def _screen(
    column: Column,
    plan: Sequence[Stage],
    folder: Path,
    settings: dict[str, Any],
    fresh: bool,
    progress: Progress | None,
) -> tuple[list[Candidate], list[Candidate]]:
    """Run a column's campaign: candidates as sampled (with their geometry) and as relaxed."""
    from genmat.screening.funnel import run_funnel

    def named(stage: str, done: int, total: int) -> None:
        if progress is not None:
            progress(f"{column.name}: {stage}", done, total)

    with Campaign.open(folder, command="generation", settings=settings, fresh=fresh) as campaign:
        candidates = campaign.source(lambda: column.candidates)
        relaxed, funnel = run_funnel(campaign, candidates, plan, named)
        campaign.note(funnel=funnel)
        return campaign.candidates(_SAMPLED), relaxed


def _stored(folder: Path) -> tuple[list[Candidate], list[Candidate]]:
    """Candidates of a finished campaign as sampled and as relaxed.

    Raises:
        GenmatError: a campaign that chose among its candidates, or has not finished.
    """
    with Campaign.read(folder) as campaign:
        meta = campaign.meta
        if meta.get("command") not in ("screen", "generation"):
            raise GenmatError(f"{folder}: a campaign of `{meta.get('command')}`; give one of `genmat screen`")
        if "funnel" not in meta:
            raise GenmatError(f"{folder}: has not finished; run its command again first")
        return campaign.candidates(_SAMPLED), campaign.candidates([*_SAMPLED, "valid", *_STAGES])


def _placed(candidates: Sequence[Candidate], hull: Any) -> list[Candidate]:
    """Relaxed candidates on the hull of this run, whatever hull they were placed on before."""
    from genmat.campaign import isolated
    from genmat.screening.hull import hull_stage

    ready = [c for c in candidates if c.alive and "energy_per_atom" in c.results]
    placed = {c.id: c for c in isolated(Stage("hull", partial(hull_stage, hull=hull)), ready)}
    missing = "relax: no energy"
    return [placed.get(c.id) or (c if not c.alive else c.replace(failure=missing)) for c in candidates]


def _best_trials(sampled: Sequence[Candidate], relaxed: Sequence[Candidate]) -> tuple[list[Candidate], list[Candidate]]:
    """Of several geometries of one gene the one of lowest energy, or the first when all failed; others vanish."""
    best: dict[str, Candidate] = {}
    for candidate in relaxed:
        key = candidate.provenance.get("gene", candidate.id)
        if key not in best or _energy(candidate) < _energy(best[key]):
            best[key] = candidate
    kept = {candidate.id for candidate in best.values()}
    return [c for c in sampled if c.id in kept], [c for c in relaxed if c.id in kept]


def _energy(candidate: Candidate) -> float:
    return candidate.results["energy_per_atom"] if candidate.alive else float("inf")


def _settings(candidates: Sequence[Candidate], screening: Screening, info: dict[str, Any]) -> dict[str, Any]:
    """What decides a campaign: a fingerprint of the samples and how they are screened."""
    digest = hashlib.sha256()
    for candidate in candidates:
        digest.update(json.dumps(candidate.to_dict(), sort_keys=True, default=str).encode())
    samples = f"{len(candidates)} samples, sha256 {digest.hexdigest()[:12]}"
    return {"input": samples, **screening.settings(), "potential_version": info["potential"]}


def agreement_rows(
    sources: Sequence[Path],
    column: str | None,
    n: int,
    out: Path,
    screening: Screening,
    *,
    fresh: bool = False,
    progress: Progress | None = None,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Our energy above hull beside the one files carry, for a seeded draw of `n` of their structures.

    Returns:
        Rows ``id, formula, spacegroup, theirs, ours, converged, failure`` (eV/atom), and what to say about potential
        and hull.

    Raises:
        GenmatError: no structure with an energy above hull, no hull.
    """
    import numpy as np

    from genmat.cli.pipelines import screening_stages
    from genmat.data.read import read_candidates

    stages, hull, info = screening_stages(screening)
    if hull is None:
        raise GenmatError("--reference none: nothing to compare without a hull; give a table of formation energies")
    every = [
        candidate.replace(id=f"{source.name.split('.')[0]}-{candidate.id}")
        for source in sources
        for candidate in read_candidates(source, column=column)
    ]
    labelled = [c for c in every if c.alive and "e_above_hull" in c.provenance.get("columns", {})]
    if not labelled:
        raise GenmatError(f"{sources[0]}: no structure with a column e_above_hull; name the structures with --column")
    chosen = [labelled[i] for i in np.random.default_rng(screening.seed).permutation(len(labelled))[:n]]
    settings = _settings(chosen, screening, info)
    _, relaxed = _screen(Column("agreement", tuple(chosen)), _screened(stages), out, settings, fresh, progress)
    rows = [
        {
            "id": c.id,
            "formula": c.formula,
            "spacegroup": c.protostructure.spacegroup if c.protostructure is not None else None,
            "theirs": c.provenance["columns"]["e_above_hull"],
            "ours": c.results.get("e_above_hull") if c.alive else None,
            "converged": c.results.get("converged"),
            "failure": c.failure,
        }
        for c in relaxed
    ]
    return rows, {key: info[key] for key in ("potential", "hull_source", "reference", "relaxation")}


def write_rows(rows: dict[str, list[Judged]], path: Path) -> Path:
    """Every sample of every column as CSV: the column's name, then the fields of `Judged`; empty = not known.

    Raises:
        GenmatError: the file cannot be written.
    """
    from genmat.data.generation_metrics import Judged

    names = ["source", *(field.name for field in fields(Judged))]
    return write_table(names, [{"source": name, **asdict(row)} for name, found in rows.items() for row in found], path)


def write_table(names: Sequence[str], rows: Sequence[dict[str, Any]], path: Path) -> Path:
    """Rows as CSV, None as nothing. Raises GenmatError when the file cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding="utf-8") as handle:
            writer = csv.DictWriter(handle, names, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    except OSError as error:
        raise GenmatError(f"{path}: cannot write it ({error.strerror}); choose another --out") from None
    return path
