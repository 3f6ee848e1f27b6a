"""The training loop, and its checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from ..files import replaced
from ..networks import LocalNetwork
from ..patches import check_patch_size
from .loss import loss, sample_sigma
from .problem import Problem
from .settings import History, Settings

Probe = Callable[[nn.Module], dict[str, float]]
"""Measures a network in training, for instance by its PSNR against LE-MMSE at a few sigma."""


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
