"""What the engines of this package share: batches, and the way from bond vectors' slopes to forces and virials.

Energies are sums over sites and functions of bond vectors alone, so that one backward pass to those vectors gives
forces and stress.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
import torch

from genmat.screening.potentials.base import Evaluation

if TYPE_CHECKING:
    from pymatgen.core import Structure

FEW_ROWS = 4  # matrix products of fewer rows take another path in the library, and round differently
Item = TypeVar("Item")
Part = tuple[np.ndarray, list[np.ndarray], np.ndarray]
"""Of one batch: (crystals,) eV, forces (n_atoms, 3) eV/Å of each, (crystals, 3, 3) dE/dstrain in eV."""


class Graph(Protocol):
    """Bonds of several crystals side by side; see `genmat.screening.potentials.neighbours.CrystalGraph`."""

    owner: Any
    n_atoms: Any
    first: Any
    second: Any
    vectors: Any


def evaluate_in_batches(
    structures: Sequence[Structure],
    graphs: Sequence[Item],
    size: Callable[[Item], int],
    most: int,
    evaluate: Callable[[list[Item]], Part],
    gradients: bool,
) -> Evaluation:
    """Evaluate the graphs of crystals, as many together as hold ``most`` sites by ``size``: eV, eV/Å, eV/Å³."""
    energies = np.zeros(len(graphs))
    forces: list[np.ndarray] = []
    stresses = np.zeros((len(graphs) if gradients else 0, 3, 3))
    done = 0
    for batch in batches(graphs, size, most):
        span = slice(done, done + len(batch))
        energies[span], force, virial = evaluate(batch)
        if gradients:
            volumes = np.array([s.volume for s in structures[span]])
            forces.extend(force)
            stresses[span] = virial / volumes[:, None, None]
        done += len(batch)
    return Evaluation(energies, forces, stresses)


def batches(items: Sequence[Item], size: Callable[[Item], int], most: int) -> Iterator[list[Item]]:
    """Neighbours in the sequence together, as long as their sizes sum up to at most ``most``; large ones alone."""
    batch: list[Item] = []
    total = 0
    for item in items:
        if batch and total + size(item) > most:
            yield batch
            batch, total = [], 0
        batch.append(item)
        total += size(item)
    if batch:
        yield batch


def evaluate_batch(
    graph: Graph, sites: np.ndarray, site_energies: Callable[[torch.Tensor], torch.Tensor], device: Any, gradients: bool
) -> Part:
    """Energies of a collated graph and, by one backward pass, forces and virials.

    Args:
        graph: crystals side by side.
        sites: (n_sites,) atom each energy belongs to.
        site_energies: (n_bonds, 3) Å -> (n_sites,) eV.
        device: to evaluate on.
        gradients: False leaves forces and virials out.
    """
    with one_thread(), torch.set_grad_enabled(gradients):
        vectors = torch.tensor(graph.vectors, dtype=torch.float32, device=device, requires_grad=gradients)
        energy = site_energies(vectors)
        slope = None
        if gradients and len(vectors):
            slope = torch.autograd.grad(energy.sum(), vectors)[0].double().cpu().numpy()
    n = len(graph.n_atoms)
    energies = np.bincount(graph.owner[sites], energy.detach().double().cpu().numpy(), minlength=n)
    if not gradients:
        return energies, [], np.zeros((0, 3, 3))
    force, virial = np.zeros((len(graph.owner), 3)), np.zeros((n, 3, 3))
    if slope is not None:
        owner = graph.owner[graph.first]
        for axis in range(3):  # a bond vector is position(first) - position(second)
            force[:, axis] -= np.bincount(graph.first, slope[:, axis], minlength=len(force))
            force[:, axis] += np.bincount(graph.second, slope[:, axis], minlength=len(force))
        for a in range(3):
            for b in range(3):
                virial[:, a, b] = np.bincount(owner, graph.vectors[:, a] * slope[:, b], minlength=n)
    virial = (virial + virial.transpose(0, 2, 1)) / 2
    return energies, np.split(force, np.cumsum(graph.n_atoms)[:-1]), virial


def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """(rows, in) @ (in, out) + (out,); on a CPU every row is the same, bit for bit, whatever the number of rows."""
    rows = len(x)
    if rows < FEW_ROWS:
        x = torch.nn.functional.pad(x, (0, 0, 0, FEW_ROWS - rows))
    made = x @ weight if bias is None else torch.addmm(bias, x, weight)
    return made[:rows] if rows < FEW_ROWS else made


@contextmanager
def one_thread() -> Iterator[None]:
    """One torch thread: several make these small kernels slower, and results must not depend on the machine's load."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def pick_device() -> torch.device:
    """The first GPU where torch sees one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
