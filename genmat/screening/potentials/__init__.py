"""Interatomic potentials: `load` one by name, evaluate crystals in batches.

A potential is anything with `PotentialInfo` and a batched `evaluate`; packages offer theirs through the entry-point
group ``genmat.potentials``, and any ASE calculator works as ``module:Class``.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points
from inspect import signature

from genmat.errors import GenmatError, did_you_mean
from genmat.screening.potentials.base import Evaluation, Potential, PotentialInfo
from genmat.screening.potentials.golden import GoldenCheck, check_golden, golden_crystal

__all__ = ["Evaluation", "GoldenCheck", "Potential", "PotentialInfo", "check_golden", "golden_crystal", "known", "load"]

GROUP = "genmat.potentials"
BUILT_IN = {
    "chgnet": "genmat.screening.potentials.chgnet:CHGNetPotential",
    "emt": "genmat.screening.potentials.emt:EMTPotential",
    "lj": "genmat.screening.potentials.lj:LJPotential",
    "m3gnet": "genmat.screening.potentials.m3gnet:M3GNetPotential",
    "tensornet": "genmat.screening.potentials.tensornet:TensorNetPotential",
    "mace": "genmat.screening.potentials.mace:MACEPotential",
}


def known() -> dict[str, str]:
    """Names `load` accepts, and the ``module:Class`` behind each; installed packages may add to them."""
    return {**BUILT_IN, **{point.name: point.value for point in entry_points(group=GROUP)}}


def load(name: str, *, check: bool = True, python: str | None = None) -> Potential:
    """Load a potential and make sure it predicts what it should.

    Args:
        name: a known name ("chgnet", "lj", "emt", …); a known name and its weights ("m3gnet:/path/to/folder"); or
            ``module:Class`` of a potential or an ASE calculator.
        check: compare with the golden energies it declares; weights nobody has checked must pass `check_physics`.
        python: interpreter of another environment in which to run it (`RemotePotential`); None = in this process.

    Raises:
        GenmatError: the name is unknown, the import fails, or a golden energy is missed: weights that load but
            predict nonsense are refused.
    """
    if python is not None:
        from genmat.screening.potentials.remote import RemotePotential

        return RemotePotential(name, python, check=check)
    choices = known()
    head, _, argument = name.partition(":")
    if head not in choices and not argument:
        raise GenmatError(did_you_mean(name, choices, "potential") + "; or give module:Class of an ASE calculator")
    if head in choices:
        potential = _construct(name, choices[head], argument)
    else:
        potential = _construct(name, name)
    if check:
        _refuse_nonsense(name, potential)
    return potential


def why_not(name: str) -> str | None:
    """Why a known name cannot be loaded here as it stands, without asking the network; None when it can be tried."""
    from genmat.screening.potentials import weights

    target = known().get(name)
    if target != BUILT_IN.get(name) or name not in ("m3gnet", "tensornet"):
        return None
    module, _, _ = str(target).partition(":")
    default = import_module(module).DEFAULT
    if weights.at_hand(default):
        return None
    return f"no weights here; give {name}:/path/to/{default}, or set {weights.FOLDER} to the folder that holds it"


def _refuse_nonsense(name: str, potential: Potential) -> None:
    wrong = [c for c in check_golden(potential) if not c.passed]
    if wrong:
        fix = "fetch its weights again" if ":" in name else "reinstall the package that carries its weights"
        raise GenmatError(
            f"{name}: predicts {wrong[0].energy:.3f} eV/atom for {wrong[0].crystal} instead of "
            f"{wrong[0].expected:.3f}; {fix}"
        )
    if not potential.info.golden and getattr(potential, "weights_from_anywhere", False):
        from genmat.screening.potentials.physics import check_physics

        if faults := check_physics(potential):
            raise GenmatError(
                f"{name}: unknown weights that predict nonsense ({faults[0]}); use published weights, and save weights "
                "made before matgl 3 again with a present one"
            )


def _construct(name: str, target: str, argument: str = "") -> Potential:
    module, _, attribute = target.partition(":")
    try:
        factory = getattr(import_module(module), attribute)
        if argument and not signature(factory).parameters:
            raise GenmatError(f"{name}: {name.partition(':')[0]} carries its own weights; leave the path out")
        made = factory(argument) if argument else factory()
    except GenmatError:
        raise
    except Exception as error:  # whatever a third-party module raises on import becomes one line
        raise GenmatError(f"{name}: {type(error).__name__}: {error}; check that {module} is installed") from error
    if hasattr(made, "info") and hasattr(made, "evaluate"):
        return made
    if hasattr(made, "calculate") or hasattr(made, "get_potential_energy"):
        from genmat.screening.potentials.ase_adapter import ASEPotential

        return ASEPotential(made, name=name)
    raise GenmatError(f"{name}: neither a potential nor an ASE calculator; it needs `info` and `evaluate`")
