"""The `genmat` command: one sub-command per file; every user error is one line on stderr and a non-zero exit."""

from __future__ import annotations

import errno
import os
import re
import sys

# One torch thread per worker, waiting passively: two threads on a busy two-core machine wait for each other.
# Has to happen before anything loads OpenMP; what the user sets wins.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import typer

from genmat import __version__
from genmat.cli import app as web
from genmat.cli import (
    data,
    discover,
    doctor,
    evaluate,
    explore,
    export,
    extract,
    generate,
    literature,
    order,
    predict,
    push,
    report,
    scan,
    screen,
    train,
)
from genmat.errors import GenmatError
from genmat.screening.kernels import use_exact_kernels

RELAXING = ("app", "discover", "evaluate", "order", "screen")
"""Commands whose results must not depend on how many crystals share a batch or a machine."""

app = typer.Typer(
    name="genmat",
    help="Discover new inorganic crystals.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(discover.discover)
app.command()(generate.generate)
app.command()(screen.screen)
app.command()(scan.scan)
app.command()(order.order)
app.command()(train.train)
app.command()(extract.extract)
app.command()(report.report)
app.command("app")(web.serve_app)
app.command()(export.export)
app.command()(push.push)
app.command()(doctor.doctor)
app.add_typer(predict.app, name="predict")
app.add_typer(literature.app, name="literature")
app.add_typer(data.app, name="data")
app.add_typer(explore.app, name="explore")
app.add_typer(evaluate.app, name="evaluate")


def _version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", help="Print the version.", callback=_version, is_eager=True),
) -> None:
    """Discover new inorganic crystals: generate, screen, rank, report."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 a GenmatError, 2 wrong usage, 130 interrupted."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: list[str]) -> int:
    """Run the command line and return the exit code."""
    if arguments and arguments[0] in RELAXING:
        use_exact_kernels()
    try:
        code = app(_addressed(arguments) or ["--help"], prog_name="genmat", standalone_mode=False)
    except GenmatError as error:
        return _fail(str(error), 1)
    except KeyboardInterrupt:
        return _fail("interrupted; the same command continues", 130)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return _fail(f"{error.filename or 'output'}: no space left; free some, the same command continues", 1)
        if not isinstance(error, BrokenPipeError):
            raise
        sys.stdout = None  # the reader is gone, and so is any use of flushing
        return 1
    except Exception as error:
        describe = getattr(error, "format_message", None)  # typer's usage errors, whichever click they come from
        if describe is None:
            raise
        return _fail(describe().rstrip("."), getattr(error, "exit_code", 2))
    if code == 130:
        return _fail("interrupted; the same command continues", 130)
    return code if isinstance(code, int) else 0


def _addressed(arguments: list[str]) -> list[str]:
    """A bare ``--ray`` means a cluster started here; what follows is its address only if it looks like one."""
    done: list[str] = []
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        bare = argument == "--ray" and not re.fullmatch(r"auto|local|(ray://)?[\w.-]+:\d+", following)
        done += ["--ray", "local"] if bare else [argument]
    return done


def _fail(message: str, code: int) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
