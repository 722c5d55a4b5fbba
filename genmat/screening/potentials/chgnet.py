"""CHGNet from the weights inside the `chgnet` package, evaluated by a lean batched engine.

The package carries three checkpoints: 0.3.0 (the default), its forerunner 0.2.0, and one transferred to r2SCAN
(Huang et al., npj Comput. Mater. 11, 2025). Energies of the first two are on the Materials Project scale: PBE/PBE+U
with the MP2020 corrections already learnt (Deng et al., Nat. Mach. Intell. 5, 1031, 2023), never to be corrected a
second time. Energies of different checkpoints are different sources and are never mixed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from genmat.errors import GenmatError, did_you_mean
from genmat.screening.potentials.base import Evaluation, PotentialInfo
from genmat.screening.potentials.chgnet_model import Shape, prepare_weights, site_energies
from genmat.screening.potentials.engine import Part, evaluate_batch, evaluate_in_batches
from genmat.screening.potentials.neighbours import CrystalGraph, collate, crystal_graph, half_list

if TYPE_CHECKING:
    from pymatgen.core import Structure

BATCH_ATOMS = 128  # larger batches leave the cache and are slower on a CPU

# MPtrj holds 89 elements: no Po, At, Rn, Fr, Ra (Deng et al. 2023, fig. 3)
_UNSEEN = {"Po", "At", "Rn", "Fr", "Ra"}

MP2020 = "PBE/PBE+U with MP2020 corrections"


@dataclass(frozen=True)
class Checkpoint:
    """One set of weights in the `chgnet` package.

    Args:
        file: below ``chgnet/pretrained``.
        sha256: of the file.
        functional: level of theory of the energies.
        golden: eV/atom by `chgnet.model.CHGNet.predict_structure` of chgnet 0.4.2 on the built-in crystals.
        shape: of the network.
    """

    file: str
    sha256: str
    functional: str
    golden: dict[str, float]
    shape: Shape = field(default_factory=Shape)


CHECKPOINTS = {
    "0.3.0": Checkpoint(
        "0.3.0/chgnet_0.3.0_e29f68s314m37.pth.tar",
        "d14ab7c0f093efe64b60a7bcd540bca10e74fb7f46c86108a079af60524659d1",
        MP2020,
        {"NaCl": -3.668, "Si": -5.3138, "Fe": -8.3565, "SrTiO3": -8.4236, "LiFePO4": -7.5252, "MoS2": -7.5284},
    ),
    "0.2.0": Checkpoint(
        "0.2.0/chgnet_0.2.0_e30f77s348m32.pth.tar",
        "ef624f78b6db9d315b4ef256f1bb3207449924191b91720dc17d3f60c5df980e",
        MP2020,
        {"NaCl": -3.6881, "Si": -5.3726, "Fe": -8.3954, "SrTiO3": -8.4266, "LiFePO4": -7.5274, "MoS2": -7.5302},
        Shape(cutoff=5.0, envelope=5, readout=(0, 2, 5)),
    ),
    "r2scan": Checkpoint(
        "r2scan/chgnet_r2scan_transfer_learning_e15f36s161m23.pth.tar",
        "8eba3db0f35a2788bb3ae22885ad340591e27996f213c6643af522a633b50dad",
        "r2SCAN",
        {"NaCl": -6.8659, "Si": -8.7324, "Fe": -14.4302, "SrTiO3": -12.6343, "LiFePO4": -9.3437, "MoS2": -14.9921},
    ),
}


class CHGNetPotential:
    """Energies, forces and stresses of CHGNet, equal to ``chgnet``'s own to rounding.

    Args:
        version: one of `CHECKPOINTS`.

    Raises:
        GenmatError: no such version, or the package's file is missing or another one.
    """

    in_flight = 8  # crystals a relaxation keeps together: 1.25 times faster, and not a bit of any result changes

    def __init__(self, version: str = "0.3.0") -> None:
        from pymatgen.core.periodic_table import Element

        if version not in CHECKPOINTS:
            raise GenmatError(did_you_mean(version, CHECKPOINTS, "CHGNet checkpoint"))
        checkpoint = CHECKPOINTS[version]
        self._weights, self._shape = _load_weights(version), checkpoint.shape
        self.info = PotentialInfo(
            name="chgnet",
            version=version,
            functional=checkpoint.functional,
            licence="BSD-3-Clause (modified)",
            elements=frozenset(Element.from_Z(z).symbol for z in range(1, 95)) - _UNSEEN,
            stress_unit="GPa",
            golden=checkpoint.golden,
        )

    def evaluate(self, structures: Sequence[Structure], *, gradients: bool = True) -> Evaluation:
        """Evaluate crystals in batches of about 128 atoms.

        Args:
            structures: ordered crystals of any size.
            gradients: False returns energies alone, at less than half the cost.

        Returns:
            `Evaluation` in eV, eV/Å, eV/Å³.

        Raises:
            GenmatError: a species is disordered or beyond Z = 94.
        """
        graphs = [_graph(s, self._shape.cutoff) for s in structures]

        def evaluate(batch: list[CrystalGraph]) -> Part:
            graph = collate(batch)
            every = np.arange(len(graph.species))
            return evaluate_batch(
                graph, every, lambda v: site_energies(self._weights, graph, v, self._shape), "cpu", gradients
            )

        return evaluate_in_batches(structures, graphs, lambda g: len(g.species), BATCH_ATOMS, evaluate, gradients)


def _graph(structure: Structure, cutoff: float) -> CrystalGraph:
    try:
        numbers = np.array([site.specie.Z for site in structure])
    except AttributeError:
        raise GenmatError(f"{structure.formula}: disordered sites have no CHGNet energy; order the structure") from None
    if numbers.max(initial=0) > 94:
        raise GenmatError(f"{structure.formula}: CHGNet knows elements up to Pu; remove the structure")
    positions, lattice = structure.cart_coords, structure.lattice.matrix
    return crystal_graph(numbers, positions, lattice, half_list(positions, lattice, cutoff), cutoff)


@lru_cache(maxsize=len(CHECKPOINTS))
def _load_weights(version: str) -> dict[str, torch.Tensor]:
    """The wheel's own checkpoint, refused unless its hash is the known one."""
    checkpoint = CHECKPOINTS[version]
    spec = find_spec("chgnet")
    if spec is None or not spec.submodule_search_locations:
        raise GenmatError("chgnet: the package is not installed; run `pip install chgnet`")
    path = Path(next(iter(spec.submodule_search_locations))) / "pretrained" / checkpoint.file
    if not path.is_file():
        raise GenmatError(f"{path.name}: missing from the chgnet package; install chgnet>=0.4,<0.5")
    if hashlib.sha256(path.read_bytes()).hexdigest() != checkpoint.sha256:
        raise GenmatError(f"{path.name}: not the published CHGNet {version} weights; reinstall chgnet")
    state = torch.load(path, map_location="cpu", weights_only=True)["model"]["state_dict"]
    return prepare_weights(state, checkpoint.shape)
