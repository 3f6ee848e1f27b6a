"""How much a hand-in may use."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What a notebook may use: seconds for a cell, gigabytes of memory for the process."""

    seconds: float = 120
    memory: float = 4

    def __post_init__(self):
        """Both are positive."""
        if not (self.seconds > 0 and self.memory > 0):
            raise ValueError(f"expected positive limits, got {self.seconds} s and {self.memory} GB")
