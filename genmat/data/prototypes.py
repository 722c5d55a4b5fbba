"""Anonymous prototypes mined from known crystals: slots, an idealised geometry, its shells, who was seen where.

The geometry of a prototype is that of its most typical member, the one whose neighbour distances, relative to the
volume, are nearest to the median of the members': mean coordinates of crystals in different settings mean nothing.
A table of prototypes is one npz file; graphs are stored with it, so that reading one costs no search for neighbours.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genmat.crystal.composition import ATOMIC_NUMBER, ELEMENTS
from genmat.crystal.prototype import Protostructure, Site, from_arrays
from genmat.crystal.shells import RANKS, ShellGraph, shell_graph
from genmat.crystal.slots import closest_order, of_protostructure, prototype_key, read_key, read_label, slots
from genmat.data.template_start import mendeleev
from genmat.errors import GenmatError

if TYPE_CHECKING:
    import pandas as pd

SHIPPED = Path(__file__).parent / "data" / "prototypes.npz"
"""Prototypes of the training split of the Materials Project table, and of AFLOW's encyclopedia."""
MEMBERS = 6
"""Members of a prototype whose neighbour distances are compared: those nearest to the hull."""
SPHERE = 12  # neighbour distances compared
FAMILIES = 20
"""Columns of the periodic table, 1 to 18, lanthanides 19, actinides 20: bits of `Prototypes.seen`, from bit 0."""


@dataclass(frozen=True, eq=False)
class Prototypes:
    """A table of anonymous prototypes.

    Attributes:
        keys: of `genmat.crystal.slots.prototype_key`.
        geometries: the typical member's protostructure, elements and all.
        site_slots: of each, the slot of every site.
        elements: of each, atomic numbers by slot of the typical member.
        members: (P,) crystals it was seen in.
        seen: of each, by slot the families of elements seen there, as bits.
        origin: of each, where it comes from: ``mp`` or ``aflow``.
    """

    keys: list[str]
    geometries: list[Protostructure]
    site_slots: list[tuple[int, ...]]
    elements: list[tuple[int, ...]]
    members: np.ndarray
    seen: list[tuple[int, ...]]
    origin: list[str]
    _graphs: dict[int, ShellGraph] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.keys)

    @cached_property
    def place(self) -> dict[str, int]:
        """Row of each key."""
        return {key: i for i, key in enumerate(self.keys)}

    def graph(self, i: int) -> ShellGraph:
        """Shells of a prototype."""
        if i not in self._graphs:
            self._graphs[i] = shell_graph(self.geometries[i], self.site_slots[i])
        return self._graphs[i]

    def letters(self, i: int) -> tuple[str, ...]:
        """Wyckoff letters of each slot, canonical setting."""
        return read_key(self.keys[i])[1]

    def slot_atoms(self, i: int) -> np.ndarray:
        """Atoms of each slot in the primitive cell, (k,)."""
        return atoms_of(*read_key(self.keys[i]))


def atoms_of(spacegroup: int, letters: Sequence[str]) -> np.ndarray:
    """Atoms in the primitive cell of each group of Wyckoff letters, (k,)."""
    from genmat.crystal.wyckoff import space_group

    group = space_group(spacegroup)
    return np.array([sum(group.positions[w].multiplicity for w in ws) // group.centring_multiplicity for ws in letters])


def family(number: int) -> int:
    """Bit of an element's family, 0 to 19."""
    from pymatgen.core import Element

    element = Element.from_Z(number)
    return 18 if element.is_lanthanoid else 19 if element.is_actinoid else int(element.group) - 1


def placed(label: str, reference: Mapping[str, Sequence[int]] | None = None) -> tuple[str, tuple[int, ...]]:
    """Prototype key of a protostructure label, and its atomic numbers by slot.

    Args:
        label: with elements.
        reference: atomic numbers by slot of typical members, by key; decides between elements on equal letters.

    Raises:
        GenmatError: not such a label, too many elements.
    """
    group, letters, symbols = read_label(label)
    key = prototype_key(group, letters)
    order = order_for(group, letters, symbols, (reference or {}).get(key))
    return key, tuple(ATOMIC_NUMBER[symbols[e]] for e in order)


def order_for(
    group: int, letters: tuple[str, ...], symbols: Sequence[str], reference: Sequence[int] | None
) -> tuple[int, ...]:
    """Which element fills each slot: of the equivalent orders the one most like the reference's elements."""
    orders = slots(group, letters)[1]
    if reference is None:
        return min(orders, key=lambda p: [mendeleev(symbols[e]) for e in p])
    wanted = np.array([mendeleev(ELEMENTS[z - 1]) for z in reference])
    return closest_order(orders, wanted, np.array([mendeleev(s) for s in symbols]))


def mine(rows: pd.DataFrame, labels: Sequence[str], progress: Callable[[int, int], None] | None = None) -> Prototypes:
    """Prototypes of a table of crystals.

    Args:
        rows: columns lattice_parameters, species, frac_coords, e_above_hull.
        labels: protostructure label of each row, "" where there is none.
        progress: told how many prototypes are done, of how many.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for i, label in enumerate(labels):
        if label:
            try:
                group, letters, _ = read_label(label)
                members[prototype_key(group, letters)].append(i)
            except GenmatError:  # more elements than are worked out
                continue
    hull = rows.e_above_hull.fillna(np.inf).to_numpy()
    found = _empty()
    for done, key in enumerate(sorted(members)):
        typical = _typical(key, sorted(members[key], key=lambda i: (hull[i], i)), rows)
        if typical is not None:
            _add(found, key, typical, [labels[i] for i in members[key]], "mp")
        if progress is not None:
            progress(done + 1, len(members))
    return _table(found)


def with_aflow(known: Prototypes, max_atoms: int = 20) -> Prototypes:
    """The table, and the prototypes of AFLOW's encyclopedia in pymatgen that it lacks.

    (Mehl et al., Comput. Mater. Sci. 136, S1, 2017.)
    """
    from pymatgen.analysis.prototypes import AFLOW_PROTOTYPE_LIBRARY

    found = _empty()
    for entry in AFLOW_PROTOTYPE_LIBRARY:
        structure = entry["snl"].structure
        numbers = np.array([s.specie.Z for s in structure])
        try:
            proto = from_arrays(structure.lattice.matrix, structure.frac_coords, numbers)
            letters, _ = of_protostructure(proto)
            key = prototype_key(proto.spacegroup, letters)
        except GenmatError:
            continue
        if key not in known.place and key not in found["keys"] and proto.n_atoms <= max_atoms:
            _add(found, key, proto, [proto.label], "aflow")
    new = _table(found)
    return Prototypes(
        known.keys + new.keys,
        known.geometries + new.geometries,
        known.site_slots + new.site_slots,
        known.elements + new.elements,
        np.concatenate([known.members, new.members]),
        known.seen + new.seen,
        known.origin + new.origin,
        dict(known._graphs),
    )


def _empty() -> dict[str, list]:
    return {name: [] for name in ("keys", "geometries", "site_slots", "elements", "members", "seen", "origin")}


def _table(found: dict[str, list]) -> Prototypes:
    return Prototypes(**{**found, "members": np.array(found["members"], int)})


def _add(found: dict[str, list], key: str, proto: Protostructure, labels: list[str], origin: str) -> None:
    """One more prototype, with its typical member and the labels of all."""
    letters, symbols = of_protostructure(proto)
    order = slots(proto.spacegroup, letters)[1][0]
    slot_of = {symbols[e]: s for s, e in enumerate(order)}
    elements = tuple(ATOMIC_NUMBER[symbols[e]] for e in order)
    seen = [0] * len(order)
    for label in labels:
        for s, z in enumerate(placed(label, {key: elements})[1]):
            seen[s] |= 1 << family(z)
    row = (key, proto, tuple(slot_of[site.element] for site in proto.sites), elements, len(labels), tuple(seen), origin)
    for name, value in zip(found, row, strict=True):
        found[name].append(value)


def _typical(key: str, members: list[int], rows: pd.DataFrame) -> Protostructure | None:
    """The member most like the others, as a protostructure; None where no member can be read as this prototype."""
    some = [(i, *_arrays(rows.iloc[i])) for i in members[:MEMBERS]]
    if len(some) > 2:
        spheres = np.stack([sphere(matrix, coords) for _, matrix, coords, _ in some])  # (m, SPHERE)
        order = np.abs(spheres - np.median(spheres, 0)).sum(1).argsort(kind="stable")
        some = [some[i] for i in order]
    for _, matrix, coords, numbers in some:
        try:
            proto = from_arrays(matrix, coords, numbers)
            if prototype_key(proto.spacegroup, of_protostructure(proto)[0]) == key:
                return proto
        except GenmatError:
            continue
    return None


def _arrays(row: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lattice rows (Å), fractional coordinates and atomic numbers of a row of a table of crystals."""
    from pymatgen.core import Lattice

    matrix = Lattice.from_parameters(*row.lattice_parameters).matrix
    return matrix, np.stack(row.frac_coords), np.array([ATOMIC_NUMBER[s] for s in row.species])


def sphere(matrix: np.ndarray, coords: np.ndarray) -> np.ndarray:
    """Distances to the nearest neighbours over the edge of the volume per atom, means over atoms, (SPHERE,)."""
    edge = float(abs(np.linalg.det(matrix)) / len(coords)) ** (1 / 3)
    reach = np.minimum(np.ceil(2.2 * edge * np.linalg.norm(np.linalg.inv(matrix), axis=0)).astype(int), 6)
    grid = np.stack(np.meshgrid(*(np.arange(-m, m + 1) for m in reach), indexing="ij"), -1).reshape(-1, 3)
    points = (coords % 1.0) @ matrix
    images = (points[None] + (grid @ matrix)[:, None]).reshape(-1, 3)
    squares = (points**2).sum(1)[:, None] + (images**2).sum(1) - 2 * points @ images.T
    nearest = np.sqrt(np.maximum(np.partition(squares, SPHERE + 1, axis=1)[:, : SPHERE + 1], 0))
    return np.sort(nearest, axis=1)[:, 1:].mean(0) / edge


def save_prototypes(table: Prototypes, path: Path) -> None:
    """Write a table with the graphs of all its prototypes; half precision is enough for a distance relative to others.

    Geometries keep single precision.
    """
    graphs = [table.graph(i) for i in range(len(table))]
    triples = [np.argwhere(g.counts) for g in graphs]  # (E, 3) each
    flat = [g.counts[tuple(t.T)] for g, t in zip(graphs, triples, strict=True)]
    sites = [site for proto in table.geometries for site in proto.sites]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        np.savez_compressed(
            file,
            keys=np.array(json.dumps(table.keys, separators=(",", ":"))),
            groups=np.array([p.spacegroup for p in table.geometries], np.uint8),
            letters=np.array("".join(site.letter for site in sites)),
            n_sites=np.array([len(p.sites) for p in table.geometries], np.uint8),
            coords=np.array([c for site in sites for c in site.coords], np.float32),
            lattice=np.array([v for p in table.geometries for v in p.lattice], np.float32),
            site_slots=np.concatenate(table.site_slots).astype(np.uint8),
            elements=np.concatenate(table.elements).astype(np.uint8),
            seen=np.concatenate(table.seen).astype(np.uint32),
            members=table.members.astype(np.uint16),
            aflow=np.array([o == "aflow" for o in table.origin]),
            n_edges=np.array([len(t) for t in triples], np.uint16),
            edges=np.concatenate(triples).T.astype(np.uint8),
            counts=np.concatenate(flat).astype(np.uint8),
            distances=np.concatenate([g.distances for g in graphs]).astype(np.float16),
        )


def load_prototypes(path: Path | None = None) -> Prototypes:
    """Read a table; default the shipped one.

    Raises:
        GenmatError: no such file, or not such a table.
    """
    return _shipped() if path is None else _read(path)


@cache
def _shipped() -> Prototypes:
    return _read(SHIPPED)


def _read(path: Path) -> Prototypes:
    try:
        with np.load(path) as data:
            return _unpack(dict(data))
    except (OSError, KeyError, ValueError) as error:
        raise GenmatError(f"{path}: not a table of prototypes ({type(error).__name__}); see `genmat data`") from None


def _unpack(data: dict[str, np.ndarray]) -> Prototypes:
    """A table from the arrays of its file."""
    from genmat.crystal.shells import _orbits
    from genmat.crystal.wyckoff import space_group

    keys, letters = json.loads(str(data["keys"])), str(data["letters"])
    coords, lattice = data["coords"].tolist(), data["lattice"].tolist()
    site, coord, cell, slot, edge = 0, 0, 0, 0, 0
    found, graphs = _empty(), {}
    for i, key in enumerate(keys):
        group, n = space_group(int(data["groups"][i])), int(data["n_sites"][i])
        k = key.count("_") + 1
        numbers = tuple(data["elements"][slot : slot + k].tolist())
        site_slots = tuple(data["site_slots"][site : site + n].tolist())
        sites = []
        for s, letter in zip(site_slots, letters[site : site + n], strict=True):
            dof = group.positions[letter].dof
            sites.append(Site(ELEMENTS[numbers[s] - 1], letter, tuple(coords[coord : coord + dof])))
            coord += dof
        size = len(group.free_lattice)
        proto = Protostructure(group.number, tuple(sites), tuple(lattice[cell : cell + size]))
        counts = np.zeros((n, n, RANKS), np.uint8)
        part = slice(edge, edge + int(data["n_edges"][i]))
        counts[tuple(data["edges"][:, part])] = data["counts"][part]
        nodes = _orbits(group.number, list(zip(site_slots, letters[site : site + n], strict=True)))
        graphs[i] = ShellGraph(group.number, *nodes, counts, data["distances"][site : site + n].astype(np.float32))
        seen = tuple(data["seen"][slot : slot + k].tolist())
        origin = "aflow" if data["aflow"][i] else "mp"
        for name, value in zip(
            found, (key, proto, site_slots, numbers, int(data["members"][i]), seen, origin), strict=True
        ):
            found[name].append(value)
        site, cell, slot, edge = site + n, cell + size, slot + k, part.stop
    table = _table(found)
    table._graphs.update(graphs)
    return table
