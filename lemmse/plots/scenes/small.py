"""Four scenes in one or two dimensions: a filter, a posterior, a plane of images, a curve."""

import torch
from torch import Tensor

from lemmse.operators import Blur
from lemmse.plots.style import panels

from .base import Scene

_BLUE, _ORANGE, _PURPLE, _GREY = "#0060a8", "#e07609", "#6f0f5a", "#777777"


def filter_scene(
    blur: Blur, images: Tensor, *, sigma: float = 0.05, regularisation: float = 0.01
) -> Scene:
    r"""Tikhonov's filter :math:`g = b / (b^2 + \lambda)`: lost detail against noise let through.

    At a frequency with blur b, where the images have power S, the expected squared error is
    :math:`(1 - b g)^2 S + \sigma^2 g^2`; the controls are :math:`\lambda` and :math:`\sigma`.

    Args:
        blur: a blur whose transfer function is real and even in both directions, for instance a
            Gaussian's.
        images: (N, 1, H, W), whose power is measured after subtracting their mean.
        sigma, regularisation: at first.

    Returns:
        Scene

    Raises:
        ValueError: another blur, or images of another size.

    Example:
        >>> x = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        >>> scene = filter_scene(Blur.gaussian(1.0, (8, 8)), x)
        >>> scene.data["blur"][0], sum(scene.data["count"])
        (1.0, 64)
    """
    transfer = blur.transfer.value.cpu()
    height, width = transfer.shape
    if tuple(images.shape[1:]) != (1, height, width):
        expected = f"(N, 1, {height}, {width})"
        raise ValueError(f"images: expected shape {expected}, got {tuple(images.shape)}")
    even = (transfer.flip(0).roll(1, 0) - transfer).abs().max() < 1e-12
    if transfer.imag.abs().max() > 1e-12 or not even:
        raise ValueError("blur: expected a real and even transfer function, such as a Gaussian's")
    x = images.detach().cpu().double()
    power = torch.fft.fft2((x - x.mean())[:, 0]).abs().square().mean(0) / (height * width)
    # One entry for the frequencies (+-i, +-j), which share the blur.
    rows, columns = torch.arange(height), torch.arange(width)
    rows, columns = torch.minimum(rows, height - rows), torch.minimum(columns, width - columns)
    group = (rows[:, None] * width + columns).flatten()
    kept, index, count = group.unique(return_inverse=True, return_counts=True)
    first = torch.zeros(len(kept)).double()

    def mean(values):
        return first.index_add(0, index, values.flatten().double()) / count

    radius = (rows[:, None].double().square() * (width / height) ** 2 + columns.square()).sqrt()
    data = {
        "kind": "filter",
        "blur": [round(v, 15) for v in mean(transfer.real).tolist()],
        "power": [float(f"{v:.6g}") for v in mean(power).tolist()],
        "count": count.tolist(),
        "ring": mean(radius).round().int().tolist(),
        "side": width,
        "lambda": regularisation,
        "sigma": sigma,
        "lambdas": [1e-5, 10.0],
        "sigmas": [0.003, 0.5],
    }

    def still():
        b, s = (torch.tensor(data[name]).double() for name in ("blur", "power"))
        gain, grid = b / (b.square() + regularisation), torch.tensor(data["ring"]).double() / width
        order = grid.argsort(stable=True)
        figure, ax = panels(width=5.6, height=3.4)
        lost, noise = (1 - b * gain).square() * s, sigma**2 * gain.square()
        ax.plot(grid[order], lost[order], ".", color=_BLUE, label="lost detail")
        ax.plot(grid[order], noise[order], "x", color=_ORANGE, label="noise let through")
        ax.set(yscale="log", ylim=(1e-6, 10), xlim=(0, 0.5), ylabel="squared error")
        ax.set(xlabel="frequency (cycles per pixel)", title=f"λ = {regularisation}, σ = {sigma}")
        ax.legend()
        return figure

    title = "What does the filter keep, and what does it let through?"
    alt = "Tikhonov's filter for one λ: kept signal, lost detail and noise over the frequencies"
    return Scene(data, title, alt, still)


def posterior_scene(prior: str = "two modes", y: float = 0.2, sigma: float = 0.6) -> Scene:
    r"""One number x, measured as :math:`y = x + \sigma e`: the posterior and three answers.

    The priors are a mixture of two Gaussians at -1 and 1 of width 0.25 ("two modes"), the Laplace
    density :math:`e^{-|x| / 0.5}` ("sparse"), and a Gaussian of width 0.7 ("Gaussian").

    Args:
        prior, y, sigma: at first.

    Returns:
        Scene

    Raises:
        ValueError: another prior.

    Example:
        >>> posterior_scene("sparse").data["start"]["prior"]
        'sparse'
    """
    known = {
        "two modes": lambda x: torch.exp(-8 * (x - 1) ** 2) + torch.exp(-8 * (x + 1) ** 2),
        "sparse": lambda x: torch.exp(-2 * x.abs()),
        "Gaussian": lambda x: torch.exp(-(x**2) / 0.98),
    }
    if prior not in known:
        raise ValueError(f"prior: expected one of {', '.join(known)}, got {prior!r}")

    def still():
        x = torch.linspace(-8, 8, 3201).double()
        density = known[prior](x) * torch.exp(-((y - x) ** 2) / (2 * sigma**2))
        density = density / (density.sum() * 0.005)
        answers = {"MAP": x[density.argmax()], "MMSE": (density * x).sum() * 0.005}
        figure, ax = panels(width=5.6, height=3.2)
        ax.fill_between(x, density, color=_BLUE, alpha=0.2, label="posterior")
        for (name, value), look in zip(answers.items(), ("--", "-"), strict=True):
            ax.axvline(value.item(), color=_ORANGE, linestyle=look, label=name)
        ax.set(
            xlim=(-2.5, 2.5), xlabel="x", ylabel="density", title=f"{prior}, y = {y}, σ = {sigma}"
        )
        ax.legend()
        return figure

    start = {"prior": prior, "y": y, "sigma": sigma}
    title = "Three answers to one measurement"
    alt = "Prior, likelihood and posterior of a number, with mode, median and mean"
    return Scene({"kind": "posterior", "start": start}, title, alt, still)


def plane_scene(points: Tensor, y: tuple[float, float] = (0.4, 0.6), sigma: float = 0.2) -> Scene:
    """Images of two pixels as points of a plane: the MMSE estimator is their weighted average.

    Args:
        points: the training images, (N, 2), with values in [0, 1].
        y, sigma: the measurement, which can be dragged, and the noise level at first.

    Returns:
        Scene

    Raises:
        ValueError: points of another shape.

    Example:
        >>> plane_scene(torch.tensor([[0.0, 1.0], [1.0, 0.5]])).data["points"]
        [[0.0, 1.0], [1.0, 0.5]]
    """
    if points.ndim != 2 or points.shape[1] != 2 or len(points) == 0:
        raise ValueError(f"points: expected shape (N, 2), got {tuple(points.shape)}")
    places = points.detach().cpu().double()

    def still():
        at = torch.tensor(y).double()
        weights = torch.softmax(-(places - at).square().sum(1) / (2 * sigma**2), 0)
        estimate = weights @ places
        figure, ax = panels(width=4.6, height=4.2)
        ax.scatter(*places.T, s=30 + 400 * weights, color=_BLUE, label="training images")
        ax.plot(*at, "s", color=_PURPLE, label="measurement")
        ax.plot(*estimate, "D", color=_ORANGE, label="MMSE")
        ax.set(xlim=(-0.2, 1.2), ylim=(-0.2, 1.2), xlabel="first pixel", ylabel="second pixel")
        ax.legend()
        return figure

    data = {
        "kind": "plane",
        "points": places.tolist(),
        "start": {"y": list(y), "sigma": sigma},
    }
    title = "Drag the measurement: which training images answer?"
    alt = "Training images of two pixels as points, a measurement, and their weighted average"
    return Scene(data, title, alt, still)


def curve_scene(pixels: Tensor, v: float = 0.3, sigma: float = 0.2) -> Scene:
    """LE-MMSE with patches of one pixel: a curve from the noisy grey level to the estimated one.

    Args:
        pixels: the training pixels, of any shape, in [0, 1]; rounded to 256 grey levels.
        v, sigma: the noisy pixel, which can be dragged, and the noise level at first.

    Returns:
        Scene

    Example:
        >>> sum(curve_scene(torch.tensor([0.0, 1.0, 1.0])).data["counts"])
        3
    """
    levels = (255 * pixels.detach().cpu().clamp(0, 1)).round().long().flatten()
    counts = torch.bincount(levels, minlength=256)

    def still():
        grid, grey = torch.linspace(-0.5, 1.5, 200).double(), torch.arange(256).double() / 255
        logits = -(grid[:, None] - grey).square() / (2 * sigma**2)
        weights = counts * (logits - logits.amax(1, keepdim=True)).exp()
        figure, ax = panels(width=5.6, height=3.4)
        ax.plot(grid, weights @ grey / weights.sum(1), color=_BLUE, label=f"f, σ = {sigma}")
        ax.axline((0, 0), slope=1, color=_GREY, linestyle=":", label="f(v) = v")
        ax.set(xlim=(-0.5, 1.5), ylim=(-0.05, 1.05), xlabel="noisy pixel v", ylabel="grey level")
        ax.legend()
        return figure

    data = {"kind": "curve", "counts": counts.tolist(), "start": {"v": v, "sigma": sigma}}
    title = "One pixel: which grey levels vote?"
    alt = "The curve f from the noisy pixel to its estimate, and the grey levels that vote"
    return Scene(data, title, alt, still)
