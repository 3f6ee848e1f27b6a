"""Exercises of chapter 32: your own network."""

import torch

from lemmse.exercises.registry import AGREES, KIND, Property, close, exercise


def _inside(row, column, height, width, P):
    pattern = torch.zeros(P, P, dtype=torch.bool)
    for i in range(P):
        for j in range(P):
            r, c = row + i - P // 2, column + j - P // 2
            pattern[i, j] = 0 <= r < height and 0 <= c < width
    return pattern


def _circular(row, column, height, width, P):
    return torch.ones(P, P, dtype=torch.bool)


def _upper_left_only(row, column, height, width, P):
    """Forgets the last row and the last column."""
    return _inside(row, column, 10 * height, 10 * width, P)


def _from_the_corner(row, column, height, width, P):
    """Takes the patch to begin at the pixel."""
    return _inside(row + P // 2, column + P // 2, height, width, P)


def _one_too_far(row, column, height, width, P):
    return _inside(row, column, height + 1, width + 1, P)


_FULL = "sees the whole patch in the middle of a large image"
_CORNER = "sees nothing above the first row and left of the first column"
_TURNED = "treats the last row and column as the first ones"


@exercise(
    "32.1",
    "the pattern of a pixel",
    reference=_inside,
    hint="the entry (i, j) is the pixel (row + i - P // 2, column + j - P // 2); it is inside if "
    "both numbers are at least 0 and less than height and width",
    properties=[
        Property(
            _FULL,
            lambda case: bool(case.call(row=50, column=50, height=100, width=100).all()),
            "the patch is centred on the pixel",
        ),
        Property(
            _CORNER,
            lambda case: (
                int(case.call(row=0, column=0, height=100, width=100).sum())
                == (case["P"] // 2 + 1) ** 2
            ),
            "at row 0 the entries above the middle are outside",
        ),
        Property(
            _TURNED,
            lambda case: close(
                case.call(
                    row=case["height"] - 1 - case["row"],
                    column=case["width"] - 1 - case["column"],
                )
                .flip(0, 1)
                .double(),
                case.result.double(),
            ),
            "the last row is height - 1: an entry in row height is outside",
        ),
    ],
    wrong=[
        (_circular, _CORNER),
        (_upper_left_only, _TURNED),
        (_from_the_corner, _CORNER),
        (_one_too_far, _TURNED),
        (lambda row, column, height, width, P: 1.0, KIND),
        (
            lambda row, column, height, width, P: ~_inside(row, column, height, width, P),
            _FULL,
        ),
    ],
)
def _(generator):
    row, column = (int(torch.randint(0, 2, (), generator=generator)) for _ in range(2))
    return {"row": row, "column": column, "height": 7, "width": 9, "P": 5}


def _neighbours(v, keys, sigma):
    centre = v.shape[0] // 2
    above, below = torch.zeros(()), torch.zeros(())
    for key in keys:
        squared = (v - key).square()
        distance = squared.sum() - squared[centre, centre]
        weight = torch.exp(-distance / (2 * sigma**2))
        above, below = above + weight * key[centre, centre], below + weight
    return above / below


def _sees_itself(v, keys, sigma):
    weights = torch.softmax(-(v - keys).square().sum((1, 2)) / (2 * sigma**2), 0)
    return weights @ keys[:, keys.shape[1] // 2, keys.shape[2] // 2]


def _hides_the_keys_only(v, keys, sigma):
    """Puts a zero in the middle of the keys, and compares it with the noisy centre."""
    hidden = keys.clone()
    centre = v.shape[0] // 2
    hidden[:, centre, centre] = 0
    weights = torch.softmax(-(v - hidden).square().sum((1, 2)) / (2 * sigma**2), 0)
    return weights @ hidden[:, centre, centre]


_IGNORES = "gives the same answer whatever the pixel itself is"
_KNOWS = "returns the constant when the centres of all keys are the same"


def _centred(patch, value):
    """The patch, or patches, with another value in the middle."""
    changed = patch.clone()
    changed[..., patch.shape[-2] // 2, patch.shape[-1] // 2] = value
    return changed


@exercise(
    "32.2",
    "the blind formula at one patch",
    reference=_neighbours,
    hint="leave the central entry out of the squared distances, then take the softmax average of "
    "the centres of the keys",
    properties=[
        Property(
            _IGNORES,
            lambda case: close(case.call(v=_centred(case["v"], 5.0)), case.result),
            "the central entry of v must not enter the distances",
        ),
        Property(
            _KNOWS,
            lambda case: close(case.call(keys=_centred(case["keys"], 0.5)), torch.tensor(0.5)),
            "what is averaged are the centres of the clean keys",
        ),
    ],
    wrong=[
        (_sees_itself, _IGNORES),
        (_hides_the_keys_only, _KNOWS),
        (lambda v, keys, sigma: _neighbours(v, keys, 1.4142 * sigma), AGREES),
        (lambda v, keys, sigma: v[1, 1], _IGNORES),
        (lambda v, keys, sigma: _neighbours(v, keys, sigma).reshape(1, 1, 1), KIND),
    ],
)
def _(generator):
    keys = torch.rand(6, 3, 3, generator=generator)
    noise = 0.4 * torch.randn(3, 3, generator=generator)
    return {"v": keys[0] + noise, "keys": keys, "sigma": 0.4}
