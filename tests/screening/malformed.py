"""Malformed structures, seeded: everything that a careless file, script or model may hand to a screening.

`objects` gives pymatgen structures, `texts` gives broken CIF, JSONL, CSV and extxyz entries. A few sound crystals are
among them, so that nobody passes by failing everything.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
from pymatgen.core import DummySpecies, Element, Lattice, Species, Structure

from genmat.screening.potentials.golden import golden_crystal

BASES = ("NaCl", "Si", "Fe", "SrTiO3", "MoS2", "Cu")
SYMBOLS = tuple(Element.from_Z(z).symbol for z in range(1, 95))
Maker = Callable[[np.random.Generator], Structure]


@cache
def _primitive(name: str) -> Structure:
    return golden_crystal(name).get_primitive_structure()


def base(rng: np.random.Generator) -> Structure:
    """A sound crystal of a few atoms, a little displaced."""
    crystal = _primitive(str(rng.choice(BASES))).copy()
    crystal.perturb(0.02, seed=int(rng.integers(2**31)))
    return crystal


def _random(rng: np.random.Generator, n: int, volume: float, symbols=SYMBOLS) -> Structure:
    """Atoms anywhere in a random cell of so many Å³ each."""
    lattice = np.eye(3) + rng.normal(scale=0.2, size=(3, 3))
    lattice *= (n * volume / abs(np.linalg.det(lattice))) ** (1 / 3)
    species = [str(s) for s in rng.choice(symbols, size=min(n, 3))]
    return Structure(Lattice(lattice), [species[i % len(species)] for i in range(n)], rng.random((n, 3)))


def _overlap(rng):
    crystal = base(rng)
    crystal.append(crystal[0].specie, crystal[0].frac_coords + rng.normal(scale=0.01, size=3))
    return crystal


def _coincident(rng):
    crystal = base(rng)
    for _ in range(int(rng.integers(1, 8))):
        crystal.append(crystal[0].specie, crystal[0].frac_coords)
    return crystal


def _scaled(low: float, high: float) -> Maker:
    """Lengths times something between ``low`` and ``high``, drawn logarithmically."""

    def make(rng):
        crystal = base(rng)
        factor = np.exp(rng.uniform(np.log(low), np.log(high)))
        return Structure(Lattice(crystal.lattice.matrix * factor), crystal.species, crystal.frac_coords)

    return make


def _changed(change: Callable[[np.random.Generator, np.ndarray, np.ndarray], None]) -> Maker:
    """A sound crystal whose lattice (rows, Å) or fractional coordinates were overwritten."""

    def make(rng):
        crystal = base(rng)
        lattice, coords = np.array(crystal.lattice.matrix), np.array(crystal.frac_coords)
        change(rng, lattice, coords)
        crystal._lattice = Lattice(lattice)
        return Structure(Lattice(lattice), crystal.species, coords)

    return make


def _poke(value: float, where: str):
    def change(rng, lattice, coords):
        target = lattice if where == "lattice" else coords
        target[int(rng.integers(len(target))), int(rng.integers(3))] = value

    return _changed(change)


def _skew(rng, lattice, coords):
    lattice[0] += lattice[1] * rng.integers(5, 3000) + lattice[2] * rng.integers(0, 300)


def _flat(rng, lattice, coords):
    lattice[2] = lattice[0] + lattice[1] + lattice[2] * 10.0 ** rng.uniform(-5, -1)


def _collinear(rng, lattice, coords):
    lattice[1] = lattice[0] * rng.uniform(0.5, 2)


def _left(rng, lattice, coords):
    lattice[0] *= -1


def _far(rng, lattice, coords):
    coords += 10.0 ** rng.uniform(3, 12) * rng.choice([-1, 1], size=coords.shape)


def _species(choose: Callable[[np.random.Generator], object]) -> Maker:
    def make(rng):
        crystal = base(rng)
        crystal[int(rng.integers(len(crystal)))] = choose(rng)
        return crystal

    return make


def _needle(rng):
    crystal = base(rng)
    lattice = np.array(crystal.lattice.matrix)
    lattice[2] *= rng.uniform(5, 90)
    return Structure(Lattice(lattice), crystal.species, crystal.frac_coords)


def _cluster(rng):
    """Many atoms in a corner of a large cell: fine on average, absurd where they are."""
    n, box = int(rng.integers(20, 180)), rng.uniform(15, 60)
    spread = rng.uniform(0.5, 4.0)
    return Structure(Lattice.cubic(box), [str(rng.choice(SYMBOLS))] * n, rng.random((n, 3)) * spread / box)


def _large(rng):
    crystal = golden_crystal(str(rng.choice(BASES)))
    times = int(np.ceil((rng.integers(300, 700) / len(crystal)) ** (1 / 3)))
    crystal = crystal * (times, times, times)
    crystal.perturb(0.3, seed=int(rng.integers(2**31)))
    return crystal


def _alone(rng):
    return Structure(Lattice.cubic(rng.uniform(2, 40)), [str(rng.choice(SYMBOLS))], [[0, 0, 0]])


def _empty(rng):
    return Structure(Lattice.cubic(rng.uniform(1, 9)), [], [])


def _mixed(rng):
    share = rng.uniform(0.1, 0.9)
    return {"Fe": share, "Ni": 1 - share} if rng.random() < 0.5 else {"Fe": share}


OBJECTS: dict[str, Maker] = {
    "sound": base,
    "overlapping atoms": _overlap,
    "coincident atoms": _coincident,
    "cell of 1e3 to 1e6 Å": _scaled(300, 3e5),
    "tiny cell": _scaled(1e-4, 0.5),
    "compressed to 0.2 of the volume": _scaled(0.55, 0.65),
    "stretched": _scaled(1.3, 4.0),
    "dummy species": _species(lambda rng: DummySpecies(str(rng.choice(["X", "Xa", "Q"])), 0)),
    "deuterium": _species(lambda rng: str(rng.choice(["D", "T"]))),
    "element nobody knows": _species(lambda rng: str(rng.choice(["Og", "Lr", "Fm", "Po", "Rn", "Fr"]))),
    "oxidation states": _species(lambda rng: Species(str(rng.choice(["Fe", "O", "Na"])), int(rng.integers(-4, 8)))),
    "disordered site": _species(_mixed),
    "noble gas": _species(lambda rng: str(rng.choice(["He", "Ne", "Ar", "Kr", "Xe"]))),
    "NaN coordinate": _poke(np.nan, "coords"),
    "infinite coordinate": _poke(np.inf, "coords"),
    "NaN lattice": _poke(np.nan, "lattice"),
    "infinite lattice": _poke(-np.inf, "lattice"),
    "coordinates of 1e9": _changed(_far),
    "no volume": _changed(_collinear),
    "left-handed lattice": _changed(_left),
    "skewed lattice": _changed(_skew),
    "flat lattice": _changed(_flat),
    "needle": _needle,
    "atom in a vacuum": _alone,
    "cluster in a vacuum": _cluster,
    "random atoms, dense": lambda rng: _random(rng, int(rng.integers(2, 30)), rng.uniform(1, 8)),
    "random atoms": lambda rng: _random(rng, int(rng.integers(1, 12)), rng.uniform(8, 60)),
    "hydrogen": lambda rng: _random(rng, int(rng.integers(1, 12)), rng.uniform(1.5, 20), ("H", "He", "Li")),
    "300 to 1500 atoms": _large,
    "no atoms": _empty,
}


def objects(n: int, seed: int = 0) -> Iterator[tuple[str, Structure]]:
    """``n`` pairs (class, structure); classes in turn."""
    names = list(OBJECTS)
    for i in range(n):
        yield names[i % len(names)], OBJECTS[names[i % len(names)]](np.random.default_rng([seed, i]))


def _finite(rng) -> Structure:
    """Any object that a file can hold."""
    while True:
        name = str(rng.choice([n for n in OBJECTS if n not in ("300 to 1500 atoms", "no atoms")]))
        made = OBJECTS[name](rng)
        if np.isfinite(made.lattice.matrix).all() and np.isfinite(made.frac_coords).all():
            return made


def _cif(structure: Structure) -> str:
    from pymatgen.io.cif import CifWriter

    return str(CifWriter(structure))


def _swap(text: str, rng, words: tuple[str, ...]) -> str:
    """A number of the text replaced by a word."""
    parts = text.split(" ")
    places = [i for i, part in enumerate(parts) if part[:1].isdigit()]
    for i in rng.choice(places, size=min(3, len(places)), replace=False) if places else []:
        parts[i] = str(rng.choice(words))
    return " ".join(parts)


WORDS = ("abc", "?", ".", "nan", "inf", "-inf", "1e400", "1,5", "0x1F", "--1", "1(", "()", "''", "½", "1e-320")
NOISE = "\x00\x07é文}{\"'\\<>;#_ \n\t"

TEXTS: dict[str, Callable[[np.random.Generator, str], str]] = {
    "as it is": lambda rng, text: text,
    "truncated": lambda rng, text: text[: int(rng.integers(1, max(len(text) - 1, 2)))],
    "words for numbers": lambda rng, text: _swap(text, rng, WORDS),
    "a line lost": lambda rng, text: _lines(text, lambda lines: lines.pop(int(rng.integers(len(lines))))),
    "a line twice": lambda rng, text: _lines(text, lambda lines: lines.append(lines[int(rng.integers(len(lines)))])),
    "lines shuffled": lambda rng, text: _lines(text, rng.shuffle),
    "noise": lambda rng, text: _noise(text, rng),
    "nothing": lambda rng, text: str(rng.choice(["", " ", "\n", "data_", "0", "{}", "[]", "null", "loop_"])),
    "other commas": lambda rng, text: text.replace(".", ","),
}


def _lines(text: str, change) -> str:
    lines = text.split("\n")
    change(lines)
    return "\n".join(lines)


def _noise(text: str, rng) -> str:
    letters = list(text)
    for _ in range(int(rng.integers(1, 20))):
        letters.insert(int(rng.integers(len(letters) + 1)), str(rng.choice(list(NOISE))))
    return "".join(letters)


def _extxyz(structure: Structure) -> str:
    rows = [f"{s.species_string} {' '.join(f'{x:.6f}' for x in s.coords)}" for s in structure]
    lattice = " ".join(f"{x:.6f}" for x in structure.lattice.matrix.ravel())
    return f'{len(rows)}\nLattice="{lattice}" Properties=species:S:1:pos:R:3\n' + "\n".join(rows) + "\n"


def _row(structure: Structure, rng) -> str:
    form = int(rng.integers(3))
    if form == 0:
        return json.dumps(structure.as_dict(), default=str)
    if form == 1:
        return json.dumps({"id": "twice", "cif": _cif(structure)})
    species = [site.species_string for site in structure]
    row = {"lattice": structure.lattice.matrix.tolist(), "species": species}
    return json.dumps(row | {"frac_coords": structure.frac_coords.tolist()})


WRITERS = {"cif": lambda s, rng: _cif(s), "jsonl": _row, "extxyz": lambda s, rng: _extxyz(s)}


def texts(n: int, seed: int = 0) -> Iterator[tuple[str, str, str]]:
    """``n`` triples (kind of file, class, text of one entry)."""
    kinds, classes = list(WRITERS), list(TEXTS)
    for i in range(n):
        rng = np.random.default_rng([seed, 7, i])
        kind, name = kinds[i % len(kinds)], classes[(i // len(kinds)) % len(classes)]
        yield kind, name, TEXTS[name](rng, WRITERS[kind](_finite(rng), rng))
