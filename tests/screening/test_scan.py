"""Scans: what is kept is what the network says, whatever is killed and whoever does the work."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from genmat.cli.main import run as genmat
from genmat.crystal.composition import parse_formula
from genmat.data.composition_tables import element_features
from genmat.data.crystal_table import label_table
from genmat.data.graph_predict import load_graph_model, predict_rows
from genmat.errors import GenmatError
from genmat.modeling.cgat.configuration_cgat import CGATConfig
from genmat.modeling.cgat.modeling_cgat import CGATModel
from genmat.screening.hull import ReferenceHull
from genmat.screening.phases import group_phases
from genmat.screening.scan import Judge, ScanSettings, scan
from genmat.screening.scan_hull import hull_phases
from genmat.screening.scan_output import candidates, describe

KEYS = ("221:a_b_c", "225:a_b", "62:c_c_cd", "216:a_c")
ELEMENTS = ("Li", "Na", "K", "Ca", "Ti", "Zr", "O", "S")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    """A network with fresh weights: as good as any to tell whether a scan keeps what it says."""
    import genmat.modeling.auto  # noqa: F401

    torch.manual_seed(0)
    features = torch.from_numpy(element_features())
    sizes = {"hidden_size": 16, "intermediate_size": 16, "shell_size": 8, "num_hidden_layers": 1}
    made = CGATModel(CGATConfig(num_features=features.shape[1], num_members=2, **sizes))
    made.references[:, 0], made.references[:, 1] = torch.linspace(0.5, -1.5, 104), 15.0
    for member in made.members:
        member.features.copy_(features)
    folder = tmp_path_factory.mktemp("model")
    made.save_pretrained(folder)
    return str(folder)


def settings(model: str, **changes) -> ScanSettings:
    return ScanSettings(**{"model": model, "elements": ELEMENTS, "keys": KEYS, "below": 2.0, "shard": 100, **changes})


@pytest.fixture(scope="module")
def alone(model, tmp_path_factory) -> tuple[Path, pd.DataFrame]:
    out = tmp_path_factory.mktemp("alone")
    return out, scan(settings(model), out)


def files(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((out / "shards").glob("*.parquet"))}


def test_keeps_what_the_network_says(model, alone) -> None:
    """Every kept one judged again by label, and by the hull one by one; nothing better was left out."""
    out, best = alone
    asked = settings(model)
    space = asked.space()
    assert len(files(out)) == -(-len(space) // 100) and best.e_above_hull.is_monotonic_increasing
    table = describe(best, space, Path(model))
    found = predict_rows(load_graph_model(Path(model)), known := label_table(table.label.tolist(), space.prototypes),
                         np.arange(len(known)))  # fmt: skip
    assert np.allclose(found["energy"], best.energy, atol=1e-4) and np.allclose(found["volume"], best.volume, rtol=1e-3)
    hull = ReferenceHull("x", dict.fromkeys(ELEMENTS, 0.0), group_phases(*hull_phases(asked)), "x")
    for row in table.iloc[:: max(1, len(table) // 20)].itertuples():
        above, _ = hull.e_above_hull(parse_formula(row.formula), row.energy)
        assert above == pytest.approx(row.e_above_hull, abs=1e-9)
    judge = Judge(settings(model, below=99.0, limit=10**6), hull_phases(asked))
    every = pd.concat([judge.shard(i) for i in range(len(files(out)))])
    assert len(every) == len(space) and (every.e_above_hull < 2.0).sum() == min(
        len(best), (every.e_above_hull < 2).sum()
    )
    assert table.label.is_unique and (table.half_width > 0).all()


def test_the_doubtful_are_kept_where_asked_for(model, tmp_path) -> None:
    """Ranked by what they may hopefully be, and more of them than without."""
    usual = scan(settings(model, below=0.3, limit=10**6), tmp_path / "usual")
    hopeful = scan(settings(model, below=0.3, limit=10**6, optimism=1.0), tmp_path / "hopeful")
    bound = hopeful.e_above_hull - hopeful.sigma
    assert len(hopeful) > len(usual) and bound.max() < 0.3 and bound.is_monotonic_increasing
    assert set(usual["index"]) <= set(hopeful["index"]) and (hopeful.e_above_hull > 0.3).any()
    few = scan(settings(model, below=0.3, limit=5, optimism=1.0), tmp_path / "few")
    pd.testing.assert_frame_equal(few, hopeful.head(5))
    assert scan(settings(model, below=-99.0), tmp_path / "none").empty


def test_the_first_network_sends_on_only_what_has_a_chance(model, alone, monkeypatch) -> None:
    """Not all are read twice; what is kept would have been kept without its say too, and is told what all say."""
    phases = hull_phases(settings(model))
    every = Judge(settings(model, below=99.0), phases).shard(3)
    asked = settings(model, below=float(every.e_above_hull.median()))
    whole = Judge(asked, phases)
    monkeypatch.setattr("genmat.screening.scan.DOUBT", 0.02)  # fresh weights are sure of nothing
    read: list[int] = []
    plain = whole.model.read

    def counted(elements, prepared, index=None):
        read.append(len(elements) if len(prepared) > 1 else 0)
        return plain(elements, prepared, index)

    monkeypatch.setattr(whole.model, "read", counted)
    some = whole.shard(3)
    assert 0 < len(some) <= sum(read) < len(every)
    assert set(some["index"]) <= set(every["index"])
    same = every[every["index"].isin(some["index"])].reset_index(drop=True)
    assert np.allclose(same[["energy", "sigma"]], some[["energy", "sigma"]], atol=1e-5)


def test_resumed_parallel_and_split_scans_are_equal(model, alone, tmp_path) -> None:
    out, best = alone
    again = tmp_path / "again"
    scan(settings(model), again, workers=2)
    assert files(again) == files(out)
    victim = again / "shards" / "00000001.parquet"
    victim.unlink()
    (again / "shards" / "00000002.partial").write_bytes(b"half")
    pd.testing.assert_frame_equal(scan(settings(model), again), best)
    assert files(again) == files(out)
    pd.testing.assert_frame_equal(scan(settings(model), again, fresh=True), best)


def test_killed_and_resumed(model, alone, tmp_path) -> None:
    """kill -9, twice, wherever it happens to be."""
    out, _ = alone
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[3])\n"
        "import test_scan as t; from genmat.screening.scan import scan\n"
        "scan(t.settings(sys.argv[1]), Path(sys.argv[2]))"
    )
    command = [sys.executable, "-c", code, model, str(tmp_path / "k"), str(Path(__file__).parent)]
    for wanted in (1, 3):
        process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
        while process.poll() is None and len(files(tmp_path / "k")) < wanted:
            time.sleep(0.002)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert files(tmp_path / "k") == files(out)


def test_other_settings_are_refused(model, alone) -> None:
    out, _ = alone
    with pytest.raises(GenmatError, match="holds a scan with another below"):
        scan(settings(model, below=0.1), out)


def test_a_sample_is_a_part_of_the_whole(model, alone, tmp_path) -> None:
    out, _ = alone
    scan(settings(model, sample=200, seed=3), tmp_path)
    part = files(tmp_path)
    assert len(part) == 2 and all(files(out)[name] == content for name, content in part.items())


def test_hull_of_another_source_is_refused(model, tmp_path) -> None:
    table = tmp_path / "mine.csv"
    table.write_text("formula,formation_energy\nLi2O,-2.0\n")
    with pytest.raises(GenmatError, match="energies of dft:user; the network's are dft:MP2020"):
        hull_phases(settings(model, reference=str(table)))
    table.write_text("composition,ef_mp2020like\nLi2O,-2.0\nNaCl,-2.1\n")
    assert hull_phases(settings(model, reference=str(table)))[0].count("Li2O") == 1


def test_known_phases_of_too_many_elements_are_left_out_of_the_hull(model) -> None:
    """One known phase, Na2CaMnAl2P2H2O10F4, holds more elements than a prototype has slots."""
    formulas, energies = hull_phases(settings(model, elements=("Na", "Ca", "Mn", "Al", "P", "H", "O", "F")))
    assert len(formulas) == len(energies) > 100
    assert {"Na", "AlPO4"} <= set(formulas) and "Na2CaMnAl2P2H2O10F4" not in formulas


def test_what_the_network_says_of_known_phases_is_kept(model, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("GENMAT_CACHE", str(tmp_path))
    asked = settings(model, elements=("Li", "Ti", "O"))
    formulas, energies = hull_phases(asked)
    (file,) = tmp_path.glob("energies-*.npy")
    with monkeypatch.context() as without:
        without.setattr("genmat.screening.scan_hull.predict_rows", None)
        assert hull_phases(asked) == (formulas, energies)
        with pytest.raises(TypeError):  # of others it must be asked
            hull_phases(settings(model, elements=("Li", "Na", "O")))
    file.write_bytes(file.read_bytes()[:100])
    assert hull_phases(asked) == (formulas, energies)
    np.save(file, np.zeros(3))
    assert hull_phases(asked) == (formulas, energies)


def test_command_and_screen(model, tmp_path, capsys) -> None:
    """From the command line; what it keeps goes straight into `genmat screen`."""
    out = tmp_path / "out"
    asked = ["scan", "--elements", "Na-Cl-K", "--prototype", "225:a_b", "--prototype", "221:a_b", "--below", "9",
             "--model", model, "--out", str(out), "--workers", "1", "--limit", "3", "--json"]  # fmt: skip
    assert genmat(asked) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["decorations"] == 6 and told["kept"] == 3
    assert len(pd.read_csv(out / "best.csv")) == 3
    screened = [
        "screen",
        str(out / "best.jsonl"),
        "--out",
        str(tmp_path / "s"),
        "--potential",
        "lj",
        "--reference",
        "none",
    ]
    assert genmat([*screened, "--max-steps", "2", "--workers", "1", "--json"]) == 0
    results = pd.read_csv(tmp_path / "s" / "results.csv")
    assert len(results) == 3 and results.id.str.startswith("scan-").all()
    assert genmat(["scan", "--elements", "Na-Xx", "--model", model, "--out", str(out)]) == 1
    assert "Xx: no such element" in capsys.readouterr().err


def test_crystals_have_the_predicted_volume(model, alone) -> None:
    _, best = alone
    some = best.head(5)
    for candidate, row in zip(candidates(some, settings(model).space()), some.itertuples(), strict=True):
        assert candidate.structure is not None
        assert candidate.structure.volume / len(candidate.structure) == pytest.approx(row.volume, rel=1e-4)


def actors() -> list[int]:
    """Processes of the actors; a cluster started here has no service that names them."""
    folders = [folder for folder in Path("/proc").iterdir() if folder.name.isdigit()]
    found = []
    for folder in folders:
        with contextlib.suppress(OSError):
            if (folder / "cmdline").read_bytes().startswith(b"ray::Resident"):
                found.append(int(folder.name))
    return found


@pytest.mark.slow
def test_ray_with_a_dying_actor(model, alone, tmp_path) -> None:
    """Two actors on a cluster started here, one killed midway: the shards of one process."""
    pytest.importorskip("ray")
    import ray

    out, best = alone
    killed: list[int] = []

    def kill_one(stage: str, done: int, total: int) -> None:
        if done >= 200 and not killed:
            killed.append(next(iter(actors())))
            os.kill(killed[0], signal.SIGKILL)

    found = scan(settings(model), tmp_path, ray="local", workers=2, progress=kill_one)
    assert not ray.is_initialized() and killed
    pd.testing.assert_frame_equal(found, best)
    assert files(tmp_path) == files(out)
