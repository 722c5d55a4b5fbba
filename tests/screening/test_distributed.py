"""Relaxing through Ray: the bits of one process, whatever actors and nodes die on the way."""

from __future__ import annotations

import json
import os

import pytest

from genmat.candidate import Candidate
from genmat.errors import RunError
from genmat.screening.distributed import run_ray
from genmat.screening.potentials import golden_crystal, load
from genmat.screening.relax import RelaxSettings, relax

pytest.importorskip("ray", reason="ray is not installed: pip install 'genmat[ray]'")


def metal(element: str, seed: int, cells: int = 1) -> Candidate:
    crystal = golden_crystal("Cu") * (cells, 1, 1)
    crystal.replace_species({"Cu": element})
    crystal.perturb(0.1, seed=seed)
    return Candidate(f"{element}{seed}", "test", structure=crystal)


def bits(candidates) -> dict[str, str]:
    return {c.id: json.dumps(c.to_dict()) for c in candidates}


def test_dying_actors_change_nothing(tmp_path, monkeypatch):
    """One death is nobody's fault, the second is the candidate's; the others give the bits of one process."""
    from fragile import Fragile

    monkeypatch.setenv("KILL_ONCE", str(tmp_path / "killed"))
    given = [metal("Cu", seed, 1 + seed % 2) for seed in range(6)]
    given += [metal("Au", 0), metal("Ag", 0), Candidate("late", "test").fail("valid", "too dense")]
    made = bits(run_ray(given, Fragile(), RelaxSettings(), workers=2))
    assert (tmp_path / "killed").exists()
    silver = json.loads(made.pop("Ag0"))
    assert silver["failure"] == "relax: the worker process died twice on it"
    assert made == bits(relax([c for c in given if c.id != "Ag0"], load("emt")))


@pytest.mark.slow
def test_killed_node(monkeypatch):
    """Two nodes, one of them killed in the middle: the other takes over."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 100 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    try:
        second = cluster.add_node(**node)
        given = [metal(element, seed) for element in ("Cu", "Ni", "Pd") for seed in range(8)]
        made = {}
        for done in run_ray(given, load("emt"), RelaxSettings(), cluster.address):
            made.update(bits([done]))
            if len(made) == 4:
                cluster.remove_node(second, allow_graceful=False)
    finally:
        cluster.shutdown()
    assert made == bits(relax(given, load("emt")))


def test_no_cluster_is_one_line(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    os.environ.pop("RAY_ADDRESS", None)
    with pytest.raises(RunError, match=r"--ray auto: .*; start a cluster there, or give no address"):
        list(run_ray([metal("Cu", 0)], load("emt"), RelaxSettings(), "auto"))
