"""Processes that torchrun started side by side."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
from torch import distributed

from ..devices import device

PATIENCE = timedelta(minutes=5)
"""How long a process waits for the others; a group of processes that lost one never answers."""


def rank() -> int:
    """The number of this process, from 0."""
    return int(os.environ.get("RANK", 0))


def world() -> int:
    """How many processes there are."""
    return int(os.environ.get("WORLD_SIZE", 1))


@contextmanager
def joined_processes(patience: timedelta = PATIENCE) -> Iterator[torch.device]:
    """Joins the other processes, if there are any, so that estimators share the training set.

    Args:
        patience: see `PATIENCE`.

    Yields:
        The device of this process.

    Raises:
        ValueError: another process ended, or did not answer in time.
    """
    where = device()
    if world() == 1:
        yield where
        return
    if where.type == "cuda":
        where = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(where)
    try:
        distributed.init_process_group("nccl" if where.type == "cuda" else "gloo", timeout=patience)
        yield where
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"process {rank() + 1} of {world()}: another process ended, or did not answer within "
            f"{patience.total_seconds():.0f} s ({reason})"
        ) from error
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()
