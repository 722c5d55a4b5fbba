"""A material on its way through the funnel."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from genmat.crystal.prototype import Protostructure


@dataclass(frozen=True)
class Candidate:
    """One material: what it is, where it came from and what each stage found out about it.

    A candidate never changes: `add`, `fail` and `replace` return a new one. Everything a stage learns goes into
    `results`, flat and JSON-able; energies in eV/atom, lengths in Å, forces in eV/Å, densities in g/cm³.

    Attributes:
        id: unique within a campaign.
        origin: where it came from, such as ``model:crystal-gpt`` or ``file:foo.cif``.
        protostructure: space group, occupied Wyckoff positions and free parameters, when known.
        structure: the current geometry (pymatgen), when there is one; its sites may be shared (`disordered`).
        results: what the stages found, such as ``e_above_hull``.
        failure: ``stage: reason``, or None while the candidate is alive.
        provenance: seed, model, source row, versions.
    """

    id: str
    origin: str
    protostructure: Protostructure | None = None
    structure: Structure | None = None
    results: Mapping[str, Any] = field(default_factory=dict)
    failure: str | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def alive(self) -> bool:
        """True until a stage failed it."""
        return self.failure is None

    @property
    def disordered(self) -> bool:
        """True when sites of the structure are shared or partly empty: it has no energy before it is ordered."""
        return self.structure is not None and not self.structure.is_ordered

    @property
    def formula(self) -> str:
        """Reduced formula, or an empty string when neither structure nor protostructure is known."""
        if self.structure is not None:
            return self.structure.composition.reduced_formula
        return self.protostructure.formula if self.protostructure is not None else ""

    def add(self, **results: Any) -> Candidate:
        """The same candidate with more results; a repeated key takes the new value."""
        return self.replace(results={**self.results, **results})

    def fail(self, stage: str, reason: str) -> Candidate:
        """The same candidate marked as failed; the first failure stays."""
        if self.failure is not None:
            return self
        return self.replace(failure=f"{stage}: {' '.join(str(reason).split())}")

    def replace(self, **changes: Any) -> Candidate:
        """The same candidate with the given attributes exchanged."""
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able dictionary; `from_dict` gives the candidate back, floats bit for bit."""
        return {
            "id": self.id,
            "origin": self.origin,
            "protostructure": self.protostructure.to_dict() if self.protostructure is not None else None,
            "structure": self.structure.as_dict() if self.structure is not None else None,
            "results": {key: _plain(value) for key, value in self.results.items()},
            "failure": self.failure,
            "provenance": {key: _plain(value) for key, value in self.provenance.items()},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Candidate:
        """The candidate `to_dict` wrote."""
        protostructure, structure = data.get("protostructure"), data.get("structure")
        if protostructure is not None:
            from genmat.crystal.prototype import Protostructure

            protostructure = Protostructure.from_dict(protostructure)
        if structure is not None:
            from pymatgen.core import Structure

            structure = Structure.from_dict(structure)
        return cls(
            id=data["id"],
            origin=data["origin"],
            protostructure=protostructure,
            structure=structure,
            results=dict(data.get("results") or {}),
            failure=data.get("failure"),
            provenance=dict(data.get("provenance") or {}),
        )


def _plain(value: Any) -> Any:
    """Numpy scalars and arrays as plain Python, containers likewise, everything else unchanged."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value.tolist() if hasattr(value, "tolist") else value
