"""What a campaign verified becomes a table: only new, near, symmetric, converged crystals without a doubt."""

from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure

from genmat.campaign import Campaign, Stage
from genmat.candidate import Candidate
from genmat.crystal.prototype import from_structure
from genmat.data.population import PBE_VOLUME, known_crystals, read_rows
from genmat.data.verified import verified, write_verified
from genmat.errors import GenmatError

GOOD = {"e_above_hull": 0.02, "novel": True, "unique": True, "converged": True, "doubt": None}


def salt(a: float, *symbols: str) -> Structure:
    cell = Structure.from_spacegroup(225, Lattice.cubic(a), list(symbols), [[0, 0, 0], [0.5] * 3])
    return cell.get_primitive_structure()


def candidate(name: str, structure: Structure, **changed) -> Candidate:
    return Candidate(name, "model:test", from_structure(structure), structure, {**GOOD, **changed})


@pytest.fixture
def campaign(tmp_path: Path) -> Path:
    crystals = [
        candidate("good", salt(4.2, "Mg", "S")),
        candidate("again", salt(4.3, "Mg", "S")),
        candidate("known", salt(5.6, "Na", "Cl"), novel=False),
        candidate("far", salt(5.0, "Li", "Cl"), e_above_hull=0.2),
        candidate("too low", salt(5.0, "Li", "Br"), e_above_hull=-0.3),
        candidate("doubted", salt(5.0, "K", "Br"), doubt="a reason"),
        candidate("below", salt(6.0, "Rb", "Br"), e_above_hull=-0.01),
        candidate("failed", salt(5.0, "K", "F")).fail("relax", "no"),
    ]
    with Campaign.open(tmp_path / "run", command="screen", settings={}) as made:
        made.run(Stage("rank", lambda cs: iter(cs)), made.source(lambda: crystals))
    return tmp_path / "run"


def test_only_verified_crystals_are_kept(campaign: Path) -> None:
    rows = verified([campaign], 0.05)
    assert [row["material_id"] for row in rows] == ["good", "below"]
    assert rows[1]["e_above_hull"] == 0.0 and all(row["split"] == "train" for row in rows)
    volume = Lattice.from_parameters(*rows[0]["lattice_parameters"]).volume
    assert volume == pytest.approx(salt(4.2, "Mg", "S").volume / PBE_VOLUME)


def test_the_table_trains_and_counts_as_known(campaign: Path, tmp_path: Path) -> None:
    from genmat.data.tokens import load_tokens

    out = tmp_path / "own.parquet"
    assert write_verified([campaign], 0.05, out) == 2
    assert len(load_tokens(out, cache_dir=tmp_path / "cache")["train"]) == 2
    rows = read_rows(out, ["formula"], [("split", "==", "train")])
    assert {row["formula"] for row in rows} == {"MgS", "RbBr"}
    import shutil

    for name in ("structures_le20.parquet", "structures_21to52.parquet"):
        shutil.copy(out, tmp_path / name)
    assert known_crystals(tmp_path, ["MgS"], [out]).find(salt(4.25, "Mg", "S")) == ("training", "good")


def test_nothing_verified_is_an_error(campaign: Path, tmp_path: Path) -> None:
    with pytest.raises(GenmatError, match=r"no verified crystal within -0\.05"):
        write_verified([campaign], -0.05, tmp_path / "own.parquet")
    with pytest.raises(GenmatError):
        write_verified([tmp_path / "none"], 0.05, tmp_path / "own.parquet")
