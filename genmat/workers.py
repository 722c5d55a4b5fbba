"""Processes that share work and end with the one that started them, however it went."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any


def process_pool(
    workers: int, start: Callable[..., None] | None = None, given: tuple[Any, ...] = ()
) -> ProcessPoolExecutor:
    """A pool of fresh processes (a forked torch may hang), each of which calls ``start(*given)`` first.

    The library's own processes wait for work for ever when their parent is killed: they would keep memory, and the
    files they locked.
    """
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _start, (start, given))


def _start(start: Callable[..., None] | None, given: tuple[Any, ...]) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if start is not None:
        start(*given)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
