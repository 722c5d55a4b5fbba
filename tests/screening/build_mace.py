"""Run by an interpreter that has MACE: fresh small models, what mace itself says about crystals, and hostile files."""

import json
import os
import sys
from pathlib import Path

import mace  # before e3nn
import numpy as np
import torch
from e3nn import o3
from mace import modules

ELEMENTS = [6, 8, 11, 17, 29]


def build(dtype: torch.dtype) -> torch.nn.Module:
    """A ScaleShiftMACE for C, O, Na, Cl and Cu with random weights."""
    torch.manual_seed(0)
    torch.set_default_dtype(dtype)
    block = modules.interaction_classes["RealAgnosticResidualInteractionBlock"]
    return modules.ScaleShiftMACE(
        r_max=5.0,
        num_bessel=8,
        num_polynomial_cutoff=5,
        max_ell=2,
        interaction_cls=block,
        interaction_cls_first=block,
        num_interactions=2,
        num_elements=len(ELEMENTS),
        hidden_irreps=o3.Irreps("8x0e+8x1o"),
        MLP_irreps=o3.Irreps("8x0e"),
        gate=torch.nn.functional.silu,
        atomic_energies=-np.arange(1.0, len(ELEMENTS) + 1),
        avg_num_neighbors=20.0,
        atomic_numbers=ELEMENTS,
        correlation=2,
        radial_type="bessel",
        atomic_inter_scale=1.0,
        atomic_inter_shift=0.0,
        radial_MLP=[16, 16],
    )


class Bomb:
    """Runs a command where it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def trapped(marker: Path) -> torch.nn.Module:
    """A traced module, which pickles as source code, whose code does more than it should."""
    module = torch.fx.symbolic_trace(torch.nn.ReLU())
    module._code = f"\n\n\ndef forward(self, input):\n    open({str(marker)!r}, 'w')\n    return input\n"
    module.__class__.__reduce__ = lambda self: (
        torch.fx.graph_module.reduce_graph_module,
        ({**self.__dict__, "_code": module._code, "_graph": None}, ""),
    )
    return module


def oracle(model: torch.nn.Module, crystals: list) -> list:
    """Energy, forces and stress of mace's own ASE calculator (eV, eV/Å, eV/Å³)."""
    from ase import Atoms
    from mace.calculators import MACECalculator

    calculator = MACECalculator(models=[model], device="cpu", default_dtype="float64")
    made = []
    for crystal in crystals:
        atoms = Atoms(crystal["species"], cell=crystal["cell"], scaled_positions=crystal["coords"], pbc=True)
        atoms.calc = calculator
        made.append([atoms.get_potential_energy(), atoms.get_forces().tolist(), atoms.get_stress(voigt=False).tolist()])
    return made


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    assert mace.__version__
    torch.save(build(torch.float32), folder / "single.model")
    double = build(torch.float64)
    torch.save(double, folder / "double.model")
    torch.save(Bomb(folder / "bomb-ran"), folder / "bomb.model")
    torch.save(trapped(folder / "trap-ran"), folder / "trap.model")
    torch.save(torch.nn.Linear(2, 2), folder / "linear.model")
    (folder / "text.model").write_text("no model at all")
    crystals = json.loads((folder / "crystals.json").read_text())
    (folder / "oracle.json").write_text(json.dumps(oracle(double, crystals)))
