"""Exercises of chapter 6: locality."""

import torch

from lemmse.exercises.registry import AGREES, Property, close, exercise


def _patches(x, patch_size):
    height, width = x.shape
    reach = patch_size // 2
    rows = [
        [
            x[(row + i) % height, (column + j) % width]
            for i in range(-reach, reach + 1)
            for j in range(-reach, reach + 1)
        ]
        for row in range(height)
        for column in range(width)
    ]
    return torch.tensor(rows, dtype=x.dtype)


def _rolled(x, patch_size, sign=-1, start=None, order="row"):
    """Patches by rolling, with the mistakes that readers make."""
    start = patch_size // 2 if start is None else start
    pairs = [(i - start, j - start) for i in range(patch_size) for j in range(patch_size)]
    if order == "column":
        pairs = [(j, i) for i, j in pairs]
    return torch.stack([x.roll((sign * i, sign * j), (0, 1)).flatten() for i, j in pairs], 1)


def _zero_padded(x, patch_size):
    padded = torch.nn.functional.pad(x, (patch_size // 2,) * 4)
    return torch.nn.functional.unfold(padded[None, None], patch_size)[0].T


_CENTRES = "returns patches with their own pixel in the middle"
_WRAPS = "treats all pixels alike when the image is shifted with wrap-around"


@exercise(
    "6.1",
    "all patches of an image",
    reference=_patches,
    hint="inside a patch: row by row, from the upper left corner of the window to the lower right",
    properties=[
        Property(
            _CENTRES,
            lambda case: close(
                case.result[:, case.result.shape[1] // 2], case["x"].flatten().double()
            ),
            "entry (P^2 - 1) / 2 of row n is the pixel n itself: offsets go from -(P - 1)/2 to "
            "(P - 1)/2, and n = row * W + column",
        ),
        Property(
            _WRAPS,
            lambda case: close(
                case.call(x=case["x"].roll((1, 2), (0, 1))),
                case.result.unflatten(0, case["x"].shape).roll((1, 2), (0, 1)).flatten(0, 1),
            ),
            "beyond the last column comes the first one: indices modulo H and W, no zeros",
        ),
    ],
    wrong=[
        (lambda x, patch_size: _rolled(x, patch_size, start=0), _CENTRES),
        (_zero_padded, _WRAPS),
        (lambda x, patch_size: _rolled(x, patch_size, sign=1), AGREES),
        (lambda x, patch_size: _rolled(x, patch_size, order="column"), AGREES),
    ],
)
def _(generator):
    height, width = torch.randint(5, 8, (2,), generator=generator).tolist()
    x = torch.rand(height, width, generator=generator)
    return {"x": x, "patch_size": 3 if torch.rand(1, generator=generator) < 0.5 else 5}


def _local_weights(y, images, n, patch_size, sigma):
    reach = patch_size // 2
    distances = []
    for image in images:
        total = 0.0
        for i in range(-reach, reach + 1):
            for j in range(-reach, reach + 1):
                place = (n[0] + i) % y.shape[0], (n[1] + j) % y.shape[1]
                total += float(y[place] - image[place]) ** 2
        distances.append(total)
    return torch.softmax(-torch.tensor(distances) / (2 * sigma**2), 0)


def _moved(y, images, n, patch_size):
    """Patches centred at n of y (P, P) and of the images (N, P, P)."""
    reach = patch_size // 2
    shift = (reach - n[0], reach - n[1])
    cut = slice(0, patch_size)
    return y.roll(shift, (0, 1))[cut, cut], images.roll(shift, (1, 2))[:, cut, cut]


def _from_patches(y, images, n, patch_size, scale):
    q, k = _moved(y, images, n, patch_size)
    return torch.softmax(-(k - q).square().sum((1, 2)) / scale, 0)


_SUM = "returns weights that sum to 1"
_INSIDE = "ignores what y holds outside the window"


def _outside_replaced(case):
    """The measurement with everything outside the window taken from the last training image."""
    y, (row, column) = case["y"], case["n"]
    reach = torch.arange(case["patch_size"]) - case["patch_size"] // 2
    rows, columns = (row + reach) % y.shape[0], (column + reach) % y.shape[1]
    replaced = 3 * case["images"][-1]
    replaced[rows[:, None], columns] = y[rows[:, None], columns]
    return replaced


@exercise(
    "6.2",
    "weights of local MMSE at one pixel",
    reference=_local_weights,
    hint="log w_k = -||patch of y - patch of x_k||^2 / (2 sigma^2) + const, both patches at n",
    properties=[
        Property(
            _SUM,
            lambda case: close(case.result.sum(), 1.0),
            "divide by the sum over the training images (softmax over k)",
        ),
        Property(
            _INSIDE,
            lambda case: close(case.call(y=_outside_replaced(case)), case.result),
            "cut both patches at n = (row, column), with wrap-around, before comparing",
        ),
    ],
    wrong=[
        (
            lambda y, images, n, patch_size, sigma: torch.exp(
                -(_moved(y, images, n, patch_size)[1] - _moved(y, images, n, patch_size)[0])
                .square()
                .sum((1, 2))
                / (2 * sigma**2)
            ),
            _SUM,
        ),
        (
            lambda y, images, n, patch_size, sigma: torch.softmax(
                -(images - y).square().sum((1, 2)) / (2 * sigma**2), 0
            ),
            _INSIDE,
        ),
        (
            lambda y, images, n, patch_size, sigma: _from_patches(
                y, images, n[::-1], patch_size, 2 * sigma**2
            ),
            _INSIDE,
        ),
        (
            lambda y, images, n, patch_size, sigma: _from_patches(
                y, images, n, patch_size, sigma**2
            ),
            AGREES,
        ),
        (
            lambda y, images, n, patch_size, sigma: _from_patches(
                y, images, n, patch_size, 2 * sigma
            ),
            AGREES,
        ),
    ],
)
def _(generator):
    images = torch.rand(4, 5, 6, generator=generator)
    sigma = 0.3 + 0.3 * torch.rand(1, generator=generator).item()
    y = images[1] + sigma * torch.randn(5, 6, generator=generator)
    # A corner or a border: the window wraps around.
    corners = [(0, 3), (4, 1), (0, 5), (3, 0), (4, 2)]
    n = corners[torch.randint(5, (1,), generator=generator).item()]
    return {"y": y, "images": images, "n": n, "patch_size": 3, "sigma": sigma}


def _field(kernel_sizes, dilations):
    reach = 0
    for size, dilation in zip(kernel_sizes, dilations, strict=True):
        reach += dilation * (size // 2)
    return 2 * reach + 1


@exercise(
    "6.3",
    "side of the window of a stack of convolutions",
    reference=_field,
    hint="a layer adds dilation * (kernel size - 1) to the side",
    properties=[
        Property(
            "returns 5 for two layers with kernels of size 3",
            lambda case: case.call(kernel_sizes=[3, 3], dilations=[1, 1]) == 5,
            "reaches add up: 1 + 2 + 2",
        ),
        Property(
            "returns 1 for kernels of size 1",
            lambda case: case.call(kernel_sizes=[1, 1, 1], dilations=[1, 2, 3]) == 1,
            "a kernel of size 1 looks at no neighbour, whatever its dilation",
        ),
    ],
    wrong=[
        (
            lambda kernel_sizes, dilations: sum(kernel_sizes),
            "returns 5 for two layers with kernels of size 3",
        ),
        (
            lambda kernel_sizes, dilations: (
                1 + sum(k * d - 1 for k, d in zip(kernel_sizes, dilations, strict=True))
            ),
            "returns 1 for kernels of size 1",
        ),
        (lambda kernel_sizes, dilations: 1 + sum(k - 1 for k in kernel_sizes), AGREES),
    ],
)
def _(generator):
    layers = torch.randint(2, 6, (1,), generator=generator).item()
    sizes = (2 * torch.randint(0, 4, (layers,), generator=generator) + 1).tolist()
    dilations = torch.randint(1, 5, (layers,), generator=generator).tolist()
    return {"kernel_sizes": [*sizes, 3], "dilations": [*dilations, 2]}
