"""A process that relaxes and evaluates for another one, in this or in another Python: the two ends of its pipe.

Both directions carry frames: eight bytes of length (big-endian), then JSON in UTF-8, floats written so that they come
back bit for bit. No pickle of a library crosses between environments, so their versions may differ; genmat itself is
loaded from the folder of the process that asks, whatever is installed over there. Messages::

    → {"protocol": 1, "potential": {"load": name, "check": bool} | {"pickle": base64}, "settings": {…}}
    ← {"protocol": 1, "python": "3.11.7", "info": {…}, "width": 1}        once the potential is loaded; width is the
                                                                           number of candidates it relaxes together
    → {"candidate": {…}} …, {"end": true}      ← {"candidate": {…}} …      in any order
    → {"evaluate": [crystal, …], "gradients": bool}   ← {"energies": […], "forces": […], "stresses": […]}
    → {"correction": crystal}                         ← {"correction": eV/atom}
    ← {"error": one line}                             instead of any answer

A worker whose parent is gone reads the end of its input and ends at once. A potential that exists only as a Python
object travels as a pickle, to the same interpreter alone.
"""

from __future__ import annotations

import base64
import json
import os
import pickle
import queue
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from genmat.candidate import Candidate
from genmat.errors import GenmatError, RunError
from genmat.screening.kernels import EXACT

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from genmat.screening.potentials.base import Potential

PROTOCOL = 1
START_SECONDS = 600.0
FIX = "give the python of an environment that has the potential and pymatgen"
LONGEST = 1 << 30  # bytes; what announces more does not speak this protocol

# genmat comes from the folder given, everything else from the interpreter's own environment
_BOOT = """
import sys
from importlib.util import module_from_spec, spec_from_file_location
if sys.version_info < (3, 11):
    sys.exit("Python %d.%d is too old, 3.11 or later is needed" % sys.version_info[:2])
folder = sys.argv[1]
spec = spec_from_file_location("genmat", folder + "/__init__.py", submodule_search_locations=[folder])
sys.modules["genmat"] = module = module_from_spec(spec)
spec.loader.exec_module(module)
from genmat.screening.worker import work
work()
"""


class Worker:
    """The near end: one process, speaking through its standard streams.

    Args:
        hello: the first message.
        python: another interpreter; None = this one, which also finds what this process can import.

    Raises:
        RunError: `python` is no program.
    """

    def __init__(self, hello: Mapping[str, Any], python: str | None = None) -> None:
        self.python = python
        self._errors = _scratch()
        program = str(Path(python).expanduser()) if python else sys.executable
        try:
            self.process = subprocess.Popen(
                [program, "-c", _BOOT, str(Path(__file__).resolve().parent.parent)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL if self._errors is None else self._errors,
                env=_environment(own=python is None),
                start_new_session=True,  # Ctrl-C reaches the parent alone, which ends its workers
            )
        except OSError as error:
            raise RunError(f"{program}: cannot run it ({error.strerror}); give the python of an environment") from None
        with suppress(OSError):  # it is gone already; the answer that never comes says so
            self.send(hello)

    def send(self, message: Mapping[str, Any]) -> None:
        """Write one message.

        Raises:
            OSError: the process is gone.
        """
        assert self.process.stdin is not None
        send(self.process.stdin, message)

    def receive(self) -> dict[str, Any]:
        """Wait for one message.

        Raises:
            EOFError: the process is gone, or speaks something else.
        """
        assert self.process.stdout is not None
        return receive(self.process.stdout)

    def greeting(self, seconds: float = START_SECONDS) -> dict[str, Any]:
        """Wait until it has loaded the potential; its first message.

        Raises:
            RunError: it could not, with its reason.
        """
        timer = threading.Timer(seconds, self.process.kill)
        timer.start()
        try:
            answer = self.receive()
        except (EOFError, OSError):
            alive = timer.is_alive()
            self.kill()
            reason = (self.last_words() or "it ended without a word") if alive else f"silent for {seconds:.0f} s"
            fix = (
                "give the python of an environment that has the potential and pymatgen" if self.python else "run again"
            )
            raise RunError(f"{self.python or 'worker process'}: did not start ({reason}); {fix}") from None
        finally:
            timer.cancel()
        where = f"{self.python}: " if self.python else ""
        if "error" in answer:
            self.kill()
            raise RunError(where + str(answer["error"]))
        if answer.get("protocol") != PROTOCOL:
            self.kill()
            spoken = answer.get("protocol")
            raise RunError(f"{where}worker speaks protocol {spoken}, not {PROTOCOL}; restart with one genmat")
        return answer

    def last_words(self) -> str:
        """The last line it wrote on its standard error."""
        if self._errors is None:
            return ""
        self._errors.seek(0)
        lines = self._errors.read()[-4000:].decode(errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else ""

    def kill(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            with suppress(OSError):  # what was written and not read
                if stream is not None:
                    stream.close()


def describe(potential: Potential) -> tuple[dict[str, Any], str | None]:
    """What a worker must be told to have `potential` too, and the interpreter it needs (None: this one)."""
    python = getattr(potential, "python", None)
    if python is not None:
        return {"load": potential.spec, "check": False}, python  # type: ignore[attr-defined]
    try:
        return {"pickle": base64.b64encode(pickle.dumps(potential)).decode()}, None
    except Exception:  # pickle raises whatever the object's parts raise
        return {"load": potential.info.name, "check": False}, None


def potential_from(told: Mapping[str, Any]) -> Potential:
    """The potential that `describe` described.

    Raises:
        GenmatError: it cannot be loaded here.
    """
    if "pickle" in told:
        return pickle.loads(base64.b64decode(told["pickle"]))
    from genmat.screening.potentials import load

    return load(told["load"], check=told["check"], python=told.get("python"))


def send(stream: IO[bytes] | Any, message: Mapping[str, Any]) -> None:
    """Write one frame."""
    data = json.dumps(message, separators=(",", ":"), default=lambda array: array.tolist()).encode()
    stream.write(struct.pack(">Q", len(data)) + data)
    stream.flush()


def receive(stream: IO[bytes] | Any) -> dict[str, Any]:
    """Read one frame; `EOFError` where there is none, or something else."""
    header = stream.read(8)
    if len(header) < 8:
        raise EOFError
    length = struct.unpack(">Q", header)[0]
    data = stream.read(length) if length <= LONGEST else b""
    if not data or len(data) < length:
        raise EOFError
    try:
        return json.loads(data)
    except ValueError:
        raise EOFError from None


def pack(structure: Structure) -> dict[str, Any]:
    """An ordered crystal as plain lists (Å, fractional)."""
    try:
        symbols = [site.specie.symbol for site in structure]
    except AttributeError:
        raise GenmatError(f"{structure.formula}: disordered sites have no energy; order the structure") from None
    return {"cell": structure.lattice.matrix.tolist(), "species": symbols, "coords": structure.frac_coords.tolist()}


def unpack(crystal: Mapping[str, Any]) -> Structure:
    """The crystal that `pack` packed."""
    from pymatgen.core import Lattice, Structure

    return Structure(Lattice(crystal["cell"]), crystal["species"], crystal["coords"])


def _scratch() -> IO[bytes] | None:
    """A file for what a worker says on its standard error, or None where the disk is full."""
    try:
        return tempfile.TemporaryFile()
    except OSError:
        return None


def _environment(own: bool) -> dict[str, str]:
    """One thread and exact kernels each; another interpreter must not be led into this one's packages."""
    environment = {**EXACT, **os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    if own:
        environment["PYTHONPATH"] = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
    else:
        for name in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"):
            environment.pop(name, None)
    return environment


# --- the far end ------------------------------------------------------------------------------------------------------


def work() -> None:
    """The worker's life: load the potential, then answer one message after the other until the pipe closes."""
    source, sink = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not enter the stream of results
    try:
        _serve(source, sink)
    except (EOFError, BrokenPipeError):  # the parent is gone
        os._exit(0)


def _serve(source: IO[bytes], sink: IO[bytes]) -> None:
    hello = receive(source)
    try:
        if hello.get("protocol") != PROTOCOL:
            raise GenmatError(f"asked in protocol {hello.get('protocol')}, not {PROTOCOL}; restart with one genmat")
        potential = potential_from(hello["potential"])
        from genmat.screening.flight import best_width
    except Exception as error:  # an import may raise anything
        return send(sink, {"protocol": PROTOCOL, "error": one_line(error)})
    info = {**vars(potential.info), "elements": sorted(potential.info.elements), "golden": dict(potential.info.golden)}
    width = best_width(potential)
    send(sink, {"protocol": PROTOCOL, "python": sys.version.split()[0], "info": info, "width": width})
    inbox: queue.Queue[dict[str, Any]] = queue.Queue()
    threading.Thread(target=_read, args=(source, inbox), daemon=True).start()
    while True:
        message = inbox.get()
        try:
            for answer in _answers(message, inbox, potential, hello["settings"]):
                send(sink, answer)
        except BrokenPipeError:
            raise
        except Exception as error:  # said in the parent, which knows what to do about it
            send(sink, {"error": one_line(error), "run": isinstance(error, RunError)})


def _read(source: IO[bytes], inbox: queue.Queue[dict[str, Any]]) -> None:
    """Empty the pipe, so that the parent never waits; its end is the end."""
    try:
        while True:
            inbox.put(receive(source))
    except (EOFError, OSError):
        os._exit(0)


def _answers(
    message: dict[str, Any], inbox: queue.Queue[dict[str, Any]], potential: Potential, settings: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """Answers to a message, or to the candidates from it to the next ``end``."""
    if "evaluate" in message:
        made = potential.evaluate([unpack(c) for c in message["evaluate"]], gradients=message["gradients"])
        yield {"energies": made.energies, "forces": list(made.forces), "stresses": made.stresses}
    elif "correction" in message:
        correction = getattr(potential, "correction", None)
        yield {"correction": float(correction(unpack(message["correction"]))) if correction else 0.0}
    elif "candidate" in message:
        from genmat.screening.relax import relax

        for done in relax(_arriving(message, inbox), potential, **settings):
            yield {"candidate": done.to_dict()}


def _arriving(message: dict[str, Any], inbox: queue.Queue[dict[str, Any]]) -> Iterator[Candidate]:
    while "candidate" in message:
        yield Candidate.from_dict(message["candidate"])
        message = inbox.get()


def one_line(error: Exception) -> str:
    """An exception as one line; genmat's own already say what to do."""
    if isinstance(error, GenmatError):
        return str(error)
    if isinstance(error, ModuleNotFoundError):
        return f"{error.name} is not installed there; install it, or give another --python"
    return " ".join(f"{type(error).__name__}: {error}".split())
