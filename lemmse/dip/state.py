"""What a descent keeps while it runs: the batch of those that go on, and the record of all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..operators.checks import check_finite, describe
from .forward import Forward
from .network import Network


@dataclass
class State:
    """The runs that are still in the batch, with their trials.

    Attributes:
        network, forward: of these runs.
        y: the measurements, (runs, 1 or trials, *measurement).
        step: (runs, trials).
        index: which of all runs these are.
        theta: (runs, trials, ...).
        length: of the path so far, (runs, trials).
        output: the images at theta.
        pullback: v -> J(theta)^T v.
        residual: A x - y.
    """

    network: Network
    forward: Forward
    y: Tensor
    step: Tensor
    index: Tensor
    theta: Tensor
    length: Tensor
    output: Tensor
    pullback: Callable[[Tensor], Tensor]
    residual: Tensor

    def gradient(self, theta: Tensor | None = None) -> Tensor:
        """The gradient of the loss; elsewhere than at theta the images are computed anew."""
        if theta is None:
            return self.pullback(self.forward.adjoint(self.residual))
        output, pullback = self.network.linearised(theta)
        return pullback(self.forward.adjoint(self.forward(output) - self.y))

    def loss(self) -> Tensor:
        """1/2 ``|A x - y|^2``, (runs, trials)."""
        return self.residual.flatten(2).abs().square().sum(2) / 2

    def distance(self) -> Tensor:
        """``|theta - theta_0|``, (runs, trials)."""
        return (self.theta - self.network.start[:, None]).flatten(2).norm(dim=2)

    def move(self, change: Tensor) -> None:
        """Adds a change to theta, and computes what depends on it."""
        self.theta = self.theta + change
        self.length = self.length + change.flatten(2).norm(dim=2)
        self.output, self.pullback = self.network.linearised(self.theta)
        self.residual = self.forward(self.output) - self.y

    def select(self, keep: Tensor) -> State:
        """The state of some of the runs."""
        names = ("y", "step", "index", "theta", "length", "output", "residual")
        network = self.network.select(keep)
        return replace(
            self,
            network=network,
            forward=self.forward.select(keep),
            pullback=network.linearised(self.theta[keep])[1],
            **{name: getattr(self, name)[keep] for name in names},
        )


def start(network: Network, A, y: Tensor, step: Tensor) -> State:
    """The state at theta_0.

    Args:
        network, A, y: as in `descend`.
        step: (runs, trials).

    Raises:
        ValueError: y does not fit.
    """
    forward, output = Forward(A), network.output()[:, None]
    forward.check(output)
    measured = forward(output)
    trials = step.shape[1]
    y = spread("y", y, measured, trials)
    output = output.expand(-1, trials, *output.shape[2:])
    theta = network.start[:, None].expand(-1, trials, *network.start.shape[1:])
    return State(
        network,
        forward,
        y,
        step,
        torch.arange(network.runs, device=step.device),
        theta,
        torch.zeros_like(step),
        output,
        network.linearised(theta)[1],
        (measured - y).expand(-1, trials, *measured.shape[2:]),
    )


def spread(name: str, value: Tensor, like: Tensor, trials: int) -> Tensor:
    """A value for all runs, one for each, or one for each run and trial, as (runs, ., *shape).

    Args:
        name: for the error.
        value: (*shape), (runs, *shape) or (runs, trials, *shape).
        like: (runs, 1, *shape).
        trials: how many.

    Raises:
        ValueError: no tensor, another shape, or NaN or infinity.
    """
    runs, _, *shape = like.shape
    if not torch.is_tensor(value):
        raise ValueError(f"{name}: expected a tensor, got {describe(value)}")
    check_finite(value, name)
    leading = list(value.shape[: value.ndim - len(shape)])
    fits = list(value.shape[len(leading) :]) == shape
    if not fits or leading not in ([], [runs], [runs, trials]):
        sizes = ", ".join(map(str, shape))
        raise ValueError(
            f"{name}: expected ({sizes}), ({runs}, {sizes}) or ({runs}, {trials}, {sizes}), "
            f"got {tuple(value.shape)}"
        )
    if not leading:
        value = value[None, None]
    elif len(leading) == 1:
        value = value[:, None]
    return value.to(like.device).expand(runs, *value.shape[1:])


class Record:
    """The numbers of all runs, also of those that left the batch.

    Args:
        state: at the start.
        truth: (runs, 1 or trials, *image), or None.
        keep_outputs: whether to record images.

    Attributes:
        loss: now, (runs, trials).
        iterations: those recorded.
    """

    def __init__(self, state: State, truth: Tensor | None, keep_outputs: bool):
        self.truth, self.keep_outputs = truth, keep_outputs
        self.loss = state.loss()
        self.iterations: list[int] = []
        self.rows: dict[str, list[Tensor]] = {"loss": [], "distance": [], "length": []}
        self.rows |= {"error": [], "outputs": []}
        self.now = {name: value.clone() for name, value in _numbers(state).items()}

    def gather(self, state: State) -> None:
        """Takes over the numbers of the runs in the batch."""
        for name, value in _numbers(state).items():
            self.now[name][state.index] = value

    def add(self, iteration: int, state: State) -> None:
        """Records an iteration, unless it is recorded already."""
        if self.iterations and self.iterations[-1] == iteration:
            return
        self.gather(state)
        self.iterations.append(iteration)
        self.rows["loss"].append(self.loss.clone())
        self.rows["distance"].append(self.now["distance"].clone())
        self.rows["length"].append(self.now["length"].clone())
        if self.truth is not None:
            error = (self.now["output"] - self.truth).flatten(2).norm(dim=2)
            self.rows["error"].append(error)
        if self.keep_outputs:
            self.rows["outputs"].append(self.now["output"].clone())


def _numbers(state: State) -> dict[str, Tensor]:
    return {
        "theta": state.theta,
        "output": state.output,
        "length": state.length,
        "distance": state.distance(),
    }


def recorded(record: int | Sequence[int], iterations: int) -> set[int]:
    """Which iterations to record: those given, or so many, spread on a logarithmic scale.

    Example:
        >>> sorted(recorded(4, 100))
        [0, 1, 10, 100]
    """
    if not isinstance(record, int):
        return {0, *record}
    if record < 2:
        raise ValueError(f"record: expected at least 2 points, got {record}")
    exponents = torch.linspace(0, 1, record - 1, dtype=torch.float64)
    return {0, *(iterations**exponents).round().long().tolist()}
