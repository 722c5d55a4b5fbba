"""Learning curve of a transfer: error on the test fold, with pretrained weights and without, by number of crystals.

python benchmarks/transfer.py --rows 50 100 200 400 800
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np

from genmat.cli.data import folder
from genmat.data.property_table import load_property
from genmat.training.cgat import train_cgat
from genmat.training.cgat_config import CGATTrainConfig
from genmat.training.config import load_recipe

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=ROOT / "experiments" / "cgat_phonons.yaml")
    parser.add_argument("--rows", type=int, nargs="+", default=[50, 100, 200, 400, 800])
    parser.add_argument("--root", type=Path, default=folder(None))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    config = load_recipe(options.config, CGATTrainConfig)
    assert config.optimiser is not None, "a transfer trains"
    results = []
    for rows in options.rows:
        table = load_property(options.root, config.table, rows)
        values = table.labels["energy"]
        test, train = values[table.rows("test")], values[table.rows("train")]
        found = {"rows": len(train), "median": float(np.abs(test - np.median(train)).mean())}
        for name, start in (("pretrained", config.start), ("from scratch", ())):
            # as many steps for few crystals as for many: otherwise the small sets would hardly be fitted
            epochs = config.optimiser.epochs * max(1.0, 400 / len(train))
            optimiser = config.optimiser.model_copy(update={"epochs": epochs})
            changed = config.model_copy(update={"start": start, "optimiser": optimiser})
            with tempfile.TemporaryDirectory() as out:
                found[name] = train_cgat(changed, Path(out), table=table)["metrics"]["test"]["mae"]
        print(
            f"{found['rows']} crystals: MAE {found['pretrained']:.4g} pretrained, "
            f"{found['from scratch']:.4g} from scratch, {found['median']:.4g} by the median; test {len(test)}",
            flush=True,
        )
        results.append(found)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
