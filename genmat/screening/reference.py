"""Reference hulls: a shipped table of a potential's energies, a table of formation energies, the Materials Project."""

from __future__ import annotations

import json
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genmat.errors import GenmatError, RunError
from genmat.screening.hull import Phase, ReferenceHull, fractions, group_phases

if TYPE_CHECKING:
    import pandas as pd

    from genmat.screening.potentials.base import Potential

DATA = Path(__file__).parent / "data"
CHGNET = "chgnet-0.3.0"
# source of energies -> name of its files: reference_NAME.parquet, element_references_NAME.json
SHIPPED = {
    CHGNET: "chgnet",
    "m3gnet-MP-2021.2.8-PES": "m3gnet",
    "m3gnet-MatPES-PBE-v2025.1-PES": "m3gnet_matpes",
    "tensornet-MatPES-PBE-v2025.1-PES": "tensornet_matpes",
}
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


def load_reference(spec: str | Path | None = None, potential: str | Potential = CHGNET) -> ReferenceHull:
    """A reference hull for the energies of a potential.

    Args:
        spec: None, the shipped table of the potential's energies; a CSV (also compressed) or parquet file with a
            column of compositions and one of formation energies in eV/atom, on the scale of the Materials Project; or
            ``mp:<key>``, the Materials Project itself, asked chemical system by chemical system.
        potential: whose energies are to be placed on it: the potential, or the source its energies carry
            (``potential.info.source``).

    Returns:
        `ReferenceHull`. With DFT formation energies its element references are those fitted to the potential, and its
        ``note`` tells the error of the fit.

    Raises:
        GenmatError: missing or unreadable file, no such columns, missing package, nothing shipped for the potential.
    """
    source = potential if isinstance(potential, str) else potential.info.source
    if spec is None:
        return _shipped(source)
    if isinstance(spec, str) and spec.startswith("mp:"):
        return _materials_project(spec.removeprefix("mp:"), source)
    return _from_table(Path(spec), source)


@lru_cache(maxsize=4)
def _shipped(source: str) -> ReferenceHull:
    """All energies from the potential; formation energies relative to its lowest elemental phases."""
    table = read_table(source)
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
    name = "CHGNet 0.3.0" if source == CHGNET else source
    return ReferenceHull(
        source=source,
        references=references,
        phases=group_phases([str(f) for f, _, _ in kept], energies),
        energy_source=source,
        note=f"{len(kept)} compositions, {len(table)} phases near the Materials Project hull, energies by {name}",
    )


def table_file(source: str = CHGNET) -> Path:
    """Where the table of a potential's reference phases is shipped.

    Raises:
        GenmatError: none is shipped for this source.
    """
    if source not in SHIPPED or not (path := DATA / f"reference_{SHIPPED[source]}.parquet").is_file():
        have = [s for s, name in SHIPPED.items() if (DATA / f"reference_{name}.parquet").is_file()]
        raise GenmatError(
            f"{source}: no table of reference phases is shipped for its energies (there is one for "
            f"{', '.join(have) or 'none'}); give --reference FILE with formation energies, or --reference none"
        )
    return path


def read_table(source: str = CHGNET) -> pd.DataFrame:
    """The shipped table of a potential: id, formula, label, energy_per_atom (eV, correction included), tier."""
    import pandas as pd

    return pd.read_parquet(table_file(source))


def element_references(source: str = CHGNET) -> dict[str, Any]:
    """The element references fitted to a potential: ``mu`` (eV/atom), ``mae_test`` (eV/atom), counts, ``target``.

    Raises:
        GenmatError: none are shipped for this source.
    """
    path = DATA / f"element_references_{SHIPPED.get(source, '')}.json"
    if not path.is_file():
        raise GenmatError(
            f"{source}: its energies cannot be brought to the scale of formation energies, for no element references "
            "are shipped for it; use chgnet or m3gnet, or --reference none"
        )
    return json.loads(path.read_text())


def _from_table(path: Path, potential: str) -> ReferenceHull:
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
    names = table[composition].astype(str)
    # formation energies count from the elements, so none lies below zero, whatever a table of mixed origin says
    values = table[energy].where(names.str.contains(r"[A-Z].*[A-Z]"), table[energy].clip(lower=0.0))
    phases = group_phases(names, values)
    about = f"{len(table)} phases of {path.name}"
    return _with_fitted_elements(ENERGY_COLUMNS[energy], potential, phases=phases, about=about)


def _with_fitted_elements(source: str, potential: str, about: str, **rest: Any) -> ReferenceHull:
    fit = element_references(potential)
    note = (
        f"{about}; element references fitted to {fit['source']} on {fit['n_train']} phases, "
        f"error on {fit['n_test']} others: MAE {1000 * fit['mae_test']:.0f} meV/atom"
    )
    rest.setdefault("phases", {})
    return ReferenceHull(source=source, references=fit["mu"], energy_source=fit["source"], note=note, **rest)


def _materials_project(key: str, potential: str) -> ReferenceHull:
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

    return _with_fitted_elements("dft:MP2020", potential, about="Materials Project", fetch=fetch)
