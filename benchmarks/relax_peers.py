"""The other engines of `relax.py`: ASE with chgnet's and matgl's own code, and torch-sim."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "screening"))


def chgnet_fire(_: Path, fmax: float, max_steps: int, stack: ExitStack):
    """chgnet's StructOptimizer, as its documentation says."""
    from chgnet.model import CHGNet, StructOptimizer

    optimizer = StructOptimizer(model=CHGNet.load(use_device="cpu", verbose=False), use_device="cpu")

    def relax(structures: list) -> list[dict]:
        made = []
        for structure in structures:
            found = optimizer.relax(structure, fmax=fmax, steps=max_steps, verbose=False)
            energies = found["trajectory"].energies
            row = {"energy": float(energies[-1]) / len(structure), "steps": len(energies)}
            made.append(row | {"converged": len(energies) <= max_steps, "end": found["final_structure"]})
        return made

    return relax


def m3gnet_fire(folder: Path, fmax: float, max_steps: int, stack: ExitStack):
    """matgl's PESCalculator in ASE, its weights in the convention they were trained in while `stack` is open."""
    from matgl.ext.ase import PESCalculator
    from matgl_oracle import matgl_potential

    calculator = PESCalculator(stack.enter_context(matgl_potential(folder)), stress_unit="eV/A3")
    return lambda structures: [_fire(structure, calculator, fmax, max_steps) for structure in structures]


def _fire(structure, calculator, fmax: float, max_steps: int) -> dict:
    from ase.filters import FrechetCellFilter
    from ase.optimize import FIRE
    from pymatgen.io.ase import AseAtomsAdaptor

    atoms = AseAtomsAdaptor.get_atoms(structure, msonable=False)
    atoms.calc = calculator
    optimizer = FIRE(FrechetCellFilter(atoms), logfile=None)
    converged = bool(optimizer.run(fmax=fmax, steps=max_steps))
    energy = float(atoms.get_potential_energy()) / len(atoms)
    end = AseAtomsAdaptor.get_structure(atoms)
    return {"energy": energy, "steps": optimizer.nsteps + 1, "converged": converged, "end": end}


def tightened(structure, potential) -> tuple[float, int]:
    """eV/atom and steps where ASE's FIRE ends at 0.005 eV/Å; the same weights through genmat's faster engine."""
    from ase.calculators.calculator import Calculator, all_changes
    from pymatgen.io.ase import AseAtomsAdaptor

    class Engine(Calculator):
        implemented_properties = ("energy", "forces", "stress")

        def calculate(self, atoms=None, properties=None, system_changes=all_changes):
            super().calculate(atoms, properties, system_changes)
            made = potential.evaluate([AseAtomsAdaptor.get_structure(self.atoms)])
            s = made.stresses[0]
            stress = np.array([s[0, 0], s[1, 1], s[2, 2], s[1, 2], s[0, 2], s[0, 1]])
            self.results = {"energy": made.energies[0], "forces": made.forces[0], "stress": stress}

    found = _fire(structure, Engine(), 0.005, 1000)
    return found["energy"], found["steps"]


class FireTorchSim:
    """torch-sim's FIRE with cell, all crystals of a group in flight; the converged leave every five steps."""

    def __init__(self, potential, fmax: float, max_steps: int) -> None:
        self.potential, self.fmax, self.max_steps = potential, fmax, max_steps
        self.counts: dict[str, int] = {}

    def __call__(self, structures: list) -> list[dict]:
        """Relax a group."""
        import torch
        import torch_sim as ts

        model = _torch_sim_model(self.potential)
        batcher = ts.InFlightAutoBatcher(model, max_memory_scaler=1e9, memory_scales_with="n_atoms")
        state = ts.optimize(
            system=structures,
            model=model,
            optimizer=ts.frechet_cell_fire,
            convergence_fn=ts.generate_force_convergence_fn(self.fmax),
            max_steps=self.max_steps,
            autobatcher=batcher,
        )
        energies = state.energy.detach().cpu().numpy()
        sizes = np.array([len(s) for s in structures])
        converged = ts.generate_force_convergence_fn(self.fmax)(state, None)
        evaluated = model.evaluated / len(structures)
        return [
            {"energy": float(e) / int(n), "steps": evaluated, "converged": bool(c)}
            for e, n, c in zip(energies, sizes, torch.atleast_1d(converged), strict=True)
        ]


def _torch_sim_model(potential):
    """genmat's potential behind torch-sim's model interface."""
    import torch
    from pymatgen.core import Element, Lattice, Structure
    from torch_sim.models.interface import ModelInterface

    class Model(ModelInterface):
        _device, _dtype = torch.device("cpu"), torch.float64
        _compute_stress = _compute_forces = True

        def __init__(self) -> None:
            super().__init__()
            self.evaluated = 0

        def forward(self, state, **_):
            cells = state.cell.transpose(1, 2).numpy()  # torch-sim keeps columns
            positions, owner = state.positions.detach().numpy(), state.system_idx.numpy()
            species = [Element.from_Z(int(z)) for z in state.atomic_numbers]
            crystals = []
            for i, cell in enumerate(cells):
                mine = np.flatnonzero(owner == i)
                atoms = [species[k] for k in mine]
                crystals.append(Structure(Lattice(cell), atoms, positions[mine], coords_are_cartesian=True))
            self.evaluated += len(crystals)
            made = potential.evaluate(crystals)
            return {
                "energy": torch.tensor(made.energies),
                "forces": torch.tensor(np.concatenate(made.forces)),
                "stress": torch.tensor(made.stresses),
            }

    return Model()
