"""M3GNet from weights saved by matgl, evaluated by a lean batched engine; matgl itself is not needed.

Energies of M3GNet-MP are those of PBE/PBE+U calculations without corrections (Chen, Ong, Nat. Comput. Sci. 2, 718,
2022): `M3GNetPotential.correction` tells what the MP2020 scheme adds. MatPES models are plain PBE (Kaplan et al.,
arXiv:2503.04070), another level of theory with references of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from genmat.screening.potentials.base import Evaluation
from genmat.screening.potentials.corrections import mp2020
from genmat.screening.potentials.m3gnet_model import prepare_weights, site_energies
from genmat.screening.potentials.pairs import PairGraph, evaluate_pairs
from genmat.screening.potentials.weights import Known, find_weights, prepare

if TYPE_CHECKING:
    from pymatgen.core import Structure

DEFAULT = "M3GNet-MP-2021.2.8-PES"
REQUIRED = {
    "rbf_type": "SphericalBessel",
    "max_n": 3,
    "max_l": 3,
    "use_phi": False,
    "is_intensive": False,
    "include_state": False,
    "task_type": "regression",
    "activation_type": "swish",
    "dim_node_embedding": 64,
    "dim_edge_embedding": 64,
    "ntargets": 1,
}
KNOWN = {
    "a9aa723705bd1a242ec8749332f137811c4a94e17995a564f8f94a9aca68061b": Known(
        version="MP-2021.2.8-PES",
        functional="PBE/PBE+U, uncorrected",
        target=True,
        mp2020=True,
        golden={"NaCl": -3.3675, "Si": -5.4188, "Fe": -8.4761, "SrTiO3": -8.0285, "LiFePO4": -6.8004, "MoS2": -7.2066},
    ),
    "9f710eac88ec2c666c8e488883c59768cf11c116f177e9d82896ae56f3fc338d": Known(
        version="MatPES-PBE-v2025.1-PES",
        functional="PBE",
        target=True,
        golden={"NaCl": -3.3686, "Si": -4.8776, "Fe": -8.2577, "SrTiO3": -7.9886, "LiFePO4": -6.9739, "MoS2": -7.1890},
    ),
}


class M3GNetPotential:
    """Energies, forces and stresses of M3GNet, equal to matgl's own (in the weights' convention) to rounding.

    Args:
        path: folder with ``model.json`` and ``state.pt``, or the name of published weights.

    Raises:
        GenmatError: no such folder, or not an M3GNet this engine can evaluate.
    """

    name = "m3gnet"
    batch_atoms = 64
    weights_from_anywhere = True  # unknown ones are tried on a few compounds before use
    takes_orbits = True  # `evaluate` may be told which atoms are equivalent
    in_flight = 8  # crystals a relaxation keeps together: not a bit of any result depends on the others

    def __init__(self, path: str | None = None) -> None:
        folder = find_weights(self.name, path, DEFAULT)
        found = prepare(self.name, "M3GNet", folder, REQUIRED, KNOWN, prepare_weights)
        self._path, self._weights, self.rows = found.path, found.tensors, found.rows
        self.device, self.info = found.device, found.info
        self._mp2020 = found.mp2020
        self.cutoff = float(found.options["cutoff"])
        self.inner_cutoff = float(found.options["threebody_cutoff"])

    def __reduce__(self) -> tuple:
        """Workers read the file themselves."""
        return type(self), (self._path,)

    def correction(self, structure: Structure) -> float:
        """What its energies of this crystal need before they meet corrected ones, eV/atom: MP2020 for M3GNet-MP."""
        return mp2020(structure) if self._mp2020 else 0.0

    def site_energies(self, graph: PairGraph, vectors: torch.Tensor) -> torch.Tensor:
        """(n_bonds, 3) Å -> (n_sites,) eV."""
        return site_energies(self._weights, graph, vectors)

    def evaluate(
        self,
        structures: Sequence[Structure],
        *,
        gradients: bool = True,
        orbits: Sequence[np.ndarray | None] | None = None,
    ) -> Evaluation:
        """Evaluate ordered crystals of any size: eV, eV/Å, eV/Å³; ``gradients=False`` returns energies alone.

        Args:
            structures: the crystals.
            gradients: forces and stresses too.
            orbits: labels of equivalent atoms per crystal, which make it cheaper in proportion; see
                `genmat.screening.potentials.pairs.evaluate_pairs` for what the forces then mean.

        Raises:
            GenmatError: disordered sites or elements the model does not know.
        """
        return evaluate_pairs(self, structures, gradients, orbits)
