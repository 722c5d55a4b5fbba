"""Both models: probabilities that sum to one, caches that change nothing, checkpoints that run without genmat."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from genmat.modeling.auto import MODELS
from genmat.training.build import build_model, save_snapshot
from genmat.training.config import ModelConfig

SHIPPED = sorted(path.parent.name for path in Path(__file__).resolve().parents[2].glob("models/*/config.json"))
TINY = {
    "crystal_gpt": {
        "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "intermediate_size": 64,
    },
    "crystal_rnn": {"embedding_size": 24, "hidden_size": 40, "num_hidden_layers": 2},
}  # fmt: skip


@pytest.fixture(params=sorted(TINY))
def model(request):
    return build_model(ModelConfig(type=request.param, sizes=TINY[request.param]), seed=3).eval()


@pytest.fixture
def ids(model):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(3, model.config.vocab_size, (4, 17), generator=generator)


@torch.no_grad()
def test_logits_are_normalised_log_probabilities(model, ids) -> None:
    logits = model(ids).logits
    assert logits.shape == (4, 17, model.config.vocab_size)
    assert torch.allclose(logits.exp().sum(-1), torch.ones(4, 17), atol=1e-4)


def test_loss_is_the_mean_of_minus_log_p(model, ids) -> None:
    labels = ids.clone()
    labels[:, 10:] = -100
    out = model(ids, labels=labels)
    expected = -out.logits[:, :9].gather(-1, ids[:, 1:10, None]).mean()
    assert torch.allclose(out.loss, expected, atol=1e-5)
    model.train()
    trained = model(ids, labels=labels)
    assert trained.logits is None and torch.allclose(trained.loss, expected, atol=1e-5)


def test_every_parameter_gets_a_gradient(model, ids) -> None:
    slices = model.config.kind_slices
    everything = torch.tensor([[i for lo, hi in slices for i in range(lo, min(hi, lo + 5))]])  # words of every kind
    model.train()
    model(everything, labels=everything).loss.backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == [] and len(slices) == 8


@torch.no_grad()
def test_tokens_share_what_they_have_in_common(model) -> None:
    """Two Wyckoff words of one site symmetry differ by fewer features than two of different ones."""
    from genmat.tokenization.vocabulary import vocabulary

    vocab = vocabulary()
    features, table = model.embed.features, model.embedding_matrix()
    rows = [vocab.ids[w] for w in ("221a", "221b")]
    assert (features[rows[0]] == features[rows[1]]).sum() > (features[rows[0]] == features[vocab.ids["62d"]]).sum()
    expected = model.embed.weight[features[rows[0]][features[rows[0]] > 0].long()].sum(0)
    assert torch.allclose(table[rows[0]], expected, atol=1e-6)


@torch.no_grad()
def test_cache_changes_nothing(model, ids) -> None:
    full = model(ids).logits
    out = model(ids[:, :6], use_cache=True)
    parts, cache = [out.logits], out.past_key_values
    for a, b in ((6, 7), (7, 12), (12, 17)):
        out = model(ids[:, a:b], past_key_values=cache, use_cache=True)
        parts.append(out.logits)
    assert torch.allclose(torch.cat(parts, dim=1), full, atol=1e-4)
    assert cache.get_seq_length() == 17


@torch.no_grad()
def test_left_padding_changes_nothing(model, ids) -> None:
    padded = torch.cat([torch.zeros(4, 3, dtype=torch.long), ids], dim=1)
    mask = (torch.arange(20) >= 3).long().expand(4, -1)
    assert torch.allclose(model(padded, attention_mask=mask).logits[:, 3:], model(ids).logits, atol=1e-4)


@torch.no_grad()
def test_the_future_is_not_seen(model, ids) -> None:
    changed = ids.clone()
    changed[:, 9:] = 5
    assert torch.allclose(model(changed).logits[:, :9], model(ids).logits[:, :9], atol=1e-5)


@torch.no_grad()
def test_new_weights_make_a_new_embedding_matrix(model) -> None:
    before = model.embedding_matrix().clone()
    model.embed.weight.mul_(2.0)
    assert torch.allclose(model.embedding_matrix(), 2 * before)


def test_beam_search_and_sampling(model) -> None:
    prompt = torch.tensor([[1]])
    beams = model.generate(prompt, do_sample=False, num_beams=3, max_new_tokens=6)
    greedy = model.generate(prompt, do_sample=False, max_new_tokens=6)
    assert beams.shape == greedy.shape == (1, 7)

    def likelihood(words):
        return model(words).logits[0, :-1].gather(-1, words[0, 1:, None]).sum()

    assert likelihood(beams) >= likelihood(greedy) - 1e-4


def test_auto_classes_know_the_models(model, tmp_path) -> None:
    save_snapshot(model, tmp_path)
    assert isinstance(AutoConfig.from_pretrained(tmp_path), MODELS[model.config.model_type][0])
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert type(again) is type(model)
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name


def test_wrong_sizes_are_refused() -> None:
    config = MODELS["crystal_gpt"][0]
    with pytest.raises(Exception, match="heads"):
        config(hidden_size=100, num_attention_heads=6)
    with pytest.raises(Exception, match="share"):
        config(num_attention_heads=6, num_key_value_heads=4)


ALONE = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("genmat", "pymatgen"):
            raise ImportError("blocked: " + name)
sys.meta_path.insert(0, Block())
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1], trust_remote_code=True)
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], trust_remote_code=True)
assert model.dtype == torch.float32
torch.manual_seed(0)
ids = tokenizer("<hull:0.025> Ba 1 Ti 1 O 3 sg221", return_tensors="pt").input_ids
out = model.generate(ids, max_new_tokens=12, do_sample=True, num_return_sequences=2)
print(tokenizer.decode(out[0]))
assert "genmat" not in sys.modules
"""


def test_snapshot_runs_without_genmat(model, tmp_path) -> None:
    save_snapshot(model, tmp_path / "snapshot")
    run = subprocess.run(
        [sys.executable, "-c", ALONE, str(tmp_path / "snapshot")],
        capture_output=True, text=True, cwd=tmp_path, env=_without_genmat(tmp_path),
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout.startswith("<bos> <hull:0.025> Ba 1 Ti 1 O 3 sg221 ")


def _without_genmat(home) -> dict[str, str]:
    import os

    return {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {
        "HF_HOME": str(home / "hf"),
        "HF_HUB_OFFLINE": "1",
    }


def test_tokenizer_comes_with_the_snapshot(model, tmp_path) -> None:
    save_snapshot(model, tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path, trust_remote_code=True)
    assert tokenizer("Ba 1 Ti 1 O 3").input_ids[0] == model.config.bos_token_id
    assert len(tokenizer) == model.config.vocab_size


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_code_is_the_packages_code(name, root) -> None:
    folder = root / "models" / name
    for copy in folder.glob("*.py"):
        (source,) = (root / "genmat").rglob(copy.name)
        assert copy.read_text() == source.read_text(), f"{copy} differs from {source}; save the snapshot again"
