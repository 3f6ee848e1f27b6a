"""How to train, and what happened."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from ..operators.checks import check_positive_integers

LARGEST = 10**9
"""More steps, or images a step, are a slip of the keyboard."""

WARM_UP = 0.02
"""Share of the steps in which the learning rate rises from zero."""


@dataclass(frozen=True)
class Settings:
    """How to train.

    Attributes:
        steps: number of updates.
        batch: images a step.
        crop: side, in pixels, of the square of outputs that is computed for each image; None: all
            of the image. Only local networks can be trained on crops.
        learning_rate: the largest one of Adam; it rises during the first 2 % of the steps and
            then falls to zero along half a cosine.
        ema: decay a step of the running mean of the weights, which is the result.
        clip: the largest norm of a gradient; longer ones are shortened.
        sigma: the noise level trained at; None: all those of `sample_sigma`.
        seed: of batches, noise levels, noise and crops. (Initial weights are the network's own.)
        precision: "float32", or "bfloat16" for the products inside the network: about 1.6 times
            faster on processors that have it and on GPUs, and much slower on others.
        records: how many times loss and probe are written to the history.

    Raises:
        ValueError: a number out of its range.

    Example:
        >>> Settings(steps=10).learning_rate_at(10)
        0.0
    """

    steps: int = 2000
    batch: int = 256
    crop: int | None = 4
    learning_rate: float = 2e-3
    ema: float = 0.999
    clip: float = 1.0
    sigma: float | None = None
    seed: int = 0
    precision: str = "float32"
    records: int = 25

    def __post_init__(self):
        check_positive_integers(steps=self.steps, batch=self.batch, records=self.records)
        if self.crop is not None:
            check_positive_integers(crop=self.crop)
        for name, most in (("steps", LARGEST), ("batch", LARGEST), ("seed", 2**63 - 1)):
            if not 0 <= getattr(self, name) <= most:
                raise ValueError(f"{name}: expected 0 to {most}, got {getattr(self, name)}")
        if not 0 < self.learning_rate <= 1e30:  # float32 holds no more
            raise ValueError(
                f"learning_rate: expected > 0 and at most 1e30, got {self.learning_rate}"
            )
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema: expected a number in [0, 1), got {self.ema}")
        if not 0 < self.clip < float("inf"):
            raise ValueError(f"clip: expected > 0, got {self.clip}")
        if self.sigma is not None and not 0 < self.sigma < float("inf"):
            raise ValueError(f"sigma: expected > 0 or None, got {self.sigma}")
        if self.precision not in ("float32", "bfloat16"):
            raise ValueError(f"precision: expected float32 or bfloat16, got {self.precision!r}")

    def learning_rate_at(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        share = step / self.steps
        if share < WARM_UP:
            return self.learning_rate * (step + 1) / (WARM_UP * self.steps + 1)
        falling = (share - WARM_UP) / (1 - WARM_UP)
        return self.learning_rate * 0.5 * (1 + float(torch.cos(torch.tensor(torch.pi * falling))))

    def records_at(self, step: int) -> bool:
        """Whether the history is written after so many steps."""
        return step == self.steps or step % max(1, self.steps // self.records) == 0


@dataclass
class History:
    """What happened.

    Attributes:
        records: a dictionary for each record: ``step``; ``loss``, its mean since the last record;
            and what the probe measured.
    """

    records: list[dict[str, float]] = field(default_factory=list)

    def column(self, name: str) -> list[float]:
        """One quantity over all records."""
        return [record[name] for record in self.records]
