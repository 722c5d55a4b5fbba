"""Fixtures every test may use, and the thread settings that keep small models fast."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from genmat.screening.kernels import use_exact_kernels

# Two torch threads on a busy two-core machine wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
use_exact_kernels()  # as the commands that relax do

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of the shared real data (``GENMAT_SHARED``, else ``../shared/data``); its absence skips the test."""
    folder = Path(os.environ.get("GENMAT_SHARED") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"shared data not found at {folder}; set GENMAT_SHARED")
    return folder
