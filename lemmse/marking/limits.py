"""How much a hand-in may use."""

from dataclasses import dataclass

LARGEST = 1e9
"""Gigabytes."""


@dataclass(frozen=True)
class Limits:
    """What a notebook may use: seconds for a cell, gigabytes of memory for the process."""

    seconds: float = 120
    memory: float = 4

    def __post_init__(self):
        """Both are positive, and the system can count the bytes."""
        if not (self.seconds > 0 and 0 < self.memory <= LARGEST):
            raise ValueError(
                f"expected limits above zero, of the memory at most {LARGEST:.0e} GB, got "
                f"{self.seconds} s and {self.memory} GB"
            )
