"""The core scene of the book: a patch, who votes for its centre, and a small network beside it."""

import json
from functools import cache

import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from lemmse.datasets import load
from lemmse.estimators import LEMMSE
from lemmse.fields import extract
from lemmse.networks import PatchMLP
from lemmse.plots.notebook import building

from .base import Scene
from .networks import in_base64, network_data, network_of, shipped_networks

MOST_BYTES = 800_000
"""The largest size of a scene of pixels in the page."""

_NOISE_STEPS = 32  # the noise of the scene is a multiple of 1/32, and below 4


class PixelScene(Scene):
    """What ``pixel_scene`` returns. In a live notebook `answer` answers instead of the script."""

    def __init__(self, images, pictures, networks, options: dict, title: str, alt: str):
        """See ``pixel_scene``."""
        generator = torch.Generator().manual_seed(0)
        steps = torch.randn(len(pictures), *images.shape[2:], generator=generator) * _NOISE_STEPS
        noise = steps.round().clamp(-127, 127)
        images, truths = _grey_levels(images), _grey_levels(torch.stack(list(pictures.values())))
        self._images, self._truths = images.double() / 255, truths.double() / 255
        self._noise = noise.double()[:, None] / _NOISE_STEPS
        packed = {size: network_data(network) for size, network in networks.items()}
        self._networks = {size: network_of(data) for size, data in packed.items()}
        self._estimator = cache(self._estimator)
        self._planes = cache(self._planes)
        data = options | {
            "kind": "pixels",
            "size": list(images.shape[2:]),
            "images": in_base64(images.numpy()),
            "pictures": [
                {"name": name, "truth": in_base64(x.numpy()), "noise": in_base64(e.numpy())}
                for name, x, e in zip(pictures, truths, noise.to(torch.int8), strict=True)
            ],
            "networks": packed,
        }
        super().__init__(data, title, alt, self._draw)

    def html(self, **changes) -> str:
        """The self-contained HTML.

        Raises:
            ValueError: if it is larger than ``MOST_BYTES``.
        """
        text = super().html(**changes)
        if len(text) > MOST_BYTES:
            raise ValueError(
                f"expected a page of at most {MOST_BYTES} bytes, got {len(text)}: "
                "show fewer training images"
            )
        return text

    def answer(self, state: dict) -> dict:
        """What the script computes, by the package and in float64.

        Args:
            state: "picture", "row", "column", "sigma", "size" (P); and "planes" for the estimates
                at all pixels, too.

        Returns:
            "measured", "truth", "estimate", "deviation", "effective" and "network" (None where
            there is none for this P) of the pixel; "voters", each with "weight", "image", "row"
            and "column"; with planes also "estimates", "deviations" and "networks".
        """
        picture, sigma, size = state["picture"], state["sigma"], state["size"]
        place = (state["row"], state["column"])
        y = self._measured(picture, sigma)
        posterior, network = self._planes(picture, sigma, size)
        found = self._estimator(size).voters(y, sigma, [place], self.data["k"])
        deviation = posterior.variance.sqrt()

        def at(plane):
            return None if plane is None else plane[0, 0][place].item()

        answer = {
            "measured": at(y),
            "truth": self._truths[picture, 0][place].item(),
            "estimate": at(posterior.mean),
            "deviation": at(deviation),
            "effective": posterior.effective_samples[0][place].item(),
            "network": at(network),
            "voters": [
                dict(zip(("weight", "image", "row", "column"), (weight, *source), strict=True))
                for weight, source in zip(
                    found.weight[0, 0].tolist(), found.source[0, 0].tolist(), strict=True
                )
            ],
        }
        if state.get("planes"):
            answer |= {
                "estimates": posterior.mean.flatten().tolist(),
                "deviations": deviation.flatten().tolist(),
                "networks": None if network is None else network.flatten().tolist(),
            }
        return answer

    def _measured(self, picture: int, sigma: float) -> Tensor:
        return (self._truths[picture] + sigma * self._noise[picture])[None]

    def _estimator(self, size: int) -> LEMMSE:
        return LEMMSE(self._images, patch_size=size, dtype=torch.float64)

    def _planes(self, picture: int, sigma: float, size: int):
        """The posterior of a whole picture, and the network's estimate."""
        y = self._measured(picture, sigma)
        network = self._networks.get(size)
        posterior = self._estimator(size).posterior(y, sigma)
        return posterior, None if network is None else network(y, sigma)

    def _ipython_display_(self) -> None:
        """Shows the scene; in a live kernel with two hidden widgets through which it asks."""
        if building():
            super()._ipython_display_()
            return
        from IPython.display import display

        name, widget = self._channel()
        self._publish(self.html(engine=name))
        display(widget)

    def _channel(self):
        """The name of the two widgets, and the box that holds them: a question, its answer."""
        import ipywidgets

        name = f"lemmse-channel-{id(self)}"
        question = ipywidgets.Textarea(continuous_update=False)
        reply = ipywidgets.HTML()
        question.add_class(f"{name}-question")
        reply.add_class(f"{name}-reply")

        def respond(change):
            asked = json.loads(change["new"])
            reply.value = json.dumps(self.answer(asked) | {"count": asked["count"]})

        question.observe(respond, names="value")
        # Out of sight, but in the document, where the script finds them.
        box = ipywidgets.VBox([question, reply], layout={"display": "none"})
        return name, box

    def _draw(self) -> Figure:
        """The scene on paper: the three pictures, the patch, and its voters with their weights."""
        state = self.data["start"]
        answer, size = self.answer(state), state["size"]
        row, column = state["row"], state["column"]
        posterior, network = self._planes(state["picture"], state["sigma"], size)
        y = self._measured(state["picture"], state["sigma"])
        figure = Figure(figsize=(6.4, 4.2), layout="constrained")
        top, bottom = figure.subfigures(2, 1, height_ratios=[2, 1.3])
        views = {"measurement": y, "the formula, LE-MMSE": posterior.mean}
        if network is not None:
            views["a small network"] = network
        for ax, (name, plane) in zip(top.subplots(1, len(views)), views.items(), strict=True):
            _show(ax, plane[0, 0], name)
            corner = (column - size / 2, row - size / 2)
            ax.add_patch(Rectangle(corner, size, size, fill=False, color="#e07609", linewidth=2))
        patches = {"the patch": extract(y, size)[0, row * y.shape[-1] + column]}
        for voter in answer["voters"]:
            keys = extract(self._images[voter["image"]][None], size)[0]
            patches[f"{100 * voter['weight']:.2g} %\n#{voter['image'] + 1}"] = keys[
                voter["row"] * y.shape[-1] + voter["column"]
            ]
        # Two voters may have the same weight to two digits: then one stands for both.
        for ax, (name, patch) in zip(
            bottom.subplots(1, len(patches), squeeze=False)[0], patches.items(), strict=True
        ):
            _show(ax, patch.view(size, size), name)
        network_text = "" if network is None else f", network {answer['network']:.2f}"
        figure.supxlabel(
            f"row {row}, column {column}: measured {answer['measured']:.2f}, formula "
            f"{answer['estimate']:.2f}{network_text}, truth {answer['truth']:.2f}",
            fontsize="small",
        )
        return figure


def pixel_scene(
    images: Tensor,
    pictures: dict[str, Tensor],
    networks: dict[int, PatchMLP] | None = None,
    *,
    sigma: float = 0.15,
    sigmas: tuple[float, float] = (0.03, 0.6),
    patch_size: int = 5,
    patch_sizes: tuple[int, ...] = (3, 5, 7),
    k: int = 8,
    start: tuple[int, int] | None = None,
    full: bool = False,
    title: str = "Drag the patch: which training patches vote for its centre?",
    alt: str = "A noisy photograph, its estimates, and the patches that vote for one pixel",
) -> PixelScene:
    """Drag a patch over a noisy picture: the training patches that vote, and a network beside them.

    In the page a script computes LE-MMSE and the networks, at the patch at once and over the whole
    picture in the background. In a live notebook `LEMMSE` answers, in float64.

    Args:
        images: training images (N, 1, H, W) with values in [0, 1], rounded to 256 grey levels.
        pictures: name -> picture (1, H, W) that noise is added to.
        networks: patch size -> a small network to compare with.
        sigma, patch_size, start: noise level, P, and (row, column) at first; by default the middle.
        sigmas: the range of the noise level.
        patch_sizes: the patch sizes to choose from, odd.
        k: how many voters are shown.
        full: also show where the voters come from, and how much they disagree.
        title: stands above the controls.
        alt: what the picture shows, for readers who do not see it.

    Returns:
        PixelScene

    Raises:
        ValueError: images that are not grey, pictures of another size, networks that the page
            cannot evaluate or for other patches, or a start that is not to be had.

    Example:
        >>> x = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        >>> scene = pixel_scene(x, {"noise": x[0]}, k=3, patch_sizes=(3, 5))
        >>> sorted(scene.answer(scene.data["start"]))[:3]
        ['deviation', 'effective', 'estimate']
    """
    networks = networks or {}
    if images.ndim != 4 or images.shape[1] != 1 or len(images) == 0:
        raise ValueError(f"images: expected shape (N, 1, H, W), got {tuple(images.shape)}")
    shape = tuple(images.shape[1:])
    for name, picture in pictures.items():
        if tuple(picture.shape) != shape:
            raise ValueError(f"{name}: expected shape {shape}, got {tuple(picture.shape)}")
    if not pictures:
        raise ValueError("pictures: expected at least one, got none")
    if patch_size not in patch_sizes:
        raise ValueError(f"patch_size: expected one of {patch_sizes}, got {patch_size}")
    for size, network in networks.items():
        if network.patch_size != size or size not in patch_sizes:
            raise ValueError(f"networks: expected patch sizes of {patch_sizes}, got {size}")
    if not sigmas[0] <= sigma <= sigmas[1]:
        raise ValueError(f"sigma: expected a number in {sigmas}, got {sigma}")
    row, column = (shape[1] // 2, shape[2] // 2) if start is None else start
    if not (0 <= row < shape[1] and 0 <= column < shape[2]):
        raise ValueError(f"start: expected a pixel inside {shape[1:]}, got {start}")
    first = {"picture": 0, "row": row, "column": column, "sigma": sigma, "size": patch_size}
    options = {"k": k, "sigmas": sigmas, "sizes": patch_sizes, "start": first, "full": full}
    return PixelScene(images.cpu(), pictures, networks, options, title, alt)


def core_scene(n: int = 24, full: bool = False) -> PixelScene:
    """The scene of the introduction: built-in photographs, and networks trained on the same ones.

    Args:
        n: number of training photographs, 24 or 100.
        full: see `pixel_scene`.

    Returns:
        PixelScene

    Raises:
        ValueError: another n.

    Example:
        >>> core_scene().data["sizes"]
        (3, 5, 7)
    """
    networks = shipped_networks(n)
    images = load("photos-grey", n=n)
    test = load("photos-grey", split="test", n=8)
    pictures = {"a new photograph": test[7], "a training photograph": images[11]}
    return pixel_scene(images, pictures, networks, start=(9, 8), full=full)


def _grey_levels(images: Tensor) -> Tensor:
    return (255 * images.detach().cpu().clamp(0, 1)).round().to(torch.uint8)


def _show(ax, image: Tensor, title: str) -> None:
    ax.imshow(image.clamp(0, 1).numpy(), cmap="gray", vmin=0, vmax=1)
    ax.set_title(title, fontsize="small")
    ax.set_axis_off()
