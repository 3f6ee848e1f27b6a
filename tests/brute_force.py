"""The four estimators written as plainly as possible, in float64, straight from their formulas.

Nothing of the package is used but the operators' ``A`` and the pre-inverse's ``apply``: covariances
come from B written out as a matrix, patches from index arithmetic, densities from the
eigendecomposition of each location's own covariance, and the minimal-rank rule is applied literally
to every query: whoever contains v, and among them those of least rank.
"""

import math

import torch


def matrix_of(apply, y):
    """B as a (C*H*W, m) matrix, one unit measurement at a time; complex ones count twice."""
    flat = torch.view_as_real(y[:1]).flatten(1) if y.is_complex() else y[:1].flatten(1)
    units = torch.eye(flat.shape[1], dtype=torch.float64)
    if y.is_complex():
        units = torch.view_as_complex(units.view(-1, *y.shape[1:], 2))
    else:
        units = units.view(-1, *y.shape[1:])
    return apply(units).flatten(1).T


def pixels_of_patch(row, column, size, shape):
    """Flat indices (into C*H*W) of the patch centred at (row, column), in the order (C, P, P)."""
    channels, height, width = shape
    down = range(-(size[0] // 2), size[0] - size[0] // 2)
    right = range(-(size[1] // 2), size[1] - size[1] // 2)
    return torch.tensor(
        [
            (c * height + (row + i) % height) * width + (column + j) % width
            for c in range(channels)
            for i in down
            for j in right
        ]
    )


def beyond(place, side, padding):
    """Where a coordinate of the continued image lies in the image, None for a padded zero."""
    if 0 <= place < side:
        return place
    if padding == "zeros":
        return None
    if padding == "replicate":
        return 0 if place < 0 else side - 1
    if padding == "reflect":
        return -place if place < 0 else 2 * (side - 1) - place
    return place % side


def pixels_of_field(row, column, masks, shape, padding):
    """The same for a field: masks[row % s][column % s]; what is not seen gets index C*H*W."""
    channels, height, width = shape
    mask = masks[row % len(masks)][column % len(masks)]
    margin, nothing = len(mask) // 2, channels * height * width
    found = []
    for c in range(channels):
        for i, line in enumerate(mask):
            for j, seen in enumerate(line):
                r = beyond(row + i - margin, height, padding)
                s = beyond(column + j - margin, width, padding)
                hidden = not seen or r is None or s is None
                found.append(nothing if hidden else (c * height + r) * width + s)
    return torch.tensor(found)


def eight_copies(pixels, size, channels):
    """The pixels of a patch in the eight orders of its flips and quarter turns."""
    patch = pixels.view(channels, *size)
    turns = [patch]
    for _ in range(3):
        turns.append(turns[-1].transpose(1, 2).flip(1))
    return [p.flatten() for turn in turns for p in (turn, turn.flip(2))]


def with_zero(images):
    """Flat images, (N, C*H*W + 1), with a zero at the end."""
    return torch.cat([images.flatten(1), torch.zeros_like(images[:, :1, 0, 0])], 1)


class BruteForce:
    """LE-MMSE (or L-MMSE) for a training set seen through A and B.

    With symmetry, every location votes eight times: with its patch in eight orders, and with the
    covariance of the patch in that order. With masks, (s, s, P, P) nested lists or arrays, and a
    padding, only locations of the same phase vote for each other.
    """

    def __init__(
        self,
        images,
        operator,
        apply,
        size,
        own_location_only=False,
        symmetry=False,
        masks=None,
        padding="circular",
    ):
        self.images = images = images.double()
        self.shape = images.shape[1:]
        self.own_location_only = own_location_only
        measured = operator.A(images)
        self.z_train = with_zero(apply(measured))
        matrix = matrix_of(apply, measured)
        matrix = torch.cat([matrix, torch.zeros_like(matrix[:1])])  # the row of what is not seen
        height, width = self.shape[1:]
        places = [(r, c) for r in range(height) for c in range(width)]
        if masks is None:
            self.cut = [pixels_of_patch(r, c, size, self.shape) for r, c in places]
            self.phase = torch.zeros(len(places))
        else:
            s = len(masks)
            self.cut = [pixels_of_field(r, c, masks, self.shape, padding) for r, c in places]
            self.phase = torch.tensor([r % s * s + c % s for r, c in places])
        self.voters = self.cut
        if symmetry:
            self.voters = [c for p in self.cut for c in eight_copies(p, size, self.shape[0])]
        self.factors = []
        for p in self.voters:
            values, vectors = torch.linalg.eigh(matrix[p] @ matrix[p].T)
            keep = values > 1e-11 * values.max().clamp_min(1e-300)
            self.factors.append((values[keep], vectors[:, keep]))

    def __call__(self, z, sigma, like=None):
        """One image z = B y, (C, H, W). Returns the mean and a dict of statistics.

        With ``like``, a brute force for images of another size, z is one of that size.
        """
        like = like or self
        v = torch.stack([with_zero(z.double()[None])[0, p] for p in like.cut])
        pixels, count, voters = len(like.cut), len(self.images), len(self.voters)
        copies = voters // len(self.cut)
        logs = torch.empty(pixels, voters, count, dtype=torch.float64)
        members = torch.empty(pixels, voters, dtype=torch.bool)
        ranks = torch.tensor([float(len(values)) for values, _ in self.factors])
        for place, (p, (values, vectors)) in enumerate(zip(self.voters, self.factors, strict=True)):
            # log N(v; mean, sigma^2 covariance), the density on the image of the covariance
            difference = (v[:, None, :] - self.z_train[None][:, :, p]) @ vectors
            squared = (difference.square() / values).sum(-1)
            constant = len(values) * math.log(2 * math.pi * sigma**2) + values.log().sum()
            logs[:, place] = -(squared / sigma**2 + constant) / 2
            outside = (v - v @ vectors @ vectors.T).norm(dim=1)
            members[:, place] = outside <= 1e-9 * (1e-9 + v.norm(dim=1))
        if self.own_location_only:
            allowed, samples = torch.eye(pixels, dtype=torch.bool), torch.tensor(float(count))
        else:
            same = like.phase[:, None] == self.phase.repeat_interleave(copies)
            members &= same
            least = torch.where(members, ranks, math.inf).amin(1)
            allowed = members & (ranks[None, :] == least[:, None])
            samples = count * same.sum(1).double()
        logs = torch.where(allowed[:, :, None], logs, -math.inf).flatten(1)
        values = self.images.flatten(2).permute(2, 0, 1).repeat_interleave(copies, 0).flatten(0, 1)
        weights = torch.softmax(logs, 1)
        mean = weights @ values
        top, winner = weights.max(1)
        plane = like.shape[1:]
        return mean.T.reshape(like.shape), {
            "variance": (weights @ values.square() - mean.square()).T.reshape(like.shape),
            "log_density": (torch.logsumexp(logs, 1) - samples.log()).view(plane),
            "effective_samples": (1 / weights.square().sum(1)).view(plane),
            "weights": weights,
            "weight": top.view(plane),
            "image": (winner % count).view(plane),
            "location": (winner // count // copies).view(plane),
        }


def mmse(images, measured, y, sigma):
    """MMSE of one measurement, both flattened to real numbers."""
    logs = -(y[None] - measured).square().sum(1) / (2 * sigma**2)
    weights = torch.softmax(logs, 0)
    return (weights[:, None] * images.flatten(1)).sum(0).view(images.shape[1:])
