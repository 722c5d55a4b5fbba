"""Kernels of the processor that give a crystal the same numbers, bit for bit, in any batch.

Where a processor has AVX-512, MKL picks kernels by the shape of a matrix and by where it lies in memory, and torch's
own vectorised ones treat the end of an array otherwise than its middle; energies then change in the last bits with the
company a crystal is evaluated in. MKL's strict reproducibility and torch's AVX2 kernels avoid that and cost a third of
the speed of small products. Both are read once, at the first product, so they have to be set before.
"""

from __future__ import annotations

import os
import platform

EXACT = (
    {"MKL_CBWR": "AVX2,STRICT", "ATEN_CPU_CAPABILITY": "avx2"}
    if platform.machine().lower() in ("x86_64", "amd64")
    else {}
)
"""Environment of a process that relaxes."""


def use_exact_kernels() -> None:
    """Ask for `EXACT` in this process and those it starts; what the user sets wins. Without effect after torch's first
    product."""
    for name, value in EXACT.items():
        os.environ.setdefault(name, value)
