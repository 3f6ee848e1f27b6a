"""The training loop."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict
from io import BytesIO
from math import isfinite
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from ..fields import as_field
from ..files import check_writable, replaced
from ..networks import LocalNetwork
from .loss import loss, sample_sigma
from .problem import Problem
from .settings import History, Settings

Probe = Callable[[nn.Module], dict[str, float]]
"""Measures a network in training, for instance by its PSNR against LE-MMSE at a few sigma."""

STATE = {
    "settings",
    "problem",
    "response",
    "step",
    "network",
    "mean",
    "optimizer",
    "generator",
    "history",
}
"""What a checkpoint holds."""


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
            checkpoint cannot be written or is of another training, or the training diverges. Then
            the last checkpoint is of before.

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
    if path is not None:
        check_writable(path)
    if resume and path is not None and path.exists():
        run.restore(path)
    with tqdm(total=settings.steps, initial=run.step, desc="train", disable=not progress) as bar:
        while run.step < settings.steps:
            run.advance()
            bar.update()
            if settings.records_at(run.step):
                bar.set_postfix(run.record(probe))
                if path is not None:
                    run.save(path)
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
        value = loss(
            self.network,
            self.problem,
            images[which],
            sigma,
            settings.crop,
            self.generator,
            settings.precision,
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
            largest = getattr(self.network, "largest_sigma", 1.0)
            return sample_sigma(self.settings.batch, self.generator, largest)
        return torch.full((self.settings.batch,), self.settings.sigma, device=self.device)

    def record(self, probe: Probe | None) -> dict[str, str]:
        """Writes a line of the history; returns what the progress bar shows.

        Raises:
            ValueError: the training diverged.
        """
        value = self.losses.item() / self.since
        finite = isfinite(value) and all(p.isfinite().all() for p in self.mean.parameters())
        if not finite:
            raise self._diverged(f"loss {value:.3g}")
        measured = {}
        if probe is not None:
            try:
                with torch.no_grad():
                    measured = probe(self.mean.eval())
            except ValueError as error:  # what the network gives is not finite, say
                raise self._diverged(str(error)) from error
        self.losses.zero_()
        self.since = 0
        self.history.records.append({"step": self.step, "loss": value, **measured})
        shown = {"loss": f"{value:.4f}"}
        if measured:
            shown["psnr"] = f"{sum(measured.values()) / len(measured):.1f} dB"
        return shown

    def _diverged(self, reason: str) -> ValueError:
        return ValueError(
            f"training: it diverged before step {self.step} ({reason}); "
            f"try a smaller learning rate than {self.settings.learning_rate}"
        )

    def save(self, path: Path) -> None:
        """Writes all that `restore` needs, or leaves the file as it was.

        Raises:
            OSError: it cannot be written; the disk is full, say.
        """
        state = {
            "settings": asdict(self.settings),
            "problem": self.problem.description(),
            "response": self.problem.response(),
            "step": self.step,
            "network": self.network.state_dict(),
            "mean": self.mean.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "history": self.history.records,
        }
        content = BytesIO()
        torch.save(state, content)
        with replaced(path) as draft:
            draft.write_bytes(content.getbuffer())

    def restore(self, path: Path) -> None:
        """Takes up a training where a checkpoint left it.

        Raises:
            ValueError: the file is no checkpoint, or one of another training.
        """
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except (RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
            reason = str(error).partition("\n")[0]
            raise ValueError(f"checkpoint: {path} cannot be read: {reason}") from error
        if not isinstance(state, dict) or not state.keys() >= STATE:
            raise ValueError(f"checkpoint: {path} is not a checkpoint of this package")
        for what, mine in (
            ("settings", asdict(self.settings)),
            ("problem", self.problem.description()),
        ):
            if state[what] != mine:
                raise ValueError(
                    f"checkpoint: expected one of a training with {mine}, got {state[what]}"
                )
        mine, other = self.problem.response(), state["response"]
        if not _same(mine, other):
            raise ValueError(
                "checkpoint: expected one of a training with the same operator and pre-inverse, "
                "got one with other numbers inside (kernel, mask, lambda)"
            )
        try:
            self.network.load_state_dict(state["network"])
            self.mean.load_state_dict(state["mean"])
            self.optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"checkpoint: it is of another network: {error}") from error
        try:
            self.generator.set_state(state["generator"])
        except (RuntimeError, TypeError) as error:  # a GPU's has another size
            raise ValueError(
                f"checkpoint: its random numbers cannot be continued on {self.device}: {error}"
            ) from error
        self.step = state["step"]
        self.history.records = state["history"]


def _same(mine: Tensor, other: object) -> bool:
    return (
        isinstance(other, Tensor)
        and (mine.shape, mine.dtype) == (other.shape, other.dtype)
        and torch.allclose(mine, other, rtol=1e-3, atol=1e-4)
    )


def _check_crop(network: nn.Module, problem: Problem, crop: int | None) -> None:
    if isinstance(network, LocalNetwork):
        as_field(network.patch_size).check_fits(tuple(problem.images.shape[2:]))
    if crop is None:
        return
    if not isinstance(network, LocalNetwork):
        raise ValueError(
            f"crop: expected None for {type(network).__name__}, which is not local, got {crop}"
        )
    if network.padding != "circular":
        raise ValueError(
            f"crop: expected None for a network with {network.padding} padding, got {crop}: it "
            "has to be trained on whole images, whose border it treats in its own way"
        )
    if crop % network.stride:
        raise ValueError(f"crop: expected a multiple of the stride {network.stride}, got {crop}")
    if crop > min(problem.images.shape[2:]):
        raise ValueError(
            f"crop: expected at most the side {min(problem.images.shape[2:])} of the images, "
            f"got {crop}"
        )
