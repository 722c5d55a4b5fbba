"""Generate crystals: model, prompt, grammar -> candidates with a structure and the model's opinion of them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import Any

from genmat.candidate import Candidate
from genmat.crystal.composition import parse_elements, parse_formula
from genmat.crystal.prototype import Protostructure, sort_sites
from genmat.crystal.realise import realise
from genmat.crystal.validity import check
from genmat.errors import GenmatError, did_you_mean
from genmat.generation.balance import balance, learned_groups
from genmat.generation.constraints import Grammar
from genmat.generation.decode import Clock, Sentence, decode
from genmat.generation.prototypes import PrototypeGrammar
from genmat.tokenization.sentence import parse
from genmat.tokenization.vocabulary import gap_word, hull_word, vocabulary

DEFAULT_MODEL = "crystal-gpt"
RESPELLINGS = (1, 7, 24)  # of a geometry with coinciding atoms, at once: one in twenty first ones has them
DEFAULT_E_ABOVE_HULL = 0.025  # eV/atom; asking for 0 repeats known phases more often
MOST_DRAWS = 50  # per distinct crystal wanted: a narrow prompt has fewer than were asked for


def model_folders() -> dict[str, Path]:
    """Shipped models by name: beside the package in a checkout, inside it in a wheel."""
    package = Path(__file__).resolve().parents[1]
    found: dict[str, Path] = {}
    for root in (package / "models", package.parent / "models"):
        if root.is_dir():
            found |= {p.parent.name: p.parent for p in sorted(root.glob("*/model.safetensors"))}
    return found


def find_model(name: str | Path) -> str:
    """Folder of a model by path, by shipped name, or by its name on the Hub (with a slash): fetched once, then cached.

    Raises:
        GenmatError: nothing of that name, or a Hub that does not answer.
    """
    if Path(name).is_dir():
        if not (Path(name) / "config.json").is_file():
            raise GenmatError(f"{name}: no config.json in this folder; give the folder of a checkpoint")
        return str(name)
    shipped = model_folders()
    if str(name) in shipped:
        return str(shipped[str(name)])
    if re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", str(name)):
        return _snapshot(str(name))
    raise GenmatError(did_you_mean(str(name), shipped, "model"))


@lru_cache(maxsize=16)
def _snapshot(name: str) -> str:
    """Folder of a model of the Hub in the cache of huggingface_hub; without a network what is cached serves.

    Raises:
        GenmatError: not there, or neither network nor cache.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()
    try:
        return snapshot_download(name, library_name="genmat")
    except (OSError, ValueError) as error:
        reason = (str(error).splitlines() or ["no reason given"])[0]
        raise GenmatError(f"{name}: neither a folder nor to be had from the Hub ({reason}); see the name") from None


@lru_cache(maxsize=4)
def load_model(name: str | Path) -> Any:
    """A model ready to generate, in single precision.

    Raises:
        GenmatError: no such model, one that writes no crystals, or one whose vocabulary is not this package's.
    """
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    import genmat.modeling.auto  # noqa: F401  (registers the architectures)

    logging.disable_progress_bar()
    folder = find_model(name)
    try:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    except (ValueError, OSError) as error:  # another kind of model, or a broken or unreachable snapshot
        reason = (str(error).splitlines() or ["no reason given"])[0]
        raise GenmatError(f"{name}: no model that writes crystals ({reason}); give one such as crystal-gpt") from None
    if model.config.vocab_size != len(vocabulary()):
        raise GenmatError(
            f"{name}: a vocabulary of {model.config.vocab_size} words, not {len(vocabulary())}; retrain it"
        )
    return model


def grammar_for(
    elements: str | Iterable[str] | None = None,
    required: str | Iterable[str] | None = None,
    formula: str | None = None,
    spacegroup: int | Iterable[int] | None = None,
    prototype: Protostructure | str | None = None,
    max_atoms: int = 20,
    min_atoms: int = 1,
) -> Grammar:
    """The grammar of a prompt.

    Raises:
        GenmatError: prompts nothing can fulfil or that contradict each other.
    """
    if formula is not None and (elements is not None or required is not None):
        raise GenmatError(f"formula {formula}: already says the elements; leave elements and required out")
    if prototype is not None and (formula is not None or spacegroup is not None):
        raise GenmatError("prototype: already says formula type and space group; leave them out")
    allowed = None if elements is None else parse_elements(elements)
    needed = () if required is None else parse_elements(required)
    if prototype is not None:
        return PrototypeGrammar(prototype, allowed, needed, max_atoms, min_atoms)
    groups = [spacegroup] if isinstance(spacegroup, int) else spacegroup
    return Grammar(allowed, needed, None if formula is None else parse_formula(formula), groups, max_atoms, min_atoms)


def knows_gaps(name: str | Path) -> bool:
    """Whether a model has read band gaps: what its figures say; yes where it has none."""
    figures = Path(find_model(name)) / "figures.json"
    return not figures.is_file() or bool(json.loads(figures.read_text())["config"]["data"].get("gaps"))


def conditions(e_above_hull: float | None = None, gap: float | None = None) -> list[int]:
    """Condition words of an energy above hull (eV/atom) and a band gap (eV, PBE)."""
    spoken = [None if e_above_hull is None else hull_word(e_above_hull), None if gap is None else gap_word(gap)]
    return [vocabulary().ids[word] for word in spoken if word is not None]


def generate(
    n: int,
    *,
    model: str | Path | Any = DEFAULT_MODEL,
    elements: str | Iterable[str] | None = None,
    required: str | Iterable[str] | None = None,
    formula: str | None = None,
    spacegroup: int | Iterable[int] | None = None,
    prototype: Protostructure | str | None = None,
    max_atoms: int = 20,
    min_atoms: int = 1,
    e_above_hull: float | None = DEFAULT_E_ABOVE_HULL,
    gap: float | None = None,
    temperature: float = 1.0,
    geometry_temperature: float = 0.7,
    top_p: float = 1.0,
    distinct: bool = False,
    balanced: bool = False,
    seed: int = 0,
    batch_size: int = 1024,
    clock: Clock | None = None,
) -> Iterator[Candidate]:
    """Generate `n` candidates, each with protostructure, structure and log-likelihood.

    Candidate i is decided by (model, prompt, seed, i): on one machine, results do not depend on `n`, and on
    `batch_size` only through the last bits of matrix products, which can tip a draw in rare cases.

    Args:
        model: shipped name, folder, Hub name, or a loaded model.
        elements: symbols that may occur, a list or "Li-P-S".
        required: symbols that must occur.
        formula: the composition, such as "BaTiO3".
        spacegroup: number or numbers that may occur.
        prototype: a protostructure or label to decorate with other elements.
        max_atoms, min_atoms: of the primitive cell; equal ones fix its size.
        e_above_hull: energy above hull asked for, eV/atom; None asks for nothing.
        gap: band gap asked for, eV (PBE); None asks for nothing.
        temperature: of composition and prototype; below 1 prefers likely words, 0 takes the likeliest.
        geometry_temperature: of lattice and coordinates. Chance there only costs: relaxation decides them anyway.
        top_p: share of probability kept of each word's distribution.
        distinct: draw protostructures without replacement: what was drawn before is passed over, and the candidates'
            numbers tell how many draws it took. Fewer than `n` come when `MOST_DRAWS` for each bring no more.
        balanced: space groups as frequent as among the crystals near the hull learned from (see `balance`), for free
            generation. About every second draw is passed over.
        clock: receives the time spent in model, grammar and drawing.

    Raises:
        GenmatError: unknown model or element, a prompt that no crystal fulfils, numbers out of range.
    """
    if n < 0 or batch_size < 1:
        raise GenmatError(
            f"n {n}, batch_size {batch_size}: give numbers that are not negative, and a batch of at least 1"
        )
    if min(temperature, geometry_temperature) < 0 or not 0 < top_p <= 1:
        given = f"temperature {temperature}, geometry_temperature {geometry_temperature}, top_p {top_p}"
        raise GenmatError(f"{given}: give temperatures >= 0 and 0 < top_p <= 1")
    if gap is not None and isinstance(model, str | Path) and not knows_gaps(model):
        raise GenmatError(f"gap {gap:g}: {model} has read no band gaps; leave it out, or take crystal-gpt")
    told = (elements, required, formula, spacegroup, prototype)
    if balanced and any(t is not None for t in told):
        raise GenmatError("balanced: for free generation; leave it out, or what is asked of chemistry and space group")
    grammar = grammar_for(elements, required, formula, spacegroup, prototype, max_atoms, min_atoms)
    loaded = load_model(model) if isinstance(model, str | Path) else model
    name = Path(model).name if isinstance(model, str | Path) else loaded.config.model_type.replace("_", "-")
    condition = conditions(e_above_hull, gap)
    options = {"temperature": temperature, "geometry_temperature": geometry_temperature, "top_p": top_p, "seed": seed}
    spoken = partial(decode, loaded, grammar, condition=condition, clock=clock)
    admit = balance(partial(spoken, **options), learned_groups(Path(loaded.name_or_path)), seed) if balanced else None
    limit = n * MOST_DRAWS if distinct or balanced else n
    batch_size = min(batch_size, max(64, 4 * n))  # a few are wanted: no batch of which most would be left over
    provenance = {"model": name, **options}
    if condition:
        provenance["condition"] = " ".join(grammar.vocab.words[word] for word in condition)
    made = _run(limit, spoken, provenance, options, batch_size, admit)
    return islice(_once(made) if distinct else made, n)


def _once(made: Iterable[Candidate]) -> Iterator[Candidate]:
    """The first candidate of every protostructure."""
    seen: set[str] = set()
    for candidate in made:
        assert candidate.protostructure is not None
        label = candidate.protostructure.label
        if label not in seen:
            seen.add(label)
            yield candidate


def _run(n, spoken, provenance, options, batch_size, admit) -> Iterator[Candidate]:
    """Batches of sentences, in order, as candidates."""
    for first in range(0, n, batch_size):
        sentences = spoken(range(first, min(first + batch_size, n)), admit=admit, **options)
        made = [to_candidate(sentence, provenance["model"], provenance) for sentence in sentences]
        yield from _possible(made, sentences, spoken, options)


def _possible(
    made: list[Candidate], sentences: list[Sentence], spoken: Callable[..., list[Sentence]], options: dict[str, Any]
) -> list[Candidate]:
    """The candidates, those no solid can be (`validity.check`) with their geometry spelled anew until one can.

    Composition and prototype stay as drawn; when all of `RESPELLINGS` fail, so does the first geometry.
    """
    made = list(made)
    geometry = vocabulary().ids["<geom>"]
    wrong = [i for i, candidate in enumerate(made) if RESPELLINGS and check(candidate.structure).reason is not None]
    for attempt, copies in enumerate(RESPELLINGS, start=1):
        if not wrong:
            break
        drawn = spoken(
            [sentences[i].index + (copy << 40) for i in wrong for copy in range(copies)],
            openings=[s.ids[: s.ids.index(geometry) + 1] for i in wrong for s in [sentences[i]] * copies],
            **options | {"seed": options["seed"] + 1_000_003 * attempt, "geometry_temperature": 1.0},
        )
        failed, wrong = wrong, []
        for place, i in enumerate(failed):
            for after in drawn[place * copies : (place + 1) * copies]:
                provenance = made[i].provenance
                candidate = to_candidate(_continued(sentences[i], after), provenance["model"], provenance)
                if check(candidate.structure).reason is None:
                    made[i] = candidate
                    break
            else:
                wrong.append(i)
    return made


def _continued(before: Sentence, after: Sentence) -> Sentence:
    """A sentence with another geometry, its likelihood that of its own composition and prototype and the new rest."""
    told = before.log_likelihood_prototype
    rest = after.log_likelihood - after.log_likelihood_prototype
    return Sentence(before.index, after.ids, told + rest, told)


def to_candidate(sentence: Sentence, name: str, provenance: dict[str, Any]) -> Candidate:
    """The crystal a sentence spells."""
    spelled = parse(sentence.ids)
    proto = Protostructure(spelled.spacegroup, sort_sites(list(spelled.sites)), spelled.lattice)
    return Candidate(
        id=f"{name}-{provenance['seed']}-{sentence.index:06d}",
        origin=f"model:{name}",
        protostructure=proto,
        structure=realise(proto),
        results={
            "log_likelihood": round(sentence.log_likelihood, 4),
            "log_likelihood_prototype": round(sentence.log_likelihood_prototype, 4),
        },
        provenance=provenance | {"index": sentence.index},
    )
