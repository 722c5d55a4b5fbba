"""TensorNet from weights saved by matgl, evaluated by a lean batched engine; matgl itself is not needed.

The MatPES models are plain PBE without Hubbard U or corrections (Kaplan et al., arXiv:2503.04070): another level of
theory than the Materials Project's, with references of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from genmat.screening.potentials.base import Evaluation
from genmat.screening.potentials.pairs import PairGraph, evaluate_pairs
from genmat.screening.potentials.tensornet_model import prepare_weights, site_energies
from genmat.screening.potentials.weights import Known, find_weights, prepare

if TYPE_CHECKING:
    from pymatgen.core import Structure

DEFAULT = "TensorNet-MatPES-PBE-v2025.1-PES"
REQUIRED = {
    "rbf_type": "SphericalBessel",
    "use_smooth": True,
    "equivariance_invariance_group": "O(3)",
    "is_intensive": False,
    "include_state": False,
    "task_type": "regression",
    "activation_type": "swish",
    "ntargets": 1,
}
KNOWN = {
    "d2dfa51a65d23a47fd935eb0628177d2a1088584562091ef3350ce3a002fce6a": Known(
        version="MatPES-PBE-v2025.1-PES",
        functional="PBE",
        target=True,
        golden={"NaCl": -3.3576, "Si": -5.2439, "Fe": -8.1997, "SrTiO3": -7.9611, "LiFePO4": -6.9779, "MoS2": -7.2175},
    ),
}


class TensorNetPotential:
    """Energies, forces and stresses of TensorNet, equal to matgl's own (in the weights' convention) to rounding.

    Args:
        path: folder with ``model.json`` and ``state.pt``, or the name of published weights.

    Raises:
        GenmatError: no such folder, or not an TensorNet this engine can evaluate.
    """

    name = "tensornet"
    batch_atoms = 64
    weights_from_anywhere = True  # unknown ones are tried on a few compounds before use

    def __init__(self, path: str | None = None) -> None:
        folder = find_weights(self.name, path, DEFAULT)
        found = prepare(self.name, "TensorNet", folder, REQUIRED, KNOWN, prepare_weights)
        self._path, self._weights, self.rows = found.path, found.tensors, found.rows
        self.device, self.info = found.device, found.info
        self.cutoff = float(found.options["cutoff"])
        self.inner_cutoff = 0.0  # no bond is told from others

    def __reduce__(self) -> tuple:
        """Workers read the file themselves."""
        return type(self), (self._path,)

    def site_energies(self, graph: PairGraph, vectors: torch.Tensor) -> torch.Tensor:
        """(n_bonds, 3) Å -> (n_atoms,) eV."""
        return site_energies(self._weights, graph, vectors)

    def evaluate(self, structures: Sequence[Structure], *, gradients: bool = True) -> Evaluation:
        """Evaluate ordered crystals of any size: eV, eV/Å, eV/Å³; ``gradients=False`` returns energies alone.

        Raises:
            GenmatError: disordered sites or elements the model does not know.
        """
        return evaluate_pairs(self, structures, gradients)
