"""One training loop for every network of the project."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from .datasets import checksum
from .files import replaced
from .networks import LocalNetwork
from .operators import Identity, Operator, PreInverse, as_operator
from .operators.checks import check_positive_integers
from .patches import check_patch_size

SIGMA_MIN = 0.005
"""The smallest noise level trained on."""

WARM_UP = 0.02
"""Share of the steps in which the learning rate rises from zero."""

Probe = Callable[[nn.Module], dict[str, float]]
"""Measures a network in training, for instance by its PSNR against LE-MMSE at a few sigma."""


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
        if not 0 < self.learning_rate < float("inf"):
            raise ValueError(f"learning_rate: expected > 0, got {self.learning_rate}")
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


@dataclass(frozen=True)
class Problem:
    """What a network learns to solve: from z = B y, or from y itself, back to x.

    Attributes:
        images: the training images x, (N, C, H, W).
        operator: A.
        preinverse: B; None: the network is given y, which need not be an image.

    Example:
        >>> problem = Problem.of(torch.rand(10, 1, 8, 8))
        >>> problem.measured(problem.images, torch.full((10,), 0.1), None).shape
        torch.Size([10, 1, 8, 8])
    """

    images: Tensor
    operator: Operator
    preinverse: PreInverse | None

    @classmethod
    def direct(cls, images: Tensor, operator: object) -> Problem:
        """A problem for networks that hold the operator and are given the measurement itself.

        Args:
            images: (N, C, H, W).
            operator: A.

        Raises:
            ValueError: the images are no batch, or the operator does not fit them.

        Example:
            >>> from lemmse.operators import Tomography
            >>> problem = Problem.direct(torch.rand(2, 1, 8, 8), Tomography([0, 90], (8, 8)))
            >>> problem.measured(problem.images, torch.full((2,), 0.1), None).shape
            torch.Size([2, 1, 12, 2])
        """
        _check_batch(images)
        return cls(images, as_operator(operator, tuple(images.shape[1:])), None)

    @classmethod
    def of(
        cls,
        images: Tensor,
        operator: object = None,
        preinverse: object = None,
        regularisation: float = 0.01,
    ) -> Problem:
        """Takes what the estimators take.

        Args:
            images: (N, C, H, W).
            operator: A; None: denoising.
            preinverse: see `lemmse.operators.preinverse`.
            regularisation: lambda of "tikhonov".

        Raises:
            ValueError: the images are no batch, or operator or pre-inverse do not fit them.
        """
        _check_batch(images)
        shape = tuple(images.shape[1:])
        operator = as_operator(Identity() if operator is None else operator, shape)
        return cls(images, operator, operator.preinverse(preinverse, shape, regularisation))

    def measured(self, x: Tensor, sigma: Tensor, generator: torch.Generator | None) -> Tensor:
        """What the network sees: z = B (A x + sigma e), or y = A x + sigma e."""
        return self._seen(self.operator.measure(x, sigma, generator))

    def description(self) -> dict[str, str]:
        """What tells this problem from others: a checksum of the images, the names of A and B."""
        return {
            "images": checksum(self.images),
            "operator": type(self.operator).__name__,
            "preinverse": "none" if self.preinverse is None else self.preinverse.name,
        }

    def clean(self) -> Tensor:
        """B A x, or A x, for all training images."""
        return self._seen(self.operator.A(self.images))

    def _seen(self, y: Tensor) -> Tensor:
        return y if self.preinverse is None else self.preinverse.apply(y)


def sample_sigma(count: int, generator: torch.Generator) -> Tensor:
    """Noise levels to train at: half of them uniform on (0, 1], half log-uniform on [0.005, 1].

    Uniform sampling alone, as in [LE], leaves 5 % of the samples to sigma < 0.05, where the formula
    is hardest to learn.

    Example:
        >>> sample_sigma(4, torch.Generator().manual_seed(0)).shape
        torch.Size([4])
    """
    u, choice = torch.rand(2, count, generator=generator, device=generator.device)
    return torch.where(choice < 0.5, 1 - u, SIGMA_MIN**u).clamp_min(SIGMA_MIN)


def random_crops(
    x: Tensor, z: Tensor, crop: int, patch_size: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Squares of x at random places, and what a local network has to see of z to estimate them.

    Places are uniform over the torus, so each pixel of x is in a crop with the same probability:
    the mean loss over crops has the expectation, and its gradient the expectation of the gradient,
    of the mean loss over the image.

    Args:
        x, z: (B, C, H, W).
        crop: side c of the squares.
        patch_size: P.
        generator: for the places.

    Returns:
        (B, C, c, c) of x and (B, C, c + P - 1, c + P - 1) of z, with the same centres.

    Example:
        >>> x = torch.arange(16.0).view(1, 1, 4, 4)
        >>> a, b = random_crops(x, x, 1, 3, torch.Generator().manual_seed(0))
        >>> bool(a[0, 0, 0, 0] == b[0, 0, 1, 1])
        True
    """
    corners = torch.rand(2, len(x), generator=generator, device=x.device)
    size = torch.tensor(x.shape[2:], device=x.device)
    row, column = (corners * size[:, None]).long()
    return _window(x, row, column, crop), _window(
        z, row - patch_size // 2, column - patch_size // 2, crop + patch_size - 1
    )


def _window(x: Tensor, row: Tensor, column: Tensor, side: int) -> Tensor:
    """Squares of the torus with these upper left corners, one an image."""
    steps = torch.arange(side, device=x.device)
    rows = (row[:, None] + steps) % x.shape[2]
    columns = (column[:, None] + steps) % x.shape[3]
    which = torch.arange(len(x), device=x.device)[:, None, None]
    return x[which, :, rows[:, :, None], columns[:, None, :]].movedim(-1, 1)


def loss(
    network: nn.Module,
    problem: Problem,
    x: Tensor,
    sigma: Tensor,
    crop: int | None,
    generator: torch.Generator,
) -> Tensor:
    r"""The loss of one batch, whose expectation LE-MMSE minimises among local networks.

    .. math:: \frac{1}{|\text{pixels}|} \sum_{b, n}
        \frac{|\phi(z_b, \sigma_b)[n] - x_b[n]|^2}{e(\sigma_b)}, \qquad
        z_b = B (A x_b + \sigma_b \epsilon_b)

    with :math:`e(\sigma)` the error of the network's own affine guess (`networks.Skip`), so that
    all noise levels count alike. For one sigma, a constant weight does not move the minimum.

    Args:
        network: a local network; any other network(z, sigma) has e = 1 and crop None.
        problem: what is to be solved.
        x: images, (B, C, H, W).
        sigma: their noise levels, (B,).
        crop: see `Settings`.
        generator: for noise and crops.
    """
    z = problem.measured(x, sigma, generator)
    if crop is None:
        output = network(z, sigma)
    else:
        x, z = random_crops(x, z, crop, network.patch_size, generator)
        output = network.valid(z, sigma)
    weight = 1.0
    if isinstance(network, LocalNetwork):
        weight = 1 / network.skip.error(sigma)[:, None, None, None]
    return ((output.float() - x).square() * weight).mean()


def train(
    network: nn.Module,
    problem: Problem,
    settings: Settings | None = None,
    probe: Probe | None = None,
    checkpoint: Path | str | None = None,
    resume: bool = False,
    progress: bool = True,
) -> History:
    """Trains a network in place, on the device of its parameters.

    Args:
        network: maps (z, sigma) to x; with its initial weights. In the end it holds the running
            mean of the weights.
        problem: what to solve; its images are on the same device.
        settings: how to train.
        probe: called on the running mean at every record; None: nothing is measured.
        checkpoint: a file to write after every record, atomically; None: no file.
        resume: go on from the checkpoint, if it exists. On the same machine the result is the
            same, bit for bit, as without the interruption.
        progress: show a bar with the loss and the mean of what the probe measured.

    Returns:
        The history, from the first step even after a resumption.

    Raises:
        ValueError: the network cannot be trained on crops, crop or patch do not fit the images, the
            folder of the checkpoint does not exist, or the checkpoint is of another training.

    Example:
        >>> from lemmse.networks import PatchMLP
        >>> settings = Settings(steps=3, batch=4, records=3)
        >>> problem = Problem.of(torch.rand(10, 1, 8, 8))
        >>> train(PatchMLP(1, 3, width=4), problem, settings, progress=False).column("step")
        [1, 2, 3]
    """
    settings = settings or Settings()
    _check_crop(network, problem, settings.crop)
    run = _Run(network, problem, settings)
    path = None if checkpoint is None else Path(checkpoint)
    if path is not None and not path.parent.is_dir():
        raise ValueError(f"checkpoint: expected a file in an existing folder, got {path}")
    if resume and path is not None and path.exists():
        run.restore(torch.load(path, map_location="cpu", weights_only=True))
    with tqdm(total=settings.steps, initial=run.step, desc="train", disable=not progress) as bar:
        while run.step < settings.steps:
            run.advance()
            bar.update()
            if settings.records_at(run.step):
                bar.set_postfix(run.record(probe))
                if path is not None:
                    with replaced(path) as draft:
                        torch.save(run.state(), draft)
    network.load_state_dict(run.mean.state_dict())
    return run.history


class _Run:
    """A training between two steps: everything that a checkpoint has to hold."""

    def __init__(self, network: nn.Module, problem: Problem, settings: Settings):
        self.network, self.problem, self.settings = network, problem, settings
        self.mean = deepcopy(network).requires_grad_(False)
        parameters = list(network.parameters())
        self.device = parameters[0].device
        self.optimizer = torch.optim.Adam(parameters, fused=self.device.type == "cuda")
        self.generator = torch.Generator(self.device).manual_seed(settings.seed)
        self.step = 0
        self.losses = torch.zeros((), device=self.device)
        self.since = 0  # steps whose losses are in the sum
        self.history = History()

    def advance(self) -> None:
        """One update of the weights and of their running mean."""
        settings, images = self.settings, self.problem.images
        self.network.train()
        for group in self.optimizer.param_groups:
            group["lr"] = settings.learning_rate_at(self.step)
        which = torch.randint(
            len(images), (settings.batch,), generator=self.generator, device=self.device
        )
        sigma = self._noise_levels().to(images.dtype)
        half = settings.precision == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
            value = loss(
                self.network, self.problem, images[which], sigma, settings.crop, self.generator
            )
        self.optimizer.zero_grad(set_to_none=True)
        value.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), settings.clip)
        self.optimizer.step()
        self.step += 1
        # Early on the mean forgets faster: the first weights are no part of the result.
        decay = min(settings.ema, self.step / (self.step + 10))
        old, new = list(self.mean.parameters()), list(self.network.parameters())
        torch._foreach_lerp_(old, [p.detach() for p in new], 1 - decay)
        self.losses += value.detach()
        self.since += 1

    def _noise_levels(self) -> Tensor:
        if self.settings.sigma is None:
            return sample_sigma(self.settings.batch, self.generator)
        return torch.full((self.settings.batch,), self.settings.sigma, device=self.device)

    def record(self, probe: Probe | None) -> dict[str, str]:
        """Writes a line of the history; returns what the progress bar shows."""
        measured = {}
        if probe is not None:
            with torch.no_grad():
                measured = probe(self.mean.eval())
        value = self.losses.item() / self.since
        self.losses.zero_()
        self.since = 0
        self.history.records.append({"step": self.step, "loss": value, **measured})
        shown = {"loss": f"{value:.4f}"}
        if measured:
            shown["psnr"] = f"{sum(measured.values()) / len(measured):.1f} dB"
        return shown

    def state(self) -> dict:
        """All that `restore` needs."""
        return {
            "settings": asdict(self.settings),
            "problem": self.problem.description(),
            "step": self.step,
            "network": self.network.state_dict(),
            "mean": self.mean.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "history": self.history.records,
        }

    def restore(self, state: dict) -> None:
        """Takes up a training where a checkpoint left it."""
        for what, mine in (
            ("settings", asdict(self.settings)),
            ("problem", self.problem.description()),
        ):
            if state[what] != mine:
                raise ValueError(
                    f"checkpoint: expected one of a training with {mine}, got {state[what]}"
                )
        try:
            self.network.load_state_dict(state["network"])
        except RuntimeError as error:
            raise ValueError(f"checkpoint: it is of another network: {error}") from error
        self.mean.load_state_dict(state["mean"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
        self.step = state["step"]
        self.history.records = state["history"]


def _check_batch(images: Tensor) -> None:
    if not isinstance(images, Tensor) or images.ndim != 4 or len(images) == 0:
        got = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
        raise ValueError(f"images: expected shape (N, C, H, W), N > 0, got {got}")


def _check_crop(network: nn.Module, problem: Problem, crop: int | None) -> None:
    if isinstance(network, LocalNetwork):
        check_patch_size(network.patch_size, tuple(problem.images.shape[2:]))
    if crop is None:
        return
    if not isinstance(network, LocalNetwork):
        raise ValueError(
            f"crop: expected None for {type(network).__name__}, which is not local, got {crop}"
        )
    if crop > min(problem.images.shape[2:]):
        raise ValueError(
            f"crop: expected at most the side {min(problem.images.shape[2:])} of the images, "
            f"got {crop}"
        )
