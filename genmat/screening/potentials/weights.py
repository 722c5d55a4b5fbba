"""Weights saved by matgl: found, read without unpickling code, and told apart by their hash.

matgl 3.0 changed the end of a bond at which messages are summed. Weights trained before load in later versions without
an error and are wrong for every compound, while elements stay right. The published ones are known here by the sha256
of ``state.pt`` and evaluated in the convention they were trained in; all others in the present one of matgl.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from genmat.errors import GenmatError, RunError
from genmat.screening.potentials.base import PotentialInfo
from genmat.screening.potentials.engine import pick_device

FILES = ("model.json", "state.pt")
HUB = "materialyze"  # organisation of matgl's authors on the Hugging Face Hub
FOLDER = "GENMAT_POTENTIALS"  # environment variable: folder in which weights are looked for by name


@dataclass(frozen=True)
class Known:
    """Published weights: version, level of theory, message convention and golden energies (eV/atom)."""

    version: str
    functional: str
    target: bool  # messages are summed at the end of a bond (trained before matgl 3)
    mp2020: bool = False  # its energies still need the MP2020 corrections
    golden: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Weights:
    """One model as saved by matgl.

    Args:
        name: folder name, "M3GNet-MP-2021.2.8-PES".
        options: ``init_args`` of the model.
        state: tensors of the whole `Potential`.
        sha256: of ``state.pt``.
    """

    name: str
    options: Mapping[str, Any]
    state: Mapping[str, torch.Tensor]
    sha256: str

    @property
    def rows(self) -> dict[int, int]:
        """Atomic number -> row of the element table."""
        from pymatgen.core.periodic_table import Element

        return {Element(symbol).Z: row for row, symbol in enumerate(self.options["element_types"])}

    def version(self, family: str) -> str:
        """What tells these weights from others of the family: "MP-2021.2.8-PES"; unknown ones carry their hash."""
        short = self.name.removeprefix(f"{family}-") or "weights"
        return f"{short}+{self.sha256[:8]}"


def find_weights(family: str, given: str | None, default: str) -> Path:
    """The folder that holds model.json and state.pt.

    Args:
        family: "m3gnet", for messages.
        given: a folder; or a name to be looked for; None means ``default``.
        default: name of published weights.

    A name is looked for in the folder that GENMAT_POTENTIALS gives, then in the Hugging Face cache, then on the Hub.

    Raises:
        GenmatError: not a folder with such files. RunError: not here and the Hub cannot be reached.
    """
    if given is not None and (Path(given).expanduser().exists() or "/" in given or given.startswith(".")):
        folder = Path(given).expanduser()
        if missing := [name for name in FILES if not (folder / name).is_file()]:
            raise GenmatError(f"{family}:{given}: {missing[0]} not found there; give the folder that matgl saved")
        return folder
    name = given or default
    shelf = os.environ.get(FOLDER)
    if shelf and all((Path(shelf) / name / file).is_file() for file in FILES):
        return Path(shelf) / name
    from huggingface_hub import hf_hub_download
    from huggingface_hub.utils import logging

    before = logging.get_verbosity()
    try:
        logging.set_verbosity_error()  # its retries are not what the user needs to read
        return [Path(hf_hub_download(f"{HUB}/{name}", file)).parent for file in FILES][-1]
    except Exception as error:  # the client raises many types: no network, offline mode, no such repository
        raise RunError(
            f"{family}: {name} is neither here nor could it be fetched ({type(error).__name__}); "
            f"give its folder as {family}:/path/to/{name} or set {FOLDER}"
        ) from error
    finally:
        logging.set_verbosity(before)


def at_hand(default: str) -> bool:
    """Whether the default weights can be loaded without a network."""
    from huggingface_hub import try_to_load_from_cache

    shelf = os.environ.get(FOLDER)
    if shelf and all((Path(shelf) / default / file).is_file() for file in FILES):
        return True
    return all(isinstance(try_to_load_from_cache(f"{HUB}/{default}", file), str) for file in FILES)


def read_weights(folder: Path, family: str, model: str, required: Mapping[str, Any]) -> Weights:
    """Read a folder saved by matgl; nothing in it is executed.

    Args:
        folder: with model.json and state.pt.
        family: "m3gnet", for messages.
        model: matgl's class name.
        required: options the engine is written for.

    Raises:
        GenmatError: unreadable, another model, options not supported.
    """
    what = f"{family}:{folder}"
    try:
        data = (folder / "state.pt").read_bytes()
        saved = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        inner = saved["kwargs"]["model"]
        options = dict(inner["init_args"])
        mean = float(str(saved["kwargs"].get("data_mean") or 0).replace("tensor(", "").split(",")[0].rstrip(")"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise GenmatError(f"{what}: no potential saved by matgl ({type(error).__name__}); give such a folder") from None
    if inner.get("@class") != model:
        raise GenmatError(f"{what}: holds {inner.get('@class')}, not {model}; name the potential it belongs to")
    for key, value in required.items():
        if options.get(key, value) != value:
            raise GenmatError(f"{what}: {key} = {options[key]!r} is not supported; use weights with {value!r}")
    if saved["kwargs"].get("calc_repuls") or mean:
        raise GenmatError(f"{what}: pair repulsion or an energy offset is not supported; use weights without")
    try:
        state = torch.load(folder / "state.pt", map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises its own, the unpickler's and the zip reader's types
        raise GenmatError(f"{what}: state.pt is no file of tensors ({type(error).__name__}); fetch it again") from None
    return Weights(folder.resolve().name, options, state, hashlib.sha256(data).hexdigest())


@dataclass(frozen=True)
class Prepared:
    """Weights ready for an engine.

    Args:
        path: folder they came from.
        tensors: what the engine's ``prepare`` made of them, on `device`.
        options: ``init_args`` of the model.
        rows: atomic number -> row of the element table.
        mp2020: whether its energies still need the MP2020 corrections.
        info: the potential's card.
    """

    path: str
    tensors: Mapping[str, Any]
    options: Mapping[str, Any]
    rows: Mapping[int, int]
    device: torch.device
    mp2020: bool
    info: PotentialInfo


def prepare(
    family: str,
    model: str,
    folder: Path,
    required: Mapping[str, Any],
    published: Mapping[str, Known],
    make: Callable[..., Mapping[str, Any]],
) -> Prepared:
    """Read a folder saved by matgl, tell by its hash what it is, and bring its tensors into an engine's form.

    Args:
        family, model, required: as for `read_weights`.
        published: known weights by the sha256 of ``state.pt``.
        make: ``(state, options, target=...)`` -> tensors of the engine.

    Raises:
        GenmatError: as `read_weights`, or tensors that do not fit the model.
    """
    weights = read_weights(folder, family, model, required)
    known = published.get(weights.sha256)
    device = pick_device()
    try:
        made = make(weights.state, weights.options, target=known is not None and known.target)
    except (KeyError, RuntimeError) as error:
        raise GenmatError(f"{family}:{folder}: tensors do not fit {model} ({error}); fetch it again") from None
    info = PotentialInfo(
        name=family,
        version=known.version if known else weights.version(model),
        functional=known.functional if known else "unknown",
        licence="BSD-3-Clause",
        elements=frozenset(weights.options["element_types"]),
        stress_unit="GPa",
        golden=dict(known.golden) if known else {},
    )
    tensors = {k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in made.items()}
    mp2020 = known is not None and known.mp2020
    return Prepared(str(folder.resolve()), tensors, weights.options, weights.rows, device, mp2020, info)
