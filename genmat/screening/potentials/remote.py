"""A potential that lives in another Python: packages whose pins clash with this environment's still judge its crystals.

The other interpreter needs the potential's own package and pymatgen, moyopy and threadpoolctl; genmat comes from here.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from genmat.errors import GenmatError, RunError
from genmat.screening.potentials.base import Evaluation, PotentialInfo

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from genmat.screening.worker import Worker


class RemotePotential:
    """A potential in a worker process of another interpreter, started at once and again should it die.

    Args:
        spec: what `load` would be given over there, "mace:/path/to.model".
        python: path of the interpreter.
        check: compare with golden energies over there.

    Raises:
        GenmatError: the interpreter is missing or lacks a package, or the potential cannot be loaded there.
    """

    def __init__(self, spec: str, python: str, *, check: bool = True) -> None:
        self.spec, self.python, self._check = spec, str(python), check
        self._lock = threading.Lock()  # one question at a time
        self._worker: Worker | None = None
        info = self._start()["info"]
        self.info = PotentialInfo(**{**info, "elements": frozenset(info["elements"])})

    def __reduce__(self) -> tuple:
        """Another process starts a worker of its own."""
        return _again, (self.spec, self.python)

    def evaluate(self, structures: Sequence[Structure], *, gradients: bool = True) -> Evaluation:
        """Energies (eV), forces (eV/Å) and stresses (eV/Å³), through the pipe.

        Raises:
            GenmatError: what the potential says over there.
            RunError: its process died twice.
        """
        from genmat.screening.worker import pack

        made = self._ask({"evaluate": [pack(s) for s in structures], "gradients": gradients})
        forces = [np.array(force, dtype=float).reshape(-1, 3) for force in made["forces"]]
        stresses = np.array(made["stresses"], dtype=float).reshape(-1, 3, 3)
        return Evaluation(np.array(made["energies"], dtype=float), forces, stresses)

    def correction(self, structure: Structure) -> float:
        """What the potential's energy still needs on its reference scale, eV/atom; 0 where it says nothing."""
        from genmat.screening.worker import pack

        return float(self._ask({"correction": pack(structure)})["correction"])

    def close(self) -> None:
        """End the process; the next question starts it again."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.kill()

    def _ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        with self._lock:
            for _ in range(2):
                try:
                    if self._worker is None:
                        self._start()
                    assert self._worker is not None
                    self._worker.send(question)
                    answer = self._worker.receive()
                except (EOFError, OSError):
                    self.close()
                    continue
                if "error" in answer:
                    raise (RunError if answer.get("run") else GenmatError)(answer["error"])
                return answer
        raise RunError(f"{self.spec}: its process in {self.python} died twice; run it there to see why")

    def _start(self) -> dict[str, Any]:
        from genmat.screening.worker import PROTOCOL, Worker

        told = {"load": self.spec, "check": self._check}
        self._worker = Worker({"protocol": PROTOCOL, "potential": told, "settings": {}}, self.python)
        try:
            answer = self._worker.greeting()
        except GenmatError:
            self._worker = None
            raise
        self._check = False  # once is enough
        return answer


def _again(spec: str, python: str) -> RemotePotential:
    return RemotePotential(spec, python, check=False)
