"""Exercises of chapter 22: tomography, and scanners that differ from their model."""

import torch

from lemmse.exercises.registry import AGREES, KIND, Property, close, exercise


def _fit(y, angles, middle):
    """Offset, cosine and sine of the centroids of the projections, counted from a cell."""
    cells = torch.arange(len(y), dtype=y.dtype) - middle
    centroids = (cells @ y) / y.sum(0)
    theta = torch.deg2rad(angles.to(y.dtype))
    columns = torch.stack([torch.ones_like(theta), theta.cos(), theta.sin()], 1)
    return torch.linalg.lstsq(columns, centroids[:, None]).solution[:, 0]


def _centre(y, angles):
    return -_fit(y, angles, len(y) // 2)[0]


def _without_fit(y, angles):
    """Takes the mean of the centroids for the offset, as for a full turn of an object."""
    cells = torch.arange(len(y), dtype=y.dtype) - len(y) // 2
    return -((cells @ y) / y.sum(0)).mean()


def _of_all_mass(y, angles):
    """Forgets that a centroid is divided by the mass."""
    cells = torch.arange(len(y), dtype=y.dtype) - len(y) // 2
    theta = torch.deg2rad(angles.to(y.dtype))
    columns = torch.stack([torch.ones_like(theta), theta.cos(), theta.sin()], 1)
    return -torch.linalg.lstsq(columns, (cells @ y)[:, None]).solution[0, 0]


_SCALE = "gives the same for a sinogram of twice the brightness"
_SHIFT = "finds one pixel less when every projection moves to the next cell"
_MOVED = "does not depend on where the object stands"


def _projections(angles, points, weights, centre, cells):
    """The sinogram of a few small grains, at points (column, row) from the axis."""
    theta = torch.deg2rad(angles)
    u = points[:, :1] * theta.cos() - points[:, 1:] * theta.sin()
    d = torch.arange(cells, dtype=u.dtype) - cells // 2 + centre
    return torch.einsum("p,dpk->dk", weights, (1 - (d[:, None, None] - u).abs()).clamp_min(0))


def _moved(case):
    """Whether a grain in the place of the object, 0.7 and -0.4 pixels aside, changes nothing."""
    y, angles = case["y"], case["angles"]
    theta = torch.deg2rad(angles)
    cells = torch.arange(len(y), dtype=y.dtype) - len(y) // 2
    centroids = (cells @ y) / y.sum(0) + 0.7 * theta.cos() + 0.4 * theta.sin()
    left = centroids.floor()
    share = centroids - left
    grain = torch.zeros_like(y)
    column = torch.arange(y.shape[1])
    grain[left.long() + len(y) // 2, column] = 1 - share
    grain[left.long() + 1 + len(y) // 2, column] = share
    return close(case.call(y=grain), case.result, tolerance=1e-4)


@exercise(
    "22.1",
    "the centre of rotation from a sinogram",
    reference=_centre,
    hint="least squares: centroid in cells from D // 2 = a cos(theta) + b sin(theta) - centre; "
    "angles are in degrees",
    properties=[
        Property(
            _SCALE,
            lambda case: close(case.call(y=2 * case["y"]), case.result),
            "the centroid of a projection is its first moment divided by its sum",
        ),
        Property(
            _SHIFT,
            lambda case: close(case.call(y=case["y"].roll(1, 0)), case.result - 1),
            "cell d is at u = d - D // 2 + centre: what lies at a larger d than it should, lies "
            "there because the centre is smaller",
        ),
        Property(
            _MOVED,
            _moved,
            "the object contributes a cos(theta) + b sin(theta) to the centroids; fit a and b with "
            "the offset, their mean over half a turn is not zero",
        ),
    ],
    wrong=[
        (_of_all_mass, _SCALE),
        (lambda y, angles: -_centre(y, angles), _SHIFT),
        (_without_fit, _MOVED),
        (lambda y, angles: -_fit(y, torch.rad2deg(angles), len(y) // 2)[0], _MOVED),
        (lambda y, angles: -_fit(y, angles, (len(y) - 1) / 2)[0], AGREES),
    ],
    tolerance=1e-4,
)
def _(generator):
    angles = torch.arange(6).double() * 30
    points = 4 * torch.rand(3, 2, generator=generator).double() - 1
    weights = 1 + torch.rand(3, generator=generator).double()
    centre = 1.5 * torch.rand((), generator=generator).item() - 0.75
    return {"y": _projections(angles, points, weights, centre, 16), "angles": angles}


def _gains(y, x, U, V):
    data, wanted = y @ U, x @ V
    return (data * wanted).sum(0) / data.square().sum(0)


def _risk(g, case):
    return (((case["y"] @ case["U"]) * g) @ case["V"].T - case["x"]).square().sum()


_LEAST = "cannot be improved by another gain of any single mode"
_EXACT = "gives 1 / s_i on pairs without noise from the operator itself"


def _exact(case):
    s = torch.linspace(1, 2, case["U"].shape[1], dtype=case["U"].dtype)
    y = (case["x"] @ case["V"] * s) @ case["U"].T
    return close(case.call(y=y), 1 / s)


def _least(case):
    risk = _risk(case.result, case)
    steps = 1e-2 * torch.eye(len(case.result), dtype=case.result.dtype)
    return all(_risk(case.result + sign * h, case) >= risk for h in steps for sign in (-1, 1))


@exercise(
    "22.2",
    "the best diagonal from pairs",
    reference=_gains,
    hint="mode by mode a regression through zero: the sum of <u_i, y> <v_i, x> over the sum of "
    "<u_i, y>^2",
    properties=[
        Property(
            _EXACT,
            _exact,
            "<u_i, y> is to be multiplied so that <v_i, x> comes out: which of the two is squared "
            "in the denominator?",
        ),
        Property(
            _LEAST,
            _least,
            "set the derivative of the sum of squares with respect to g_i to zero; a mean of "
            "quotients is something else",
        ),
    ],
    wrong=[
        (lambda y, x, U, V: (y @ U * (x @ V)).sum(0) / (x @ V).square().sum(0), _EXACT),
        (lambda y, x, U, V: ((x @ V) / (y @ U)).mean(0), _LEAST),
        (lambda y, x, U, V: ((x @ V).square().sum(0) / (y @ U).square().sum(0)).sqrt(), _LEAST),
        (lambda y, x, U, V: torch.diag(_gains(y, x, U, V)), KIND),
    ],
)
def _(generator):
    def basis(rows):
        square = torch.randn(rows, rows, generator=generator, dtype=torch.float64)
        return torch.linalg.qr(square)[0][:, :3].contiguous()

    U, V = basis(5), basis(4)
    x = torch.randn(12, 4, generator=generator, dtype=torch.float64)
    noise = torch.randn(12, 5, generator=generator, dtype=torch.float64)
    s = 1 + torch.rand(3, generator=generator, dtype=torch.float64)
    return {"y": (x @ V * s) @ U.T + 0.5 * noise, "x": x, "U": U, "V": V}
