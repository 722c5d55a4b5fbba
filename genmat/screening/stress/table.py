"""Known crystals with DFT energies, read from a table of the Materials Project, as the checks want them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genmat.crystal.composition import reduced_formula
from genmat.crystal.prototype import from_structure
from genmat.data.population import PBE_VOLUME
from genmat.errors import GenmatError

if TYPE_CHECKING:
    import pandas as pd
    from pymatgen.core import Structure

FILE = "structures_le20.parquet"
COLUMNS = (
    "material_id",
    "formula",
    "n_primitive",
    "lattice_parameters",
    "species",
    "frac_coords",
    "spacegroup_number",
    "formation_energy_per_atom",
    "e_above_hull",
    "energy_source",
    "in_icsd",
    "split",
)


@dataclass(frozen=True)
class Known:
    """A crystal of the table.

    Args:
        id: of the Materials Project.
        formula: reduced.
        structure: primitive cell, volume scaled by `PBE_VOLUME`.
        energy: DFT formation energy, eV/atom, MP2020 scale.
        source: family of the energy, "mp2021" or "mb2019": differences inside a family are clean.
        label: protostructure label at 0.1 Å.
        spacegroup: international number.
        order: of the point group.
    """

    id: str
    formula: str
    structure: Structure
    energy: float
    source: str
    label: str
    spacegroup: int
    order: int


def read_table(data: str | Path) -> pd.DataFrame:
    """Rows with a formation energy, and their ``family`` of energies ("mp2021" or "mb2019").

    Args:
        data: the Parquet file, or the folder it lies in.

    Raises:
        GenmatError: missing or not such a table.
    """
    import pandas as pd

    path = Path(data) / FILE if Path(data).is_dir() else Path(data)
    if not path.is_file():
        raise GenmatError(f"{path}: not found; give the folder with {FILE} (see data_cards/mp_structures.md)")
    try:
        table = pd.read_parquet(path, columns=list(COLUMNS))
    except (OSError, ValueError, KeyError) as error:
        raise GenmatError(
            f"{path}: not a table of structures ({str(error).splitlines()[0]}); see the data card"
        ) from None
    table = table[table.formation_energy_per_atom.notna()].reset_index(drop=True)
    return table.assign(family=table.energy_source.str.split("_").str[0])


def known(row: Any) -> Known:
    """The crystal of one row (a named tuple of `pandas.DataFrame.itertuples`).

    Raises:
        GenmatError: its symmetry cannot be found.
    """
    structure, order = _primitive(structure_of(row))
    structure.scale_lattice(structure.volume * PBE_VOLUME)
    proto = from_structure(structure)
    return Known(
        id=str(row.material_id),
        formula=reduced_formula(proto.composition),
        structure=structure,
        energy=float(row.formation_energy_per_atom),
        source=str(row.family),
        label=proto.label,
        spacegroup=proto.spacegroup,
        order=order,
    )


def _primitive(structure: Structure, symprec: float = 0.1) -> tuple[Structure, int]:
    """Primitive cell with the symmetry found made exact, and the order of its point group."""
    import moyopy
    from pymatgen.core import Lattice, Structure

    from genmat.crystal.prototype import bearable

    cell = moyopy.Cell(
        structure.lattice.matrix.tolist(), structure.frac_coords.tolist(), [site.specie.Z for site in structure]
    )
    tolerance = bearable(structure.lattice.matrix, structure.frac_coords, symprec)
    try:
        found = moyopy.MoyoDataset(cell, symprec=tolerance)
    except ValueError as error:  # moyopy's own exception derives from it
        raise GenmatError(f"{structure.formula}: no symmetry found ({error}); leave it out") from None
    small = found.prim_std_cell
    rotations = {tuple(np.asarray(rotation).ravel()) for rotation in found.operations.rotations}
    return Structure(Lattice(small.basis), small.numbers, small.positions), len(rotations)


def structure_of(row: Any) -> Structure:
    """The cell of a row as it is stored."""
    from pymatgen.core import Lattice, Structure

    lattice = Lattice.from_parameters(*row.lattice_parameters)
    return Structure(lattice, list(row.species), np.array(list(row.frac_coords)))


def all_known(rows: pd.DataFrame) -> list[Known]:
    """The crystals of all rows whose symmetry can be found."""
    found = []
    for row in rows.itertuples():
        try:
            found.append(known(row))
        except GenmatError:
            continue
    return found


def atomic_volumes(table: pd.DataFrame, n: int = 8000, seed: int = 0) -> dict[str, float]:
    """Volume of each element in a compound, Å³/atom: non-negative least squares over training crystals.

    Weighted by 1/volume, so that relative errors count. Elements the sample lacks get the median.
    """
    from scipy.optimize import nnls

    train = table[(table.split == "train") & (table.e_above_hull < 0.1)]
    train = train.sample(min(n, len(train)), random_state=seed)
    symbols = sorted({symbol for species in table.species for symbol in species})
    column = {symbol: index for index, symbol in enumerate(symbols)}
    matrix, volumes = np.zeros((len(train), len(symbols))), np.zeros(len(train))
    for row, (cell, species) in enumerate(zip(train.lattice_parameters, train.species, strict=True)):
        volumes[row] = PBE_VOLUME * _cell_volume(cell)
        for symbol, count in Counter(species).items():
            matrix[row, column[symbol]] = count
    fitted, _ = nnls(matrix / volumes[:, None], np.ones(len(volumes)))
    usual = float(np.median(fitted[fitted > 0]))
    return {symbol: float(v) if v > 1.0 else usual for symbol, v in zip(symbols, fitted, strict=True)}


def _cell_volume(parameters: Sequence[float]) -> float:
    a, b, c = parameters[:3]
    x, y, z = np.cos(np.radians(np.asarray(parameters[3:], dtype=float)))
    return float(a * b * c * np.sqrt(max(1 - x * x - y * y - z * z + 2 * x * y * z, 0.0)))


def expected_volume(species: Iterable[str], volumes: Mapping[str, float]) -> float:
    """Å³ of a cell with these atoms, from `atomic_volumes`."""
    return sum(volumes[symbol] for symbol in species)
