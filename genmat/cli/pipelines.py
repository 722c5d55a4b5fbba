"""The two campaigns, assembled from the rooms: screening what is given, and discovering from nothing.

The command line and the Python verbs (`genmat.cli.api`) both run these.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from genmat import __version__
from genmat.campaign import Campaign, Stage
from genmat.candidate import Candidate
from genmat.cli.knowledge import knowledge_plan
from genmat.cli.settings import MODEL, Prompt, Screening, check_prompt
from genmat.errors import GenmatError

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Outcome:
    """A finished campaign.

    Attributes:
        candidates: all, in campaign order.
        funnel: one row per stage (`genmat.screening.funnel.run_funnel`).
        run: what was run, for the report.
        figures: what else the report draws: ``hulls`` and ``training_spacegroups`` (`genmat.report.write_report`).
    """

    candidates: list[Candidate]
    funnel: list[dict[str, Any]]
    run: dict[str, Any]
    figures: dict[str, Any]

    def counts(self) -> dict[str, int]:
        """How many candidates there are, were relaxed, are near the hull, new besides, and then likely ordered."""
        from genmat.data.disorder import is_ordered
        from genmat.screening.select import NEAR_HULL

        alive = [candidate for candidate in self.candidates if candidate.alive]
        near = [c for c in alive if c.results.get("e_above_hull", 9.0) <= NEAR_HULL and not c.results.get("doubt")]
        new = [c for c in near if c.results.get("novel") and c.results.get("unique") is not False]
        ordered = [c for c in new if is_ordered(c.results)]
        relaxed = [candidate for candidate in self.candidates if "energy_per_atom" in candidate.results]
        return {
            "candidates": len(self.candidates),
            "relaxed": len(relaxed),
            "ranked": len(alive),
            "near_hull": len(near),
            "near_hull_novel_unique": len(new),
            "near_hull_novel_unique_ordered": len(ordered),
        }


def generate_candidates(prompt: Prompt, progress: Progress | None = None) -> Iterator[Candidate]:
    """Candidates of the model for a prompt, as they are made.

    Raises:
        GenmatError: a prompt that `check_prompt` refuses or no crystal fulfils, or an unknown model.
    """
    from genmat.generation.sampler import generate

    made = generate(**asdict(check_prompt(prompt)))

    def counted() -> Iterator[Candidate]:
        for done, candidate in enumerate(made, start=1):
            yield candidate
            if progress is not None:
                progress("generate", done, prompt.n)

    return counted()


def run_screen(
    source: Path | Sequence[Candidate],
    out: Path,
    screening: Screening,
    *,
    fresh: bool = False,
    command: str = "",
    progress: Progress | None = None,
) -> Outcome:
    """Read, check, relax, place on the hull, deduplicate, compare with known phases and rank.

    Args:
        source: a file or folder of structures, or candidates.
        out: folder of the campaign; the same call continues one that was interrupted.
        screening: how.
        fresh: drop an earlier campaign there.
        command: as typed, for the report.
        progress: called with (stage, done, all).

    Raises:
        GenmatError: nothing readable in `source`, unknown potential, unreadable reference, unwritable `out`, or a
            campaign there with other settings or of another version.
    """
    stages, hull, info = screening_stages(screening)
    candidates = read_source(source)
    settings = {"input": _digest(candidates), **screening.settings(), "potential_version": info["potential"]}
    disorder, known, papers, told = knowledge_plan(screening, out)
    card = _run_card(command or "genmat screen", screening.seed, {**info, **told})
    plan = [_valid(), disorder, *stages, *_matching(screening), *known, _rank(), *papers, *_vibrations(screening)]
    with Campaign.open(out, command="screen", settings=settings, fresh=fresh) as campaign:
        return _run(campaign, lambda: candidates, "read", plan, card, hull, MODEL, progress)


def run_discover(
    prompt: Prompt,
    relax: int,
    out: Path,
    screening: Screening,
    *,
    fresh: bool = False,
    command: str = "",
    progress: Progress | None = None,
) -> Outcome:
    """Generate, keep what is possible, unique and new, choose `relax` of them, then screen those.

    Raises:
        GenmatError: as `generate_candidates` and `run_screen`.
    """
    from genmat.generation.sampler import find_model
    from genmat.screening.prescreen import prescreen_stage
    from genmat.screening.select import select_stage

    prompt = check_prompt(prompt)
    stages, hull, info = screening_stages(screening)
    settings = {**asdict(prompt), "relax": relax, **screening.settings(), "potential_version": info["potential"]}
    prescreen = Stage("prescreen", partial(prescreen_stage, model=Path(find_model("cgat"))), "whole")
    select = Stage("select", partial(select_stage, n=relax), "whole")
    disorder, known, papers, told = knowledge_plan(screening, out)
    plan = [_valid(), disorder, *_matching(screening), prescreen, select, *stages, *_matching(screening, "_relaxed")]
    plan += [*known, _rank(), *papers, *_vibrations(screening)]
    choice = f"likelihood under {prompt.model} and energy above hull predicted by cgat, weighed alike"
    card = _run_card(
        command or "genmat discover", prompt.seed, {"model": prompt.model, "choice": choice, **info, **told}
    )
    with Campaign.open(out, command="discover", settings=settings, fresh=fresh) as campaign:
        source = partial(generate_candidates, prompt, progress)
        return _run(campaign, source, "generate", plan, card, hull, prompt.model, progress)


def stored_outcome(folder: Path) -> Outcome:
    """The outcome of a campaign as far as it got, from its file alone.

    Raises:
        GenmatError: no campaign in `folder`, or one of another version or in use.
    """
    with Campaign.read(folder) as campaign:
        meta = campaign.meta
        return Outcome(
            campaign.candidates(),
            meta.get("funnel") or campaign.tally(),
            meta.get("card") or {},
            meta.get("figures") or {},
        )


def _run(
    campaign: Campaign,
    source: Callable[[], Iterable[Candidate]],
    name: str,
    plan: Sequence[Stage],
    card: dict[str, Any],
    hull: Any,
    model: str,
    progress: Progress | None,
) -> Outcome:
    """Run the plan and leave card, funnel and figures in the campaign, for `stored_outcome`."""
    from genmat.report import hulls_of
    from genmat.screening.funnel import run_funnel

    campaign.note(card=card)
    candidates, funnel = run_funnel(campaign, campaign.source(source), plan, progress)
    funnel = [{**row, "stage": name if row["stage"] == "source" else row["stage"]} for row in funnel]
    figures = {
        "hulls": hulls_of(candidates, hull) if hull is not None else {},
        "training_spacegroups": training_spacegroups(model),
    }
    campaign.note(funnel=funnel, figures=figures)
    return Outcome(candidates, funnel, card, figures)


def training_spacegroups(model: str) -> dict[str, int]:
    """Crystals per space group in the training set of a model, empty when it does not say."""
    from genmat.generation.sampler import find_model

    try:
        path = Path(find_model(model)) / "training_stats.json"
        return json.loads(path.read_text())["spacegroups"]
    except (GenmatError, OSError, KeyError, ValueError):
        return {}


def read_source(source: Path | Sequence[Candidate]) -> list[Candidate]:
    """All candidates of a file or folder.

    Raises:
        GenmatError: nothing could be read.
    """
    from genmat.data.read import read_candidates

    candidates = list(read_candidates(source)) if isinstance(source, (str, Path)) else list(source)
    name = str(source) if isinstance(source, (str, Path)) else "candidates"
    if not candidates:
        raise GenmatError(f"{name}: holds no structures; give CIF, POSCAR, extxyz, CSV or JSONL")
    if not any(candidate.alive for candidate in candidates):
        reason = str(candidates[0].failure).removeprefix("read: ")
        raise GenmatError(f"{name}: no readable structure ({reason}); mend the input")
    return candidates


def screening_stages(screening: Screening) -> tuple[list[Stage], Any, dict[str, Any]]:
    """The stages relax and hull, the reference hull, and what to say about them in the report.

    Raises:
        GenmatError: unknown potential, unreadable reference, or a reference of another source than the potential.
    """
    from genmat.screening.potentials import load

    potential = load(screening.potential, python=screening.python)
    hull = _hull(screening, potential.info.source)
    info = {
        "potential": f"{potential.info.name} {potential.info.version}",
        "functional": potential.info.functional,
        "hull_source": "none" if hull is None else hull.source,
        "reference": "" if hull is None else hull.note,
        "relaxation": {
            "fmax": f"{screening.fmax:g} eV/Å",
            "max steps": screening.max_steps,
            "rattle": f"{screening.rattle:g} Å",
        },
    }
    if screening.phonons:
        from genmat.screening.vibrations import METHOD

        info["vibrations"] = f"of the {screening.phonons} best: {METHOD}"
    stages = [Stage("relax", relaxation(screening, potential)), _valid("_relaxed")]
    if hull is not None:
        from genmat.screening.hull import hull_stage

        stages.append(Stage("hull", partial(hull_stage, hull=hull)))
    for stage, told in (_doubt(potential, hull), _second(screening, potential, hull)):
        stages += stage
        info |= told
    return stages, hull, info


def _doubt(potential: Any, hull: Any) -> tuple[list[Stage], dict[str, str]]:
    """The stage of calibrated doubt, where the potential has been calibrated on this hull."""
    from genmat.screening.uncertainty import doubt_stage, load_calibration

    calibration = None if hull is None else load_calibration(potential, hull)
    if calibration is None:
        return [], {}
    work = partial(doubt_stage, potential=potential, hull=hull, calibration=calibration)
    return [Stage("doubt", work)], {"doubt": calibration.note}


def _second(screening: Screening, potential: Any, hull: Any) -> tuple[list[Stage], dict[str, str]]:
    """The stage of a second opinion, where one is asked for."""
    if screening.second is None:
        return [], {}
    from genmat.screening.potentials import load
    from genmat.screening.second import second_stage, yardstick

    second = load(screening.second, python=screening.second_python)
    measure = yardstick(potential, second, hull)
    work = partial(second_stage, relax=relaxation(screening, second), measure=measure)
    told = f"{second.info.name} {second.info.version} ({second.info.functional}); {measure.note}"
    return [Stage("second", work)], {"second_opinion": told}


def relaxation(screening: Screening, potential: Any) -> Callable[[Iterable[Candidate]], Iterator[Candidate]]:
    """The stage that relaxes: in processes of this machine, or on a Ray cluster."""
    names = ("fmax", "max_steps", "seed", "rattle")
    goal = {name: getattr(screening, name) for name in names}
    if screening.ray is None:
        from genmat.screening.relax import relax

        return partial(relax, potential=potential, workers=screening.workers, **goal)
    from genmat.screening.distributed import run_ray
    from genmat.screening.relax import RelaxSettings

    where = {"address": screening.ray, "workers": screening.workers}
    return partial(run_ray, potential=potential, settings=RelaxSettings(**goal), **where)


def _hull(screening: Screening, source: str) -> Any:
    """The reference hull, or None when none is wanted."""
    if screening.reference == "none":
        return None
    from genmat.screening.reference import load_reference

    hull = load_reference(screening.reference, source)
    if hull.energy_source != source:
        raise GenmatError(
            f"{screening.potential}: its energies ({source}) cannot be placed on a hull made for {hull.energy_source}; "
            "give a --reference made with it, or --reference none for no hull"
        )
    return hull


def _valid(after: str = "") -> Stage:
    from genmat.crystal.validity import valid_stage

    return Stage(f"valid{after}", valid_stage)


def _matching(screening: Screening, after: str = "") -> list[Stage]:
    from genmat.crystal.matching import KnownPhases, novel_stage, unique_stage

    phases = KnownPhases.from_parquet(screening.known) if screening.known else KnownPhases.shipped()

    def duplicate(candidate: Candidate) -> str | None:
        return "duplicate of another candidate" if candidate.results.get("unique") is False else None

    def known(candidate: Candidate) -> str | None:
        return "known phase" if candidate.results.get("novel") is False else None

    return [
        Stage(f"unique{after}", unique_stage, "whole", duplicate),
        Stage(f"novel{after}", partial(novel_stage, known=phases), "each", known),
    ]


def _rank() -> Stage:
    from genmat.screening.select import NEAR_HULL, rank_stage

    def far(candidate: Candidate) -> str | None:
        energy = candidate.results.get("e_above_hull")
        if energy is None:
            return "no energy above the hull"
        if energy > NEAR_HULL:
            return f"more than {1000 * NEAR_HULL:.0f} meV/atom above the hull"
        return candidate.results["doubt"]

    return Stage("rank", rank_stage, "whole", far)


def _vibrations(screening: Screening) -> list[Stage]:
    """The stage of vibrations, where some are asked for; its name tells of how many, so that a rerun may ask for more.

    Raises:
        GenmatError: phonopy is not installed.
    """
    if not screening.phonons:
        return []
    from importlib.util import find_spec

    if find_spec("phonopy") is None:
        raise GenmatError("--phonons: phonopy is not installed; run `pip install genmat[phonons]`")
    from genmat.screening.potentials import load
    from genmat.screening.vibrations import vibration_stage

    def work(candidates: Iterable[Candidate]) -> Iterator[Candidate]:
        potential = load(screening.potential, check=False, python=screening.python)
        return vibration_stage(candidates, potential, screening.phonons)

    def unstable(candidate: Candidate) -> str | None:
        stable = candidate.results.get("dynamically_stable")
        return "imaginary vibrations" if stable is False else None

    return [Stage(f"vibrations_of_{screening.phonons}", work, "each", unstable)]


def _digest(candidates: Sequence[Candidate]) -> str:
    """Fingerprint of the input, so that a changed input is not mistaken for the campaign's own."""
    digest = hashlib.sha256()
    for candidate in candidates:
        structure = candidate.structure
        sites = [] if structure is None else [site.species_string for site in structure]
        cell = (
            "" if structure is None else f"{structure.lattice.matrix.tolist()}{structure.frac_coords.tolist()}{sites}"
        )
        digest.update(f"{candidate.id}|{candidate.formula}|{cell}|{candidate.failure}\n".encode())
    return f"{len(candidates)} structures, sha256 {digest.hexdigest()[:12]}"


def _run_card(command: str, seed: int, info: Mapping[str, Any]) -> dict[str, Any]:
    """What was run, for the report."""
    from importlib.metadata import PackageNotFoundError, version

    versions = {"genmat": __version__, "Python": platform.python_version()}
    for package in ("torch", "pymatgen", "chgnet"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {"command": command, "seed": seed, **info, "versions": versions}
