"""Structures as a jobflow Flow: one job each, which becomes the workflow of a maker where it is run.

The makers of atomate2 are named by import path and imported by the job, so that neither making the Flow nor reading it
needs atomate2; the machine that runs it does. `StaticMaker` needs nothing but ASE: a dry run.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, uuid5

from genmat.candidate import Candidate
from genmat.errors import GenmatError

if TYPE_CHECKING:
    from jobflow import Flow, Response
    from pymatgen.core import Structure

MAKER = "atomate2.vasp.flows.mp:MPGGADoubleRelaxStaticMaker"
"""The Materials Project's relaxation and single point with VASP (PBE, +U)."""


def flow(candidates: Sequence[Candidate], maker: str = MAKER) -> Flow:
    """A Flow with one job per candidate, named by formula and id; the same candidates give the same uuids.

    Args:
        candidates: with structures.
        maker: ``module:Class`` of anything with ``make(structure)`` that returns a jobflow Job or Flow.

    Raises:
        GenmatError: jobflow is not installed, or a maker that is no import path.
    """
    try:
        from jobflow import Flow, Job
    except ImportError:
        raise GenmatError("jobflow: not installed; run `pip install genmat[handover]`") from None
    if maker.count(":") != 1 or not all(part.isidentifier() for part in maker.replace(":", ".").split(".")):
        raise GenmatError(f"{maker}: no import path; give one such as {MAKER}")
    jobs = [
        Job(
            function=expand,
            function_kwargs={"structure": candidate.structure, "maker": maker},
            name=f"{candidate.formula} {candidate.id}",
            uuid=str(uuid5(NAMESPACE_URL, f"genmat:{maker}:{candidate.id}")),
            metadata={"id": candidate.id, "formula": candidate.formula},
        )
        for candidate in candidates
    ]
    names = ",".join(job.uuid for job in jobs)
    return Flow(jobs, name="genmat", uuid=str(uuid5(NAMESPACE_URL, f"genmat:{names}")))


def expand(structure: Structure, maker: str) -> Response:
    """The job: import the maker and let its workflow of the structure take this job's place.

    Raises:
        GenmatError: the maker is not installed here.
    """
    from jobflow import Response

    return Response(replace=_imported(maker)().make(structure))


@dataclass
class StaticMaker:
    """One single point with an ASE calculator, ``module:Class`` without arguments."""

    calculator: str = "ase.calculators.emt:EMT"

    def make(self, structure: Structure) -> Any:
        """The job of one structure (pymatgen)."""
        from jobflow import Job

        return Job(static, function_kwargs={"structure": structure, "calculator": self.calculator}, name="static")


def static(structure: Structure, calculator: str) -> dict[str, Any]:
    """Energy (eV/atom) and largest force (eV/Å) of a structure as it stands.

    Raises:
        GenmatError: partial occupancies, or no such calculator.
    """
    from genmat.data.write import to_atoms

    atoms = to_atoms(Candidate(structure.formula, "jobflow", None, structure))
    atoms.calc = _imported(calculator)()
    forces = atoms.get_forces()
    return {
        "formula": structure.composition.reduced_formula,
        "energy_per_atom": float(atoms.get_potential_energy()) / len(atoms),
        "max_force": float((forces**2).sum(axis=1).max() ** 0.5),
    }


def _imported(path: str) -> Any:
    module, name = path.split(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise GenmatError(f"{path}: cannot be imported ({error}); install it where the flow runs") from None
