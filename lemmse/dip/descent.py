"""Gradient descent with a fixed step, for many runs and trials at once, and its flow limit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..operators import Operator
from ..operators.checks import check_positive_integers
from .network import Network
from .state import Record, State, recorded, spread, start
from .stopping import Rule

POINTS = 100
"""How many iterations are recorded if nothing else is asked for."""

DIVERGED = 1e6
"""A loss this many times that of the start counts as diverged."""

SHRINK = 0.75
"""Runs that have stopped leave the batch when at most this share of it goes on."""


@dataclass
class Descent:
    """What happened. Shapes are without the axis of trials if ``step`` had none.

    Attributes:
        iterations: those recorded, (T,), from 0 to the last.
        loss: 1/2 ``|A x_t - y|^2``, (T, runs, trials). Runs that stopped keep their last value.
        distance: ``|theta_t - theta_0|``, (T, runs, trials).
        length: of the path from theta_0 to theta_t, (T, runs, trials).
        error: ``|x_t - truth|``, (T, runs, trials); None without truth.
        outputs: x_t, ``(T, runs, trials, *image)``; None if not kept.
        theta: the last parameters, (runs, trials, ...).
        output: the last images, ``(runs, trials, *image)``.
        stopped: steps made, (runs, trials).
        satisfied: where a stopping rule held at the end, (runs, trials).
        diverged: where the loss exploded, (runs, trials).
    """

    iterations: Tensor
    loss: Tensor
    distance: Tensor
    length: Tensor
    error: Tensor | None
    outputs: Tensor | None
    theta: Tensor
    output: Tensor
    stopped: Tensor
    satisfied: Tensor
    diverged: Tensor

    @property
    def residual(self) -> Tensor:
        """``|A x_t - y|``."""
        return (2 * self.loss).sqrt()


def descend(
    network: Network,
    A: Tensor | Operator,
    y: Tensor,
    step: float | Tensor,
    iterations: int,
    stop: Rule | Sequence[Rule] = (),
    truth: Tensor | None = None,
    record: int | Sequence[int] = POINTS,
    keep_outputs: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Descent:
    """Gradient descent on f(theta) = 1/2 ``|A g(u, theta) - y|^2`` with a fixed step.

    .. math:: \\theta_{t+1} = \\theta_t - \\gamma\\, J(\\theta_t)^\\top A^\\top (A x_t - y)

    Args:
        network: where it starts.
        A: a matrix (m, n), one for each run (runs, m, n), or an `Operator` for networks of images.
        y: the measurement; one for each run; or one for each run and trial.
        step: gamma: a number; one for each run, (runs,); or (runs, trials) or (1, trials): then
            every run is trained once with each of its steps, from the same start.
        iterations: at most so many steps.
        stop: one rule or several; a run stops where any of them holds. See `LossThreshold`,
            `Discrepancy`, `TheoremTime`.
        truth: the image xbar, or one for each run, to record errors.
        record: which iterations to record, or how many of them, spread evenly on a logarithmic
            scale. The last iteration is always recorded.
        keep_outputs: record the images, too.
        progress: called with the iteration after every step.

    Raises:
        ValueError: shapes that do not fit, a step that is not positive, or no iterations.

    Source:
        arXiv 2403.05395, Algorithm of Theorem 3.1.

    Example:
        >>> from lemmse.dip import TwoLayer
        >>> network = TwoLayer.draw(n=4, d=1, k=50, generator=torch.Generator(), runs=3)
        >>> run = descend(network, torch.eye(4).double(), torch.ones(4).double(), 0.5, 200)
        >>> bool((run.residual[-1] < 1e-3).all())
        True
    """
    return _integrate(
        _gradient_step, network, A, y, step, iterations, stop, truth, record, keep_outputs, progress
    )


def flow(
    network: Network,
    A: Tensor | Operator,
    y: Tensor,
    step: float | Tensor,
    iterations: int,
    stop: Rule | Sequence[Rule] = (),
    truth: Tensor | None = None,
    record: int | Sequence[int] = POINTS,
    keep_outputs: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Descent:
    """The limit of `descend` for small steps: the gradient flow d theta / ds = -grad f(theta).

    It is integrated by the classical Runge-Kutta method of order 4; iteration t is the time
    s = t * step. Arguments and result are those of `descend`; ``length`` is that of the polygon
    through the iterates.

    Example:
        >>> from lemmse.dip import TwoLayer
        >>> network = TwoLayer.draw(n=4, d=1, k=50, generator=torch.Generator())
        >>> args = network, torch.eye(4).double(), torch.ones(4).double()
        >>> exact = flow(*args, step=0.1, iterations=10).loss[-1]
        >>> near = descend(*args, step=0.001, iterations=1000).loss[-1]
        >>> bool(((near - exact).abs() < 0.01 * exact).all())
        True
    """
    return _integrate(
        _flow_step, network, A, y, step, iterations, stop, truth, record, keep_outputs, progress
    )


def _gradient_step(state: State, step: Tensor) -> Tensor:
    return -step * state.gradient()


def _flow_step(state: State, step: Tensor) -> Tensor:
    slopes = [-state.gradient()]
    for share in (0.5, 0.5, 1.0):
        slopes.append(-state.gradient(state.theta + share * step * slopes[-1]))
    first, second, third, fourth = slopes
    return step * (first + 2 * second + 2 * third + fourth) / 6


def _integrate(
    move, network, A, y, step, iterations, stop, truth, record, keep_outputs, progress
) -> Descent:
    check_positive_integers(iterations=iterations)
    steps, squeeze = _steps(step, network)
    state = start(network, A, y, steps)
    if truth is not None:
        truth = spread("truth", truth, state.output[:, :1], steps.shape[1])
    wanted = recorded(record, iterations)
    rules = [stop] if callable(stop) else list(stop)
    log = Record(state, truth, keep_outputs)
    limit = DIVERGED * log.loss.clone()
    satisfied = torch.zeros_like(log.loss, dtype=torch.bool)
    diverged, stopped = satisfied.clone(), torch.zeros_like(satisfied, dtype=torch.long)
    for iteration in range(iterations + 1):
        log.loss[state.index] = state.loss()
        for rule in rules:
            satisfied |= rule(iteration, log.loss) & ~diverged
        diverged |= ~(log.loss <= limit)
        goes = ~(satisfied | diverged)[state.index]
        last = iteration == iterations or not bool(goes.any())
        if last or iteration in wanted:
            log.add(iteration, state)
        if last:
            break
        if goes.any(1).sum() <= SHRINK * len(goes):
            log.gather(state)
            keep = goes.any(1)
            state, goes = state.select(keep), goes[keep]
        _advance(move, state, goes)
        stopped[state.index] += goes
        if progress is not None:
            progress(iteration + 1)
    return _result(log, stopped, satisfied, diverged, squeeze)


def _steps(step: float | Tensor, network: Network) -> tuple[Tensor, bool]:
    """The steps as (runs, trials), and whether the axis of trials was not asked for."""
    runs, like = network.runs, network.start
    steps = torch.as_tensor(step, dtype=like.dtype, device=like.device)
    if not bool(((steps > 0) & steps.isfinite()).all()):
        raise ValueError(f"step: expected positive numbers, got {step}")
    shape = tuple(steps.shape)
    if steps.ndim < 2:
        steps = steps.reshape(-1, 1)
    if len(shape) > 2 or steps.shape[0] not in (1, runs) or steps.numel() == 0:
        raise ValueError(
            f"step: expected a number, ({runs},), ({runs}, trials) or (1, trials), got {shape}"
        )
    return steps.expand(runs, -1), len(shape) < 2


def _advance(move, state: State, goes: Tensor) -> None:
    """Moves those that go on; the others of the batch stay where they are."""
    extra = (1,) * (state.theta.ndim - 2)
    change = move(state, state.step.reshape(*state.step.shape, *extra))
    if not bool(goes.all()):
        change = change.masked_fill(~goes.reshape(*goes.shape, *extra), 0)
    state.move(change)


def _result(log: Record, stopped, satisfied, diverged, squeeze: bool) -> Descent:
    def shaped(value: Tensor, axis: int) -> Tensor:
        return value.squeeze(axis) if squeeze else value

    rows = {name: torch.stack(row) if row else None for name, row in log.rows.items()}
    return Descent(
        iterations=torch.tensor(log.iterations),
        **{name: None if row is None else shaped(row, 2) for name, row in rows.items()},
        theta=shaped(log.now["theta"], 1),
        output=shaped(log.now["output"], 1),
        stopped=shaped(stopped, 1),
        satisfied=shaped(satisfied, 1),
        diverged=shaped(diverged, 1),
    )
