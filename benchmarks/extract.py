"""Property extraction against annotated text: one automatic matcher for every system's output.

    python benchmarks/extract.py --data ../shared/data/literature [--set gap tc sentences papers] [--qa models/qa]

Sets (test only): `gap` and `tc`, arXiv abstracts with the outputs of ChemDataExtractor and BERT-PSIE; `sentences`,
ChemDataExtractor's band-gap sheet (only sentences with a record were kept); `papers`, full texts, most without any.
A prediction and a gold record match when their numbers are the same after conversion and their materials are: same
composition, or one name contained in the other. Precision counts matched predictions, recall matched records.
`grammar` are the rules alone, `hybrid` the rules and the model's answers, `questions` the model alone: asked for the
value of every material named in an abstract. "one sentence" wants value and material in one sentence. Columns with
"listed" count the records the annotators left out too (omitted_records.json, found by reading).
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from genmat.literature.documents import Document
from genmat.literature.hybrid import asked_pairs
from genmat.literature.materials import find_materials
from genmat.literature.pairing import LOOK_BACK, Pair, find_pairs
from genmat.literature.properties import Property, load_property
from genmat.literature.qa import Reader, answer, load_reader
from genmat.literature.quantities import find_quantities
from genmat.literature.readers import read_paper, read_string
from genmat.literature.table_pairs import find_table_pairs
from genmat.literature.text import plain

OMITTED = Path(__file__).with_name("omitted_records.json")


@dataclass(frozen=True)
class Item:
    """A record to compare: names the material goes by, and its numbers in the property's unit."""

    names: tuple[str, ...]
    numbers: frozenset[float]
    optional: frozenset[float] = frozenset()


def item(names: Iterable[str], value: str, prop: Property) -> Item:
    """From strings, as gold files and other systems give them; a missing unit is the property's."""
    text = re.sub(r"\s*\.\s*(?=\d)", ".", value.replace("\\", "")).replace("sim", "~")
    text = re.sub(r"(?<=[a-zA-Z])(?=\d)|(?<=\d)(?=(?:to|and)\d)|(?<=\dto)(?=\d)|(?<=\dand)(?=\d)", " ", text)
    text = re.sub(r"(\d)\s*(to|and)\s*(?=\d)", r"\1 \2 ", plain(text).text)
    text = re.sub(r"(?<=[VK])(?=to\b|and\b|to\d)", " ", text).rstrip(". (")
    numbers: set[float] = set()
    optional: set[float] = set()
    for quantity in find_quantities(text):
        converted = quantity.to(prop.unit) if quantity.unit.factors else quantity
        if converted is None:
            continue
        numbers |= {converted.value} | ({converted.value_max} if converted.value_max is not None else set())
        optional |= {converted.uncertainty} if converted.uncertainty is not None else set()
    return Item(tuple(names), frozenset(numbers), frozenset(optional))


def same_value(left: Item, right: Item) -> bool:
    """Equal numbers; an uncertainty that one side lists as a number is forgiven."""
    a, b = set(map(_rounded, left.numbers)), set(map(_rounded, right.numbers))
    spare = set(map(_rounded, left.optional | right.optional))
    return bool(a) and bool(b) and (a == b or a - spare == b - spare != set())


def _rounded(number: float) -> float:
    return float(f"{number:.6g}")


def same_material(left: Item, right: Item) -> bool:
    """One name contained in the other, or the same composition."""
    for a in map(_squashed, left.names):
        for b in map(_squashed, right.names):
            if a and b and (a in b or b in a):
                return True
    return bool(_keys(left) & _keys(right))


def _squashed(name: str) -> str:
    return re.sub(r"[^\w]|_", "", plain(name).text).lower()


def _keys(record: Item) -> set[str]:
    found = (m.material for name in record.names for m in find_materials(plain(name).text))
    return {material.formula.key for material in found if material.formula}


@dataclass
class Score:
    """Counts of one system on one set."""

    right: int = 0
    said: int = 0
    found: int = 0
    gold: int = 0

    def add(self, said: Sequence[Item], gold: Sequence[Item], pairs: bool) -> None:
        """Count one document."""

        def match(a: Item, b: Item) -> bool:
            return same_value(a, b) and (not pairs or same_material(a, b))

        self.said += len(said)
        self.gold += len(gold)
        self.right += sum(any(match(s, g) for g in gold) for s in said)
        self.found += sum(any(match(s, g) for s in said) for g in gold)

    @property
    def figures(self) -> dict[str, float]:
        """Precision, recall and F1."""
        precision = self.right / self.said if self.said else 0.0
        recall = self.found / self.gold if self.gold else 0.0
        f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
        return {
            "P": round(precision, 3),
            "R": round(recall, 3),
            "F1": round(f1, 3),
            "said": self.said,
            "gold": self.gold,
        }


def predicted(document: Document, prop: Property, reader: Reader | None, look_back: int = LOOK_BACK) -> list[Item]:
    """The records of one document by grammar, or with a reader by both, one per material and value."""
    items: dict[tuple, Item] = {}
    pairs = asked_pairs(document, prop, reader, look_back) if reader else find_pairs(document, prop, look_back)
    for pair in pairs:
        said = _item(pair)
        items[pair.material.key, said.numbers] = said
    return list(items.values())


def _item(pair: Pair) -> Item:
    numbers = {pair.value.value} | ({pair.value.value_max} if pair.value.value_max is not None else set())
    optional = {pair.value.uncertainty} if pair.value.uncertainty is not None else set()
    names = tuple(name for name in (pair.material.name, pair.material.series) if name)
    return Item(names, frozenset(numbers), frozenset(optional))


def answered(text: str, prop: Property, reader: Reader) -> list[Item]:
    """The model alone: the value of every material the text names, where it is surer than not."""
    cleaned = plain(text).text
    names = list(dict.fromkeys(m.material.name for m in find_materials(cleaned) if not m.weak))
    if not names or not prop.trigger.search(cleaned):
        return []
    asked = [prop.questions["forward"].format(material=name) for name in names]
    found = answer(reader, asked, [cleaned] * len(names))
    said = [item([name], a.text, prop) for name, a in zip(names, found, strict=True) if a.confidence >= 0.5]
    return _unique([one for one in said if one.numbers])


def _unique(items: Sequence[Item]) -> list[Item]:
    return list(dict.fromkeys(items))


def abstracts(path: Path, prop: Property, reader: Reader | None) -> dict[str, dict[str, dict[str, float]]]:
    """Pair and value scores of all systems on a file of abstracts, as it stands and with the listed records."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    listed = json.loads(OMITTED.read_text(encoding="utf-8"))[path.stem]
    scores: dict[str, list[Score]] = defaultdict(lambda: [Score() for _ in range(4)])
    for row in rows:
        gold = _unique([item([name], value, prop) for name, value in row["gold"]])
        more = _unique([*gold, *(item([name], value, prop) for name, value in listed.get(row["id"], []))])
        document = read_string(row["text"], row["id"])
        said = {system: _unique([item([n], v, prop) for n, v in row[system]]) for system in ("cde", "bert_psie")}
        for name, asked in {"grammar": None, **({"hybrid": reader} if reader else {})}.items():
            said[name] = predicted(document, prop, asked)
            said[f"{name}, one sentence"] = predicted(document, prop, asked, 0)
        if reader:
            said["questions"] = answered(row["text"], prop, reader)
        for system, items in said.items():
            for score, wanted, pairs in zip(scores[system], (gold, gold, more, more), (True, False) * 2, strict=True):
                score.add(items, wanted, pairs)
    names = ("pair", "value", "pair, listed", "value, listed")
    return {system: dict(zip(names, (s.figures for s in four), strict=True)) for system, four in scores.items()}


def sentences(path: Path, prop: Property, reader: Reader | None) -> dict[str, dict[str, float]]:
    """Pair scores on ChemDataExtractor's sheet; of its own outputs the file has the hits only."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    texts: dict[str, list[Item]] = {}
    for row in rows:
        texts.setdefault(row["text"], []).append(item([row["compound"]], f"{row['value']} {row['unit']}", prop))
    own = {"grammar": Score(), **({"hybrid": Score()} if reader else {})}
    for text, gold in texts.items():
        for name, score in own.items():
            score.add(predicted(read_string(text), prop, reader if name == "hybrid" else None), gold, pairs=True)
    hits = sum(bool(row["cde_autosentence"] or row["cde_snowball_dyn"]) for row in rows)
    figures = {name: score.figures for name, score in own.items()}
    return figures | {"cde": {"R": round(hits / len(rows), 3), "gold": len(rows)}}


def papers(folder: Path, prop: Property, reader: Reader | None) -> dict[str, dict[str, float]]:
    """Strict scores on full papers: material and value of each record, most papers without any."""
    gold: dict[int, list[Item]] = {}
    rows = [json.loads(line) for line in (folder / "gold_arxiv.jsonl").read_text(encoding="utf-8").splitlines()]
    for row in rows:
        gold.setdefault(row["index"], []).append(item(row["material_aliases"], f"{row['value']} eV", prop))
    figures = {}
    systems = {"grammar": None, "grammar, tables too": None, **({"hybrid, tables too": reader} if reader else {})}
    for name, asked in systems.items():
        own, start, paths = Score(), time.process_time(), sorted((folder / "texts").iterdir())
        for path in paths:
            wanted = _unique(gold.get(int(path.name.split("_")[0]), []))
            document = read_paper(path)
            said = predicted(document, prop, asked)
            if "tables" in name:
                said = _unique([*said, *map(_item, find_table_pairs(document, prop))])
            own.add(said, wanted, pairs=True)
        seconds = time.process_time() - start
        rate = round(len(paths) / seconds, 1)
        figures[name] = own.figures | {"papers": len(paths), "papers_per_cpu_second": rate}
    return figures


def main() -> None:
    """Run the chosen sets and print their scores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/literature"))
    parser.add_argument("--set", nargs="*", default=["gap", "tc", "sentences", "papers"])
    parser.add_argument("--qa", default="qa", help="Question-answering model, or none for the grammar alone.")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    gold = arguments.data / "gold"
    gap, tc = load_property("band gap"), load_property("Curie temperature")
    reader = None if arguments.qa == "none" else load_reader(arguments.qa)
    runs = {
        "gap": lambda: abstracts(gold / "psie_abstracts_gap.jsonl", gap, reader),
        "tc": lambda: abstracts(gold / "psie_abstracts_Tc.jsonl", tc, reader),
        "sentences": lambda: sentences(gold / "cde_bandgap_sentences.jsonl", gap, reader),
        "papers": lambda: papers(gold / "ning200", gap, reader),
    }
    results = {name: runs[name]() for name in arguments.set}
    for name, systems in results.items():
        for system, figures in systems.items():
            parts = figures if isinstance(next(iter(figures.values())), dict) else {"pair": figures}
            for part, numbers in parts.items():
                print(f"{name:10} {system:24} {part:14} {json.dumps(numbers)}")
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
