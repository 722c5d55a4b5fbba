"""Is this crystal new? Uniqueness within a set, novelty against known phases.

Keys first, StructureMatcher as the judge. The reduced formula is the bucket; inside it the protostructure label decides
quickly only where label *and* geometry agree closely. Everything else goes to pymatgen's StructureMatcher with default
tolerances, because a label alone errs on both sides: two polymorphs may occupy the same Wyckoff positions, and one
crystal changes its label at the edge of the symmetry tolerance.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from math import gcd
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure

from genmat.crystal.prototype import Protostructure, from_structure
from genmat.crystal.realise import lattice_parameters
from genmat.crystal.wyckoff import MIRRORED
from genmat.errors import GenmatError

if TYPE_CHECKING:
    from genmat.candidate import Candidate

SYMPRECS = (0.1, 0.01)
"""Å; symmetry tolerances at which labels are taken: a crystal at the edge of one is caught by the other."""
JUDGED = 64
"""Representatives of other labels the judge sees per candidate, nearest volumes first: bounds one-formula runs."""
_LENGTHS, _ANGLES, _COORDS = (
    0.05,
    2.0,
    0.02,
)  # relative, degrees, fractional: far inside StructureMatcher's 0.2, 5, ~0.3
_SHIPPED = Path(__file__).parent / "data" / "known_phases.npy"


def unique_stage(candidates: Iterable[Candidate]) -> Iterator[Candidate]:
    """Mark each living candidate ``unique``, or not with ``duplicate_of`` the first one that is the same crystal.

    A whole-set stage: the verdict depends on what came before. Converged candidates of low energy come first, so that
    the best of several copies is the one kept; without energies the order given decides, and the order is kept.
    Candidates without a structure are compared by the label of their protostructure.
    """
    everyone = list(candidates)
    judged = {candidate.id: candidate for candidate in _mark_duplicates(sorted(everyone, key=_better_first))}
    yield from (judged[candidate.id] for candidate in everyone)


def _better_first(candidate: Candidate) -> tuple[bool, float]:
    results = candidate.results
    return results.get("converged") is False, round(results.get("energy_per_atom") or 0.0, 6)


def _mark_duplicates(candidates: Iterable[Candidate]) -> Iterator[Candidate]:
    representatives: dict[Any, list[tuple[str, _Crystal]]] = {}
    for candidate in candidates:
        if candidate.failure is not None:
            yield candidate
            continue
        crystal = _Crystal(candidate.structure, candidate.protostructure)
        if crystal.formula is None:
            yield candidate.fail("unique", "neither structure nor protostructure")
            continue
        bucket = representatives.setdefault(crystal.formula, [])
        twin = _first_match(crystal, bucket, JUDGED)
        if twin is None:
            bucket.append((candidate.id, crystal))
        yield candidate.add(unique=twin is None, duplicate_of=twin)


def novel_stage(candidates: Iterable[Candidate], known: KnownPhases) -> Iterator[Candidate]:
    """Mark each living candidate ``novel``, or not with ``known_as`` the known phase (its id, or ``label known``)."""
    for candidate in candidates:
        if candidate.failure is None:
            name = known.find(candidate.structure, candidate.protostructure)
            candidate = candidate.add(novel=name is None, known_as=name)
        yield candidate


def same_crystal(first: Structure, second: Structure) -> bool:
    """The judge: StructureMatcher with default tolerances (ltol 0.2, stol 0.3, 5°, primitive cells, equal volumes)."""
    return _judge(_Crystal(first), _Crystal(second))


@dataclass(frozen=True)
class KnownPhases:
    """What is known already: fingerprints of labels, structures for the judge, or both.

    Where structures of a candidate's formula are at hand, StructureMatcher decides among them. The fingerprints decide
    for everything else: a candidate is known when its label at either tolerance of `SYMPRECS` is in the set. Labels are
    cautious, calling another polymorph on the same Wyckoff positions known as well.

    A fingerprint is 6 bytes of a hash. With n fingerprints a new label is wrongly called known with probability
    n / 2^48: 8e-10 for the 237,427 of the shipped set, about one in a billion labels.

    Attributes:
        source: what it was built from, for reports.
        fingerprints: sorted, (n,) uint64.
        phases: reduced formula -> (id, crystal) of each known structure.
    """

    source: str
    fingerprints: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.uint64), repr=False)
    phases: Mapping[Any, Sequence[tuple[str, _Crystal]]] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        """Number of fingerprints and structures."""
        return len(self.fingerprints) + sum(len(bucket) for bucket in self.phases.values())

    @classmethod
    def shipped(cls) -> KnownPhases:
        """The set inside the package: labels of 127,000 Materials Project structures of up to 52 atoms (2025), and
        formula and space group of 132,752 entries of its hull."""
        return _shipped()

    @classmethod
    def from_fingerprints(cls, path: Path) -> KnownPhases:
        """A file written by `pack`. Raises GenmatError when it is none."""
        try:
            packed = np.load(path, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise GenmatError(f"{path}: not a set of fingerprints ({error}); rebuild it") from None
        return cls(path.name, _unpack(packed))

    @classmethod
    def from_structures(cls, structures: Iterable[tuple[str, Structure]], source: str = "structures") -> KnownPhases:
        """Known phases from (id, structure) pairs; the structures serve the judge."""
        phases: dict[Any, list[tuple[str, _Crystal]]] = {}
        for name, structure in structures:
            phases.setdefault(_formula(structure.composition.get_el_amt_dict()), []).append((name, _Crystal(structure)))
        return cls(source, phases=phases)

    @classmethod
    def from_labels(cls, labels: Iterable[str], source: str = "labels") -> KnownPhases:
        """Known phases from protostructure labels alone."""
        return cls(source, _unpack(pack(fingerprint(label) for label in labels)))

    @classmethod
    def from_parquet(cls, *paths: str | Path) -> KnownPhases:
        """Known phases from tables of structures, built when their formula comes up.

        Columns: ``material_id`` or ``id``; ``lattice_parameters`` (a, b, c in Å, angles in degrees) or ``lattice``
        (3, 3) in Å; ``species``; ``frac_coords``. Raises GenmatError when they are missing.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        phases: dict[Any, list[tuple[str, _Crystal]]] = {}
        for path in paths:
            try:
                names = pq.read_schema(path).names
                key = next(name for name in ("material_id", "id") if name in names)
                cell = next(name for name in ("lattice_parameters", "lattice") if name in names)
                table = pq.read_table(path, columns=[key, cell, "species", "frac_coords"])
            except (OSError, StopIteration, pa.ArrowException) as error:
                reason = "no id or lattice column" if isinstance(error, StopIteration) else error
                raise GenmatError(
                    f"{path}: not a table of structures ({reason}); see KnownPhases.from_parquet"
                ) from None
            for row, (name, species) in enumerate(
                zip(table[key].to_pylist(), table["species"].to_pylist(), strict=True)
            ):
                counts: dict[str, int] = {}
                for symbol in species:
                    counts[symbol] = counts.get(symbol, 0) + 1
                phases.setdefault(_formula(counts), []).append((name, _TableCrystal(table, cell, row)))
        return cls(", ".join(Path(path).name for path in paths), phases=phases)

    def find(self, structure: Structure | None, protostructure: Protostructure | None = None) -> str | None:
        """Id of the known phase this crystal is, ``label known`` or ``formula and space group known`` if that is all
        that is known of it, None if it is new."""
        crystal = _Crystal(structure, protostructure)
        bucket = self.phases.get(crystal.formula)
        if bucket:
            return _first_match(crystal, bucket, len(bucket))
        if len(self.fingerprints):
            found = []
            for proto in crystal.protostructures():
                if self.has_label(proto.label):
                    return "label known"
                found.append(proto)
            if any(self.has_label(pair_key(proto.formula, proto.spacegroup)) for proto in found):
                return "formula and space group known"
        return None

    def has_label(self, label: str) -> bool:
        """True when the fingerprint of a label is in the set."""
        wanted = np.uint64(fingerprint(label))
        place = int(np.searchsorted(self.fingerprints, wanted))
        return place < len(self.fingerprints) and self.fingerprints[place] == wanted


def fingerprint(label: str) -> int:
    """First 6 bytes of the BLAKE2b hash of a label, as an integer."""
    return int.from_bytes(hashlib.blake2b(label.encode(), digest_size=6).digest(), "big")


def pair_key(formula: str, spacegroup: int) -> str:
    """Key of a phase of which only formula (as `reduced_formula` writes it) and space group are known.

    Mirror images share a key, as they share a label.
    """
    return f"{formula}|{MIRRORED.get(spacegroup, spacegroup)}"


def pack(fingerprints: Iterable[int]) -> np.ndarray:
    """Sorted unique fingerprints as bytes (n, 6), the most significant first: what is shipped."""
    ordered = np.unique(np.fromiter(fingerprints, dtype=np.uint64))
    return ordered.astype(">u8").view(np.uint8).reshape(-1, 8)[:, 2:].copy()


def _unpack(packed: np.ndarray) -> np.ndarray:
    """Inverse of `pack`: sorted (n,) uint64."""
    if packed.ndim != 2 or packed.shape[1] != 6 or packed.dtype != np.uint8:
        raise GenmatError("fingerprints: not (n, 6) bytes; rebuild the file")
    wide = np.zeros((len(packed), 8), dtype=np.uint8)
    wide[:, 2:] = packed
    return wide.view(">u8").ravel().astype(np.uint64)


@cache
def _shipped() -> KnownPhases:
    known = KnownPhases.from_fingerprints(_SHIPPED)
    return KnownPhases("Materials Project 2025 (labels; formulas with space groups)", known.fingerprints)


class _Crystal:
    """A structure with the costly things computed when first needed and kept: protostructure, reduced cell."""

    def __init__(self, structure: Structure | None, protostructure: Protostructure | None = None) -> None:
        self._structure, self._given = structure, protostructure

    @property
    def structure(self) -> Structure | None:
        return self._structure

    @cached_property
    def formula(self) -> tuple[tuple[str, float], ...] | None:
        """Key of the reduced composition; None without any."""
        if self.structure is not None:
            return _formula(self.structure.composition.get_el_amt_dict())
        return _formula(self._given.composition) if self._given is not None else None

    @cached_property
    def protostructure(self) -> Protostructure | None:
        """Of the structure as it is now; the given one where there is no structure; None when symmetry defeats us."""
        return self._found(SYMPRECS[0]) if self.structure is not None else self._given

    @cached_property
    def label(self) -> str | None:
        return self.protostructure.label if self.protostructure is not None else None

    def protostructures(self) -> Iterator[Protostructure]:
        """At all tolerances, computed one by one."""
        if self.protostructure is not None:
            yield self.protostructure
        if self.structure is not None:
            for symprec in SYMPRECS[1:]:
                found = self._found(symprec)
                if found is not None:
                    yield found

    @cached_property
    def reduced(self) -> Structure | None:
        """Niggli-reduced primitive cell, as StructureMatcher would make it at every comparison."""
        if self.structure is None:
            return None
        try:
            return self.structure.get_reduced_structure("niggli").get_primitive_structure()
        except Exception:  # degenerate cells defeat the reduction; the judge then sees the cell as it is
            return self.structure

    def _found(self, symprec: float) -> Protostructure | None:
        try:
            return from_structure(self.structure, symprec) if self.structure is not None else None
        except GenmatError:
            return None


class _TableCrystal(_Crystal):
    """A row of a table, built into a structure when first compared."""

    def __init__(self, table: Any, cell: str, row: int) -> None:
        super().__init__(None)
        self._row = (table, cell, row)

    @cached_property
    def structure(self) -> Structure | None:
        table, cell, row = self._row
        numbers = np.array(table[cell][row].as_py(), dtype=float)
        lattice = Lattice(numbers) if numbers.shape == (3, 3) else Lattice.from_parameters(*numbers)
        return Structure(lattice, table["species"][row].as_py(), table["frac_coords"][row].as_py())


def _first_match(crystal: _Crystal, bucket: Sequence[tuple[str, _Crystal]], judged: int) -> str | None:
    """Name of the first member of a one-formula bucket that is the same crystal; of other labels `judged` are tried."""
    if not bucket:
        return None
    if crystal.structure is None:
        return next((name for name, other in bucket if other.label == crystal.label), None)
    kin = [(name, other) for name, other in bucket if other.label == crystal.label is not None]
    for name, other in kin:
        if _same_geometry(crystal.protostructure, other.protostructure):
            return name
    rest = [(name, other) for name, other in bucket if not (other.label == crystal.label is not None)]
    if len(rest) > judged:
        volume = crystal.structure.volume / len(crystal.structure)
        rest = sorted(rest, key=lambda pair: abs(np.log(_volume_per_atom(pair[1]) / volume)))[:judged]
    return next((name for name, other in [*kin, *rest] if _judge(other, crystal)), None)


def _same_geometry(first: Protostructure | None, second: Protostructure | None) -> bool:
    """True when two protostructures of one label agree letter by letter and nearly number by number.

    Sufficient for StructureMatcher to agree, not necessary: another setting or order of sites is left to the judge.
    """
    if first is None or second is None or not first.lattice or not second.lattice:
        return False
    if [(s.element, s.letter) for s in first.sites] != [(s.element, s.letter) for s in second.sites]:
        return False
    a = np.array(lattice_parameters(first.spacegroup, first.lattice))
    b = np.array(lattice_parameters(second.spacegroup, second.lattice))
    ratios = a[:3] / b[:3]
    if np.abs(ratios / np.prod(ratios) ** (1 / 3) - 1).max() > _LENGTHS or np.abs(a[3:] - b[3:]).max() > _ANGLES:
        return False
    x = np.array([value for site in first.sites for value in site.coords])
    y = np.array([value for site in second.sites for value in site.coords])
    difference = x - y
    return x.size == 0 or float(np.abs(difference - np.round(difference)).max()) <= _COORDS


def _judge(known: _Crystal, crystal: _Crystal) -> bool:
    """StructureMatcher on reduced cells made once; whatever defeats it is no match. Without structures: the labels."""
    first, second = known.reduced, crystal.reduced
    if first is None or second is None:
        return known.label is not None and known.label == crystal.label
    if len(first) != len(second):  # it would find no mapping: no supercells are tried by default
        return False
    try:
        return bool(_matcher().fit(first, second, skip_structure_reduction=True))
    except Exception:  # numerical trouble in degenerate cells
        return False


@cache
def _matcher() -> StructureMatcher:
    return StructureMatcher()


def _volume_per_atom(crystal: _Crystal) -> float:
    """Å³/atom; infinite without a structure."""
    return crystal.structure.volume / len(crystal.structure) if crystal.structure is not None else float("inf")


def _formula(amounts: Mapping[str, float]) -> tuple[tuple[str, float], ...]:
    """Hashable reduced composition."""
    counts = {symbol: round(amount) for symbol, amount in amounts.items()}
    divisor = gcd(*counts.values()) or 1
    return tuple(sorted((symbol, count // divisor) for symbol, count in counts.items()))
