"""Crystal-graph attention: padding, order and company change nothing, shells matter, every weight learns."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from genmat.crystal.prototype import Protostructure, Site
from genmat.crystal.shells import bare_graph, shell_graph
from genmat.data.crystal_table import pack
from genmat.modeling.cgat.configuration_cgat import CGATConfig
from genmat.modeling.cgat.modeling_cgat import CGATModel

SIZES = {
    "num_members": 2, "hidden_size": 32, "intermediate_size": 48, "shell_size": 8, "num_features": 5,
    "shell_dropout": 0.0, "dropout": 0.0, "element_dropout": 0.0,
}  # fmt: skip
SALT = Protostructure(225, (Site("Na", "a"), Site("Cl", "b")), (5.6,))
PEROVSKITE = Protostructure(221, (Site("Ba", "a"), Site("Ti", "b"), Site("O", "c")), (4.0,))
GRAPHS = [shell_graph(SALT, (0, 1)), shell_graph(PEROVSKITE, (0, 1, 2))]
ELEMENTS = torch.tensor([[11, 17, 0], [56, 22, 8]])


@pytest.fixture
def model() -> CGATModel:
    torch.manual_seed(0)
    made = CGATModel(CGATConfig(**SIZES)).eval()
    made.references.copy_(torch.rand(104, 2) * 10 + 10)
    for member in made.members:
        member.features.copy_(torch.randn(104, 5))
    return made


@torch.no_grad()
def test_padding_and_company_change_nothing(model) -> None:
    together = model(ELEMENTS, **pack(GRAPHS))
    alone = model(ELEMENTS[:1, :2], **pack(GRAPHS[:1]))
    for name in ("energy", "sigma", "above_hull", "volume"):
        assert torch.allclose(together[name][:1], alone[name], atol=1e-4), name
    assert (together.sigma > 0).all() and (together.volume > 0).all()


@torch.no_grad()
def test_prepared_prototypes_give_the_same(model) -> None:
    """Shared by all decorations, or picked by an index: what `forward` gives crystal by crystal."""
    other = torch.tensor([[56, 22, 8], [38, 22, 8], [20, 40, 16]])
    one = pack(GRAPHS[1:])
    each = model(other, **{name: value.expand(3, *value.shape[1:]) for name, value in one.items()})
    shared = model.read(other, model.prepare(**one))
    index = torch.tensor([1, 0, 1])
    picked = model.read(
        torch.stack([other[0], torch.tensor([11, 17, 0]), other[1]]), model.prepare(**pack(GRAPHS)), index
    )
    assert torch.allclose(each.energy, shared.energy, atol=1e-4)
    assert torch.allclose(picked.energy[[0, 2]], shared.energy[:2], atol=1e-4)


@torch.no_grad()
def test_order_of_orbits_changes_nothing_and_sites_matter(model) -> None:
    turned = Protostructure(221, (PEROVSKITE.sites[2], PEROVSKITE.sites[0], PEROVSKITE.sites[1]), (4.0,))
    energy = model(ELEMENTS[1:], **pack(GRAPHS[1:])).energy
    assert torch.allclose(
        model(ELEMENTS[1:, [2, 0, 1]], **pack([shell_graph(turned, (0, 1, 2))])).energy, energy, atol=1e-4
    )
    assert not torch.allclose(model(ELEMENTS[1:, [1, 0, 2]], **pack(GRAPHS[1:])).energy, energy, atol=1e-3)


@torch.no_grad()
def test_shells_matter_and_their_absence_is_read_too(model) -> None:
    bare = bare_graph(221, ("a", "b", "c"))
    known, unknown = model(ELEMENTS[1:], **pack(GRAPHS[1:])).energy, model(ELEMENTS[1:], **pack([bare])).energy
    assert torch.isfinite(unknown).all() and not torch.allclose(known, unknown, atol=1e-3)


@torch.no_grad()
def test_softmax_over_pairs_is_the_one_over_edges(model) -> None:
    """The bias of a pair is the log-sum over its shells: attention of every single neighbour, added up, is the same."""
    block, graph = model.members[0].encoder[0], pack(GRAPHS[1:])
    shells = torch.randn(1, 3, 17, 8)
    counts = torch.cat([graph["counts"], torch.full((1, 3, 3, 1), 0.2)], dim=-1)
    layer, logits = block.prepare(shells, counts), torch.randn(4, 3, 3)
    pairs = (logits + layer.bias[0]).softmax(-1)  # (H, N, N)
    single = logits[..., None] + block.shell_bias(shells)[0].permute(2, 0, 1)[:, :, None]  # (H, N, N, R + 1)
    weight = counts[0] * single.exp()
    edges = weight / weight.sum((-1, -2), keepdim=True)
    assert torch.allclose(pairs, edges.sum(-1), atol=1e-5)
    heard = torch.einsum("hij,hijs->his", pairs, layer.edges)
    assert torch.allclose(heard, torch.einsum("hijr,irs->his", edges, shells[0]), atol=1e-4)


def test_every_parameter_gets_a_gradient_and_unknown_labels_cost_nothing(model) -> None:
    model.train()
    labels = {"energy": torch.tensor([-1.0, -3.0]), "above_hull": torch.zeros(2), "volume": torch.tensor([20.0, 13.0])}
    model(ELEMENTS, **pack(GRAPHS), labels=labels).loss.backward()
    silent = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []
    nothing = {name: torch.full((2,), float("nan")) for name in labels}
    assert model(ELEMENTS, **pack(GRAPHS), labels=nothing).loss.item() == 0.0


def test_the_scale_of_the_error_is_trained() -> None:
    """On noise of two sizes the network learns which crystals are noisy: the variance head is alive."""
    torch.manual_seed(1)
    sizes = {**SIZES, "num_members": 1, "num_hidden_layers": 1, "num_summary_layers": 1}
    model = CGATModel(CGATConfig(**sizes))
    for member in model.members:
        member.features.copy_(torch.randn(104, 5))
    quiet = torch.tensor([[11, 17]] * 64)
    noisy = torch.tensor([[12, 8]] * 64)
    packed = {n: v.expand(128, *v.shape[1:]) for n, v in pack(GRAPHS[:1]).items()}
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    rng = np.random.default_rng(0)
    nothing = torch.full((128,), float("nan"))
    for _ in range(120):
        energy = np.concatenate([rng.normal(0, 0.05, 64), rng.normal(0, 1.0, 64)])
        labels = {"energy": torch.tensor(energy).float(), "above_hull": nothing, "volume": nothing}
        optimiser.zero_grad()
        model(torch.cat([quiet, noisy]), **packed, labels=labels).loss.backward()
        optimiser.step()
    with torch.no_grad():
        sigma = model.eval()(torch.stack([quiet[0], noisy[0]]), **{n: v[:2] for n, v in packed.items()}).sigma
    assert sigma[1] > 4 * sigma[0] and 0.5 < sigma[1] < 2.0


def test_snapshot_runs_alone(model, tmp_path) -> None:
    """`trust_remote_code` without genmat on the path gives the same energies."""
    import genmat.modeling.auto  # noqa: F401

    model.save_pretrained(tmp_path / "m")
    with torch.no_grad():
        energy = model(ELEMENTS, **pack(GRAPHS)).energy.tolist()
    torch.save({"elements": ELEMENTS, **pack(GRAPHS)}, tmp_path / "x.pt")
    code = (
        "import torch; from transformers import AutoModel\n"
        f"m = AutoModel.from_pretrained({str(tmp_path / 'm')!r}, trust_remote_code=True).eval()\n"
        f"x = torch.load({str(tmp_path / 'x.pt')!r}, weights_only=True)\n"
        "import sys; assert 'genmat' not in sys.modules\n"
        "print(*m(**x).energy.tolist())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == 0, run.stderr[-600:]
    assert np.allclose([float(v) for v in run.stdout.split()], energy, atol=1e-5)
