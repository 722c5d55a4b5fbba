"""Which files a path stands for: a file, what a zip holds, what a folder holds."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path, PurePosixPath
from typing import IO, Any

from genmat.errors import GenmatError

ENDINGS = {
    ".cif": "cif", ".vasp": "poscar", ".poscar": "poscar", ".extxyz": "extxyz", ".xyz": "extxyz", ".csv": "csv",
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".parquet": "parquet", ".zip": "zip",
}  # fmt: skip
KNOWN = "a CIF, POSCAR, .vasp, .extxyz, .csv, .jsonl, .json, .parquet or .zip file, or a folder of them"
_PACKED = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


@dataclass(frozen=True)
class Source:
    """One file, in a folder, a zip or alone.

    Attributes:
        name: relative path as shown to people.
        kind: cif, poscar, extxyz, csv, jsonl, json or parquet.
        open: gives its bytes, uncompressed.
    """

    name: str
    kind: str
    open: Callable[[], IO[bytes]]

    def stem(self, folders: bool = False) -> str:
        """File name without its endings; with `folders`, the folders in front of it, joined by '-'."""
        pure = PurePosixPath(self.name)
        parts = [part for part in pure.parent.parts if part not in ("/", ".")] if folders else []
        base = pure.name
        while (suffix := PurePosixPath(base).suffix.lower()) and (suffix in _PACKED or suffix in ENDINGS):
            base = base[: -len(suffix)]
        return "-".join([*parts, base])

    def text(self) -> TextIOWrapper:
        """The file as text; bytes that are no UTF-8 are replaced, so that one accent does not lose a structure."""
        newline = "" if self.kind == "csv" else None
        return TextIOWrapper(self.open(), encoding="utf-8-sig", errors="replace", newline=newline)


def find_sources(path: Path) -> list[Source]:
    """The structure files a path stands for, in a fixed order. Raises GenmatError when there are none."""
    if path.is_dir():
        names = sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
        wanted = [name for name in names if _wanted(PurePosixPath(name))]
        found = [source for name in wanted for source in _file_sources(path / name, name, strict=False)]
    elif path.exists():
        found = _file_sources(path, path.name, strict=True)
    else:
        raise GenmatError(f"{path}: no such file or folder; give {KNOWN}")
    if not found:
        raise GenmatError(f"{path}: {'no structure files in it' if path.is_dir() else 'unknown kind'}; give {KNOWN}")
    return found


def _file_sources(file: Path, name: str, strict: bool) -> list[Source]:
    """The source a file is, or those a zip holds; none when its kind is unknown."""
    kind, packed = _kind(name)
    if kind is None:
        return []
    if kind != "zip":
        opener: Callable[..., Any] = _PACKED[packed] if packed else Path.open
        return [Source(name, kind, lambda: opener(file, "rb"))]
    try:
        archive = zipfile.ZipFile(file)
    except (OSError, zipfile.BadZipFile) as error:
        if strict:
            raise GenmatError(f"{file}: cannot be opened ({error}); give {KNOWN}") from None
        return [Source(name, "cif", lambda: file.open("rb"))]  # ends as one failed candidate
    members = sorted(info.filename for info in archive.infolist() if not info.is_dir())
    return [
        Source(member if strict else f"{name}/{member}", kind, _member(archive, member, packed))
        for member in members
        for kind, packed in [_kind(member)]
        if kind not in (None, "zip") and _wanted(PurePosixPath(member))
    ]


def _member(archive: zipfile.ZipFile, member: str, packed: str | None) -> Callable[[], Any]:
    """Opener of one file of a zip."""
    return lambda: _PACKED[packed](archive.open(member)) if packed else archive.open(member)


def _kind(name: str) -> tuple[str | None, str | None]:
    """Kind of a file by its name, and the ending of its compression."""
    pure = PurePosixPath(name)
    packed = pure.suffix.lower() if pure.suffix.lower() in _PACKED else None
    base = PurePosixPath(pure.stem if packed else pure.name)
    if base.suffix.lower() in ENDINGS:
        return ENDINGS[base.suffix.lower()], packed
    return ("poscar" if base.name.upper().startswith(("POSCAR", "CONTCAR")) else None), packed


def _wanted(relative: PurePosixPath) -> bool:
    """False for hidden files and what operating systems leave in archives."""
    return not any(part.startswith(".") or part == "__MACOSX" for part in relative.parts)
