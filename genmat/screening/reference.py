"""Reference hulls: the shipped table of CHGNet energies, a table of formation energies, the Materials Project."""

from __future__ import annotations

import json
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genmat.errors import GenmatError, RunError
from genmat.screening.hull import Phase, ReferenceHull, fractions, group_phases

if TYPE_CHECKING:
    import pandas as pd

DATA = Path(__file__).parent / "data"
TABLE = DATA / "reference_chgnet.parquet"
ELEMENTS = DATA / "element_references_chgnet.json"
COMPOSITION_COLUMNS = ("composition", "formula", "reduced_formula")
# column -> level of theory of the formation energies in it (eV/atom)
ENERGY_COLUMNS = {
    "ef_mp2020like": "dft:MP2020",
    "formation_energy_per_atom": "dft:user",
    "formation_energy": "dft:user",
    "e_form": "dft:user",
}


def load_reference(spec: str | Path | None = None) -> ReferenceHull:
    """A reference hull.

    Args:
        spec: None, the shipped table of CHGNet energies; a CSV (also compressed) or parquet file with a column of
            compositions and one of formation energies in eV/atom, on the scale of the Materials Project; or
            ``mp:<key>``, the Materials Project itself, asked chemical system by chemical system.

    Returns:
        `ReferenceHull`. With DFT formation energies its element references are those fitted to CHGNet, and its
        ``note`` tells the error of the fit.

    Raises:
        GenmatError: missing or unreadable file, no such columns, missing package.
    """
    if spec is None:
        return _shipped()
    if isinstance(spec, str) and spec.startswith("mp:"):
        return _materials_project(spec.removeprefix("mp:"))
    return _from_table(Path(spec))


@lru_cache(maxsize=1)
def _shipped() -> ReferenceHull:
    """All energies from CHGNet; formation energies relative to its lowest elemental phases."""
    table = read_table()
    lowest = table.groupby("formula").energy_per_atom.min()
    references = {}
    for formula, energy in lowest.items():
        shares = fractions(str(formula))
        if len(shares) == 1:
            symbol = next(iter(shares))
            references[symbol] = min(float(energy), references.get(symbol, float("inf")))
    kept = [(f, e, fractions(str(f))) for f, e in lowest.items()]
    kept = [(f, e, x) for f, e, x in kept if x.keys() <= references.keys()]
    energies = [e - sum(share * references[s] for s, share in x.items()) for _, e, x in kept]
    return ReferenceHull(
        source="chgnet-0.3.0",
        references=references,
        phases=group_phases([str(f) for f, _, _ in kept], energies),
        energy_source="chgnet-0.3.0",
        note=f"{len(kept)} compositions, {len(table)} phases near the Materials Project hull, energies by CHGNet 0.3.0",
    )


def read_table() -> pd.DataFrame:
    """The shipped table: id, formula, label, energy_per_atom (eV), tier."""
    import pandas as pd

    if not TABLE.is_file():
        raise GenmatError(f"{TABLE.name}: missing from the installation; reinstall genmat or give --reference FILE")
    return pd.read_parquet(TABLE)


def element_references() -> dict[str, Any]:
    """The element references fitted to CHGNet: ``mu`` (eV/atom per element), ``mae_test`` (eV/atom) and counts."""
    if not ELEMENTS.is_file():
        raise GenmatError(f"{ELEMENTS.name}: missing from the installation; reinstall genmat")
    return json.loads(ELEMENTS.read_text())


def _from_table(path: Path) -> ReferenceHull:
    import pandas as pd

    if not path.is_file():
        raise GenmatError(f"{path}: no such file; give a table of formation energies or leave --reference out")
    try:
        table = (
            pd.read_parquet(path)
            if path.suffix == ".parquet"
            else pd.read_csv(path, keep_default_na=False, na_values=[""])
        )
    except Exception as error:  # pandas raises many types for a file that is no table
        raise GenmatError(f"{path}: not a readable table ({type(error).__name__}); give CSV or parquet") from error
    composition = next((c for c in COMPOSITION_COLUMNS if c in table), None)
    energy = next((c for c in ENERGY_COLUMNS if c in table), None)
    if composition is None or energy is None:
        raise GenmatError(
            f"{path}: needs a column {' or '.join(COMPOSITION_COLUMNS)} and one of {', '.join(ENERGY_COLUMNS)}; "
            f"it has {', '.join(map(str, table.columns[:8]))}"
        )
    table = table[[composition, energy]].dropna()
    phases = group_phases(table[composition].astype(str), table[energy])
    return _with_fitted_elements(ENERGY_COLUMNS[energy], phases=phases, about=f"{len(table)} phases of {path.name}")


def _with_fitted_elements(source: str, about: str, **rest: Any) -> ReferenceHull:
    fit = element_references()
    note = (
        f"{about}; element references fitted to {fit['source']} on {fit['n_train']} phases, "
        f"error on {fit['n_test']} others: MAE {1000 * fit['mae_test']:.0f} meV/atom"
    )
    rest.setdefault("phases", {})
    return ReferenceHull(source=source, references=fit["mu"], energy_source=fit["source"], note=note, **rest)


def _materials_project(key: str) -> ReferenceHull:
    try:
        from mp_api.client import MPRester  # type: ignore[import-not-found]
    except ImportError:
        raise GenmatError("mp:<key>: mp-api is not installed; run `pip install genmat[mp]`") from None
    if not key:
        raise GenmatError("mp: a key is missing; give mp:<key>, from materialsproject.org/api")

    @cache
    def fetch(system: str) -> list[Phase]:
        try:
            with MPRester(key) as client:
                found = client.materials.thermo.search(
                    chemsys=system,
                    thermo_types=["GGA_GGA+U"],
                    fields=["composition_reduced", "formation_energy_per_atom"],
                )
        except Exception as error:  # network and key errors come in many types
            raise RunError(f"mp: {type(error).__name__}: {error}; check key and network") from error
        return [
            Phase(doc.composition_reduced.formula, doc.formation_energy_per_atom)
            for doc in found
            if doc.formation_energy_per_atom is not None
        ]

    return _with_fitted_elements("dft:MP2020", about="Materials Project", fetch=fetch)
