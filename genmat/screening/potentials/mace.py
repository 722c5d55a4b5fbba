"""MACE (Batatia et al., NeurIPS 2022): equivariant message passing, from a model file or, when online, by name.

MACE model files are pickles of whole models, and importing mace switches off torch's safe loading for the process
(``TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD``). Here the import leaves that setting as it was, and a file is loaded only when
the user named it, by torch's restricted unpickler: classes of mace, e3nn and torch.nn may be built, nothing else may
be called, and the tensor programs of the file (torch.fx source) are read before they are compiled: plain contractions
pass, any other statement is refused.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genmat.errors import GenmatError
from genmat.screening.potentials.base import Evaluation, PotentialInfo
from genmat.screening.potentials.engine import batches
from genmat.screening.potentials.neighbours import half_list

if TYPE_CHECKING:
    import torch
    from pymatgen.core import Structure

BATCH_ATOMS = 128  # larger batches leave the cache and are slower on a CPU
UNSAFE_LOADING = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"

MP = "PBE/PBE+U without corrections (MPtrj)"
FOUNDATION = {
    **dict.fromkeys(("small", "medium", "large", "small-0b", "medium-0b"), MP),
    **dict.fromkeys(("small-0b2", "medium-0b2", "large-0b2", "medium-0b3"), MP),
    "medium-mpa-0": "PBE/PBE+U without corrections (MPtrj, sAlex)",
    "small-omat-0": "PBE/PBE+U (OMat24)",
    "medium-omat-0": "PBE/PBE+U (OMat24)",
    "mace-matpes-pbe-0": "PBE (MatPES)",
    "mace-matpes-r2scan-0": "r2SCAN (MatPES)",
}
"""Models mace can download, and the energies they were trained on (Batatia et al., arXiv:2401.00096)."""

# callables a model file may name beside the module classes; calling any of them with any argument is harmless
_FUNCTIONS = {
    *(f"torch.nn.functional.{name}" for name in ("silu", "softplus", "relu", "gelu", "tanh", "sigmoid")),
    *(f"torch.{name}" for name in ("tanh", "sigmoid", "relu", "abs")),
    *("torch.fx._symbolic_trace.Tracer", "builtins.slice", "numpy.dtype", "numpy.ndarray", "_codecs.encode"),
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
    *(f"numpy.dtypes.{kind}DType" for kind in ("Float64", "Float32", "Int64", "Int32")),
}
_CLASSES = ("mace.modules.", "e3nn.", "torch.nn.modules.")
_PROGRAM = "torch.fx.graph_module.reduce_graph_module"
# what the tensor programs of a model consist of
_NODES = (
    *(ast.Module, ast.FunctionDef, ast.arguments, ast.arg, ast.Assign, ast.Return, ast.Pass, ast.Expr, ast.Call),
    *(ast.Name, ast.Load, ast.Store, ast.Attribute, ast.Constant, ast.Tuple, ast.List, ast.Subscript, ast.Slice),
    *(ast.keyword, ast.UnaryOp, ast.USub, ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow),
)
_CALLS = {"einsum", "tensordot", "reshape", "view", "permute", "transpose", "sum", "mul", "add", "contiguous"} | {
    *("unsqueeze", "squeeze", "flatten", "expand", "size", "new_zeros", "clone", "div", "sub", "neg", "matmul", "to")
}


class MACEPotential:
    """Energies, forces and stresses of a MACE model, in batches.

    Args:
        model: path of a model file, or one of `FOUNDATION`, which mace downloads into its cache. ``path#head`` chooses
            among the heads of a model with several.

    Raises:
        GenmatError: mace-torch is missing, the file is missing, unsafe or no MACE model, or the download failed.
    """

    def __init__(self, model: str | Path = "") -> None:
        self._spec = str(model)
        name, _, head = self._spec.partition("#")
        if not name:
            raise GenmatError(f"mace: which model? give mace:/path/to.model or mace:NAME, one of {_names()}")
        _import_mace()
        import torch

        path = _locate(name)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model: Any = load_model(path).to(self._device)
        self._dtype = next(self._model.parameters()).dtype
        self._numbers = [int(z) for z in self._model.atomic_numbers]
        self._cutoff = float(self._model.r_max)
        self._head = _head(self._spec, head, list(getattr(self._model, "heads", None) or ["Default"]))
        self.info = _info(name, path, head, self._numbers)

    def __reduce__(self) -> tuple:
        """Workers load the file themselves: compiled models do not travel well."""
        return type(self), (self._spec,)

    def evaluate(self, structures: Sequence[Structure], *, gradients: bool = True) -> Evaluation:
        """Evaluate crystals in batches of about 128 atoms, in the model's own precision.

        Args:
            structures: ordered crystals of any size.
            gradients: False returns energies alone.

        Returns:
            `Evaluation` in eV, eV/Å, eV/Å³.

        Raises:
            GenmatError: a species is disordered or not among the model's elements.
        """
        energies: list[float] = []
        forces: list[np.ndarray] = []
        stresses: list[np.ndarray] = []
        for batch in batches(structures, len, BATCH_ATOMS):
            made = self._model(self._graph(batch), compute_force=gradients, compute_stress=gradients)
            energies += made["energy"].detach().double().tolist()
            if gradients:
                ends = np.cumsum([len(s) for s in batch])[:-1]
                forces += np.split(made["forces"].detach().double().cpu().numpy(), ends)
                stresses += list(made["stress"].detach().double().cpu().numpy())
        return Evaluation(np.array(energies), forces, np.array(stresses).reshape(-1, 3, 3))

    def correction(self, structure: Structure) -> float:
        """MP2020 correction (eV/atom) of models that learnt MPtrj's uncorrected energies; 0 for all others."""
        from genmat.screening.potentials.corrections import mp2020

        return mp2020(structure) if "MPtrj" in self.info.functional else 0.0

    def _graph(self, batch: Sequence[Structure]) -> dict[str, torch.Tensor]:
        """Several crystals side by side, as the model's forward wants them; edges in both directions."""
        import torch

        sizes = np.array([len(s) for s in batch])
        offset = np.cumsum(sizes) - sizes
        sender, receiver, image, shift = [], [], [], []
        for structure, start in zip(batch, offset, strict=True):
            bonds = half_list(structure.cart_coords, structure.lattice.matrix, self._cutoff)
            both = np.concatenate([bonds.image, -bonds.image])
            sender.append(np.concatenate([bonds.first, bonds.second]) + start)
            receiver.append(np.concatenate([bonds.second, bonds.first]) + start)
            image.append(both)
            shift.append(both @ structure.lattice.matrix)

        def real(values: Any) -> torch.Tensor:
            return torch.tensor(np.asarray(values, dtype=float), dtype=self._dtype, device=self._device)

        def whole(values: Any) -> torch.Tensor:
            return torch.tensor(np.asarray(values), dtype=torch.long, device=self._device)

        species = whole([self._species(s) for structure in batch for s in structure])
        return {
            "positions": real(np.concatenate([s.cart_coords for s in batch])),  # (n_atoms, 3)
            "node_attrs": torch.nn.functional.one_hot(species, len(self._numbers)).to(self._dtype),
            "edge_index": whole(np.stack([np.concatenate(sender), np.concatenate(receiver)])),  # (2, n_edges)
            "unit_shifts": real(np.concatenate(image)),  # (n_edges, 3)
            "shifts": real(np.concatenate(shift)),  # (n_edges, 3) Å
            "cell": real(np.concatenate([s.lattice.matrix for s in batch])),  # (3 n_crystals, 3)
            "batch": whole(np.repeat(np.arange(len(batch)), sizes)),
            "ptr": whole(np.append(offset, sizes.sum())),
            "head": whole(np.full(len(batch), self._head)),
        }

    def _species(self, site: Any) -> int:
        try:
            return self._numbers.index(site.specie.Z)
        except AttributeError:
            raise GenmatError(f"{site.species_string}: disordered sites have no energy; order the structure") from None
        except ValueError:
            known = ", ".join(sorted(self.info.elements))
            raise GenmatError(f"{site.specie.symbol}: not an element of this MACE model ({known}); remove it") from None


def load_model(path: Path) -> torch.nn.Module:
    """The model of a file, frozen, on the CPU, by restricted unpickling.

    Raises:
        GenmatError: unreadable, or it names code that no MACE model needs.
    """
    import torch

    _import_mace()
    try:
        named = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        allowed: list[Any] = [(_allowed(path, name), name) for name in named]
        with torch.serialization.safe_globals(allowed):
            model = torch.load(path, map_location="cpu", weights_only=True)
    except GenmatError:
        raise
    except Exception as error:  # zip, pickle and torch have many ways to dislike a file
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise GenmatError(f"{path}: not a MACE model file ({reason}); give a .model saved by mace") from None
    if not isinstance(model, torch.nn.Module) or not hasattr(model, "atomic_numbers") or not hasattr(model, "r_max"):
        raise GenmatError(f"{path}: holds a {type(model).__name__}, not a MACE model; give a .model saved by mace")
    return model.eval().requires_grad_(False)


def _allowed(path: Path, name: str) -> Any:
    """The object behind a name in a model file, if a MACE model may have it."""
    import torch

    if name == _PROGRAM:
        return _checked_program(path)
    module, _, attribute = name.rpartition(".")
    if name in _FUNCTIONS or name.startswith(_CLASSES):
        found = getattr(importlib.import_module(module), attribute, None)
        plain = isinstance(found, type) and (issubclass(found, (torch.nn.Module, tuple)) or module.startswith("e3nn."))
        if found is not None and (name in _FUNCTIONS or plain):
            return found
    raise GenmatError(f"{path}: names {name}, which no MACE model needs; do not load files you do not trust")


def _checked_program(path: Path) -> Any:
    """torch.fx's loader of generated code, for code that only contracts and reshapes tensors."""

    def load(body: dict[str, Any], imports: str) -> Any:
        from torch.fx.graph_module import reduce_graph_module

        for node in ast.walk(ast.parse(body.get("_code") or body["code"])):
            name = getattr(node, "attr", None) or getattr(node, "id", None) or getattr(node, "arg", None) or ""
            harmless = isinstance(node, _NODES) and not (isinstance(name, str) and name.startswith("_"))
            if isinstance(node, ast.Call):
                harmless = isinstance(node.func, ast.Attribute) and node.func.attr in _CALLS
            if isinstance(node, ast.FunctionDef):
                harmless = node.name == "forward" and not node.decorator_list
            if not harmless:
                raise GenmatError(f"{path}: its program does more than contract tensors; do not load it")
        return reduce_graph_module(body, "import torch\nfrom torch import device\nfrom math import inf, nan\n")

    return load


def _import_mace() -> None:
    """Import mace, before e3nn, and leave torch's safe loading as it was."""
    with _setting(UNSAFE_LOADING):
        try:
            importlib.import_module("mace.modules")
        except ImportError as error:
            missing = error.name or str(error)
            raise GenmatError(
                f"mace: {missing} is not installed; pip install 'genmat[mace]', or give --python of one that has it"
            ) from None


@contextmanager
def _setting(variable: str) -> Iterator[None]:
    """Put an environment variable back afterwards."""
    before = os.environ.get(variable)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(variable, None)
        else:
            os.environ[variable] = before


def _locate(name: str) -> Path:
    """The file of a path, or of a model that mace downloads once."""
    path = Path(name).expanduser()
    if path.is_file():
        return path
    if name not in FOUNDATION:
        raise GenmatError(f"{name}: no such model file; give a path, or one of {_names()}")
    import io

    with _setting(UNSAFE_LOADING), redirect_stdout(io.StringIO()):
        try:
            models = importlib.import_module("mace.calculators.foundations_models")
            return Path(models.download_mace_mp_checkpoint(name))
        except OSError as error:  # urllib's errors are OSErrors
            reason = str(getattr(error, "reason", error))
            raise GenmatError(f"mace:{name}: cannot download it ({reason}); give a model file by path") from None


def _info(name: str, path: Path, head: str, numbers: Sequence[int]) -> PotentialInfo:
    """The name card; a model given as a file carries the start of its sha256, so that files are never confused."""
    from pymatgen.core import Element

    by_name = name in FOUNDATION
    version = name if by_name else f"{path.stem}-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}"
    academic = "omat" in name or "matpes" in name
    return PotentialInfo(
        name="mace",
        version=f"{version}#{head}" if head else version,
        functional=FOUNDATION[name] if by_name else "as the model was trained",
        licence=("ASL (academic)" if academic else "MIT") if by_name else "of the model file",
        elements=frozenset(Element.from_Z(z).symbol for z in numbers),
    )


def _head(spec: str, wanted: str, heads: list[str]) -> int:
    if not wanted and (len(heads) == 1 or "default" in [h.lower() for h in heads]):
        return 0 if len(heads) == 1 else [h.lower() for h in heads].index("default")
    if wanted not in heads:
        raise GenmatError(f"mace:{spec}: the model has the heads {', '.join(heads)}; choose with mace:FILE#HEAD")
    return heads.index(wanted)


def _names() -> str:
    return ", ".join(FOUNDATION)
