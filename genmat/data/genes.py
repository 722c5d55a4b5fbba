"""Wyckoff genes: crystals as space group, elements and occupied positions, without coordinates, and a way to give them
random ones.

The format of WyckoffTransformer (Kazeev et al., arXiv:2503.02407), which is what ``pyxtal.from_random`` takes: a JSON
list of ``{"group": 221, "sites": [["3c"], ["1a"]], "species": ["Br", "Cs"], "numIons": [3, 1]}``, numbers of atoms in
the conventional cell.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genmat.candidate import Candidate
from genmat.crystal.composition import ELEMENTS
from genmat.crystal.prototype import Protostructure, Site, sort_sites
from genmat.crystal.wyckoff import space_group
from genmat.errors import GenmatError

if TYPE_CHECKING:
    from pymatgen.core import Structure

KEYS = {"group", "sites", "species", "numIons"}
TOLERANCE = 1.3
"""Atoms are kept apart by the sum of their atomic radii over this, as WyckoffTransformer does with its own genes."""
ATTEMPTS = 30
"""Of pyxtal at one crystal, likewise."""


def is_gene_file(path: Path) -> bool:
    """True for a JSON file (also gzipped) of Wyckoff genes."""
    if not path.is_file() or not path.name.endswith((".json", ".json.gz")):
        return False
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8") as lines:
            return lines.read(2000).lstrip().startswith("[") and _starts_with_gene(path)
    except (OSError, UnicodeDecodeError):
        return False


def read_genes(path: Path) -> list[Candidate]:
    """Candidates with a bare protostructure each; a gene that is none has failed.

    Raises:
        GenmatError: not a list of genes.
    """
    rows = _load(path)
    stem = path.name.removesuffix(".gz").removesuffix(".json")
    made = []
    for index, row in enumerate(rows):
        candidate = Candidate(f"{stem}-{index:05d}", f"file:{path.name}", provenance={"file": path.name, "row": index})
        try:
            made.append(candidate.replace(protostructure=protostructure_of(row)))
        except (KeyError, ValueError, TypeError, GenmatError) as error:
            made.append(candidate.fail("read", f"not a Wyckoff gene ({type(error).__name__}: {error})"))
    return made


def protostructure_of(gene: Mapping[str, Any]) -> Protostructure:
    """The bare protostructure of a gene.

    Raises:
        ValueError: an unknown element or position, a multiplicity or number of atoms that contradicts the tables, a
            position without freedom used twice.
        KeyError: a key or the space group is missing.
    """
    positions = space_group(int(gene["group"])).positions
    sites, taken = [], set()
    for element, spelled, count in zip(gene["species"], gene["sites"], gene["numIons"], strict=True):
        letters = [site[-1] for site in spelled]
        if element not in ELEMENTS or any(letter not in positions for letter in letters):
            raise ValueError(f"element {element} on {', '.join(spelled)} of space group {gene['group']}")
        if [f"{positions[w].multiplicity}{w}" for w in letters] != list(spelled):
            raise ValueError(f"multiplicities {', '.join(spelled)} in space group {gene['group']}")
        if sum(positions[w].multiplicity for w in letters) != count:
            raise ValueError(f"{count} atoms of {element} on {', '.join(spelled)}")
        for letter in letters:
            if positions[letter].dof == 0 and letter in taken:
                raise ValueError(f"position {letter} taken twice")
            taken.add(letter)
            sites.append(Site(element, letter))
    return Protostructure(int(gene["group"]), sort_sites(sites))


def trials_of(genes: Iterable[Candidate], trials: int) -> list[Candidate]:
    """`trials` candidates for each gene, to be given different geometries: ``provenance`` says gene and trial."""
    return [
        gene.replace(
            id=gene.id if trials == 1 else f"{gene.id}.{trial}",
            provenance={**gene.provenance, "gene": gene.id, "trial": trial},
        )
        for gene in genes
        for trial in range(trials)
    ]


def random_stage(candidates: Iterable[Candidate], seed: int = 0, workers: int = 1) -> Iterator[Candidate]:
    """Give every living candidate a `random_geometry`, in order; pyxtal needs 0.02 to 5 s for one.

    Raises:
        GenmatError: pyxtal is not installed.
    """
    everyone = list(candidates)
    if workers <= 1 or len(everyone) < 2 * workers:
        yield from (random_geometry(candidate, seed) for candidate in everyone)
        return
    from genmat.workers import process_pool

    with process_pool(workers) as pool:
        yield from pool.map(partial(random_geometry, seed=seed), everyone)


def random_geometry(candidate: Candidate, seed: int = 0) -> Candidate:
    """The candidate with a random lattice and random free coordinates, drawn by pyxtal; failed when it finds none.

    pyxtal (Fredericks et al., Comput. Phys. Commun. 261, 107810 (2021)) estimates the volume from the elements and
    keeps atoms apart. Seeded by `seed` and the candidate's id: the same crystal at every call.

    Raises:
        GenmatError: pyxtal is not installed.
    """
    proto = candidate.protostructure
    if candidate.failure is not None or proto is None:
        return candidate
    number = int(np.random.default_rng([seed, *candidate.id.encode()]).integers(2**31))
    structure = _draw(proto, number)
    if structure is None:
        return candidate.fail("geometry", f"no random arrangement found in {ATTEMPTS} attempts")
    return candidate.replace(structure=structure)


def _draw(proto: Protostructure, seed: int) -> Structure | None:
    """A random crystal (conventional cell), or None."""
    try:
        from pyxtal import pyxtal
        from pyxtal.tolerance import Tol_matrix
    except ImportError:
        raise GenmatError("random geometry: pyxtal is not installed; run `pip install pyxtal`") from None
    species, sites, counts = _columns(proto)
    try:
        crystal = pyxtal()
        distances = Tol_matrix(prototype="atomic", factor=TOLERANCE)
        options = {"sites": sites, "tm": distances, "max_count": ATTEMPTS, "random_state": np.random.default_rng(seed)}
        crystal.from_random(3, proto.spacegroup, species, counts, **options)
        return crystal.to_pymatgen() if crystal.valid else None  # type: ignore[return-value]  # never a molecule
    except Exception:  # pyxtal raises types of its own where composition and positions defeat it
        return None


def _columns(proto: Protostructure) -> tuple[list[str], list[list[str]], list[int]]:
    """Species, sites such as ``["1a", "2c"]`` of each, and atoms of each in the conventional cell."""
    positions = space_group(proto.spacegroup).positions
    sites: dict[str, list[str]] = {}
    for site in proto.sites:
        sites.setdefault(site.element, []).append(f"{positions[site.letter].multiplicity}{site.letter}")
    return list(sites), list(sites.values()), [sum(int(name[:-1]) for name in names) for names in sites.values()]


def _load(path: Path) -> list[Any]:
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8") as lines:
            rows = json.load(lines)
    except (OSError, ValueError) as error:
        raise GenmatError(f"{path}: not readable JSON ({error}); give a list of Wyckoff genes") from None
    if not isinstance(rows, list) or not rows:
        raise GenmatError(f"{path}: not a list of Wyckoff genes; see genmat.data.genes")
    return rows


def _starts_with_gene(path: Path) -> bool:
    try:
        first = _load(path)[0]
    except GenmatError:
        return False
    return isinstance(first, Mapping) and first.keys() >= KEYS
