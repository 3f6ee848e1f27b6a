"""Exercises of chapter 8: LE-MMSE as attention, and how it becomes fast."""

import torch

from lemmse.exercises.registry import AGREES, KIND, Property, close, exercise


def _merge(log_sum_a, mean_a, log_sum_b, mean_b):
    log_sums = torch.stack([log_sum_a, log_sum_b])
    shares = torch.softmax(log_sums, 0)[..., None]
    mean = (shares * torch.stack([mean_a, mean_b])).sum(0)
    return torch.logsumexp(log_sums, 0), mean


def _naive_merge(log_sum_a, mean_a, log_sum_b, mean_b):
    a, b = log_sum_a.exp(), log_sum_b.exp()
    return (a + b).log(), (a[:, None] * mean_a + b[:, None] * mean_b) / (a + b)[:, None]


def _stays_finite(case):
    """Whether log-sums around 1000 and -1000 give what 0 gives, moved by that much."""
    for offset in (1000.0, -1000.0):
        log_sum, mean = case.call(
            log_sum_a=case["log_sum_a"] + offset, log_sum_b=case["log_sum_b"] + offset
        )
        if not close(log_sum - offset, case.result[0], tolerance=1e-3):
            return False
        if not close(mean, case.result[1], tolerance=1e-3):
            return False
    return True


@exercise(
    "8.1",
    "the merge of two states",
    reference=_merge,
    hint="with S = e^L, the mean over both is (S_a mu_a + S_b mu_b) / (S_a + S_b), and the new L "
    "is log(S_a + S_b)",
    properties=[
        Property(
            "gives the same shares when all logits are moved by 1000 or by -1000",
            _stays_finite,
            "subtract the larger of the two log-sums before the exponential",
        ),
        Property(
            "counts a set of keys merged with its like twice",
            lambda case: close(
                case.call(log_sum_b=case["log_sum_a"], mean_b=case["mean_a"])[0],
                case["log_sum_a"] + torch.tensor(2.0).log(),
                tolerance=1e-4,
            ),
            "two equal sums e^L add to 2 e^L, so the log-sum grows by log 2",
        ),
        Property(
            "lets a set of keys of no weight change nothing",
            lambda case: close(case.call(log_sum_b=case["log_sum_a"] - 200)[1], case["mean_a"]),
            "each mean counts by its share of the sum, e^(L_a - L) and e^(L_b - L)",
        ),
    ],
    wrong=[
        (
            _naive_merge,
            "gives the same shares when all logits are moved by 1000 or by -1000",
        ),
        (
            lambda log_sum_a, mean_a, log_sum_b, mean_b: (
                torch.maximum(log_sum_a, log_sum_b),
                _merge(log_sum_a, mean_a, log_sum_b, mean_b)[1],
            ),
            "counts a set of keys merged with its like twice",
        ),
        (
            lambda log_sum_a, mean_a, log_sum_b, mean_b: (
                torch.logaddexp(log_sum_a, log_sum_b),
                (mean_a + mean_b) / 2,
            ),
            "lets a set of keys of no weight change nothing",
        ),
        (
            lambda log_sum_a, mean_a, log_sum_b, mean_b: (
                torch.logaddexp(log_sum_a, log_sum_b),
                _merge(2 * log_sum_a, mean_a, 2 * log_sum_b, mean_b)[1],
            ),
            AGREES,
        ),
    ],
)
def _(generator):
    log_sums = 2 * torch.randn(2, 3, generator=generator)
    means = torch.rand(2, 3, 2, generator=generator)
    return {
        "log_sum_a": log_sums[0],
        "mean_a": means[0],
        "log_sum_b": log_sums[1],
        "mean_b": means[1],
    }


def _coordinates(x, directions):
    inside = torch.einsum("nd,dr->nr", x, directions)
    left = (x.square().sum(1) - inside.square().sum(1)).clamp(min=0).sqrt()
    return inside, left


def _box(queries, keys, directions, residual=True, squared=True):
    (p, p_left), (k, k_left) = (_coordinates(x, directions) for x in (queries, keys))
    if residual:
        p, k = torch.cat([p, p_left[:, None]], 1), torch.cat([k, k_left[:, None]], 1)
    nearest = torch.minimum(torch.maximum(p, k.amin(0)), k.amax(0))
    bound = (p - nearest).square().sum(1)
    return bound if squared else bound.sqrt()


def _ball(queries, keys, directions):
    centre = keys.mean(0)
    radius = (keys - centre).norm(dim=1).max()
    return ((queries - centre).norm(dim=1) - radius).clamp(min=0).square()


def _to_keys(queries, keys):
    """Squared distance from each query to the nearest key."""
    return (queries[:, None] - keys[None]).square().sum(2).amin(1)


def _only_one_side(queries, keys, directions):
    p, p_left = _coordinates(queries, directions)
    k, k_left = _coordinates(keys, directions)
    p, k = torch.cat([p, p_left[:, None]], 1), torch.cat([k, k_left[:, None]], 1)
    return (p - k.amax(0)).square().sum(1)


@exercise(
    "8.2",
    "a sharper lower bound of the distance to a block",
    reference=_box,
    hint="the box of the coordinates V^T k, and one coordinate more, the norm of what the "
    "projection leaves; the gap to each interval is squared, and the squares are added",
    properties=[
        Property(
            "returns 0 for a query that is a key of the block",
            lambda case: close(case.call(queries=case["keys"]), torch.zeros(4), tolerance=1e-4),
            "max(a - p, p - b, 0): inside the box the gap is 0",
        ),
        Property(
            "never exceeds the squared distance to the nearest key",
            lambda case: bool(
                (case.result <= _to_keys(case["queries"], case["keys"]) + 1e-4).all()
            ),
            "a lower bound: each coordinate may contribute its gap once, squared; for a query "
            "below the interval the gap is a - p, for one above it p - b",
        ),
        Property(
            "is sharp when the block is a single key in the span of V",
            lambda case: close(
                case.call(
                    queries=case["queries"] @ case["directions"] @ case["directions"].T,
                    keys=case["keys"][:1] @ case["directions"] @ case["directions"].T,
                ),
                _to_keys(
                    case["queries"] @ case["directions"] @ case["directions"].T,
                    case["keys"][:1] @ case["directions"] @ case["directions"].T,
                ),
                tolerance=1e-4,
            ),
            "a box around one key is a point: the bound is then the squared distance, not its root",
        ),
        Property(
            "sees what the projection leaves",
            lambda case: bool(
                (
                    case.call(queries=case["queries"] + 100 * _outside(case["directions"])) > 1000
                ).all()
            ),
            "add the coordinate ||q - V V^T q||, whose interval is that of ||k - V V^T k||",
        ),
    ],
    wrong=[
        (_only_one_side, "returns 0 for a query that is a key of the block"),
        (
            lambda queries, keys, directions: 3 * _box(queries, keys, directions),
            "never exceeds the squared distance to the nearest key",
        ),
        (
            lambda queries, keys, directions: _box(queries, keys, directions, squared=False),
            "is sharp when the block is a single key in the span of V",
        ),
        (
            lambda queries, keys, directions: 0.5 * _box(queries, keys, directions),
            "is sharp when the block is a single key in the span of V",
        ),
        (
            lambda queries, keys, directions: _box(queries, keys, directions, residual=False),
            "sees what the projection leaves",
        ),
        (_ball, AGREES),
        (
            lambda queries, keys, directions: _box(queries, keys, directions)[:, None],
            KIND,
        ),
    ],
    tolerance=1e-4,
)
def _(generator):
    directions, _ = torch.linalg.qr(torch.randn(3, 2, generator=generator))
    keys = torch.rand(4, 3, generator=generator)
    queries = 3 * torch.randn(4, 3, generator=generator)
    queries[0] = keys.mean(0) + 0.1
    return {"queries": queries, "keys": keys, "directions": directions}


def _outside(directions):
    """A unit vector orthogonal to two directions in space."""
    return torch.linalg.cross(directions[:, 0], directions[:, 1])


def _attention(queries, keys, values, counts, sigma):
    squares = (queries[:, None] - keys[None]).square().sum(2)
    weights = torch.softmax(counts.log() - squares / (2 * sigma**2), 1)
    return weights @ values


def _default_scale(queries, keys, values, counts, sigma):
    logits = counts.log() - (queries[:, None] - keys[None]).square().sum(2) / (2 * sigma**2)
    return torch.softmax(logits / (keys.shape[1] + 2) ** 0.5, 1) @ values


@exercise(
    "8.3",
    "attention over merged keys",
    reference=_attention,
    hint="the logits are (q.k - ||k||^2 / 2) / sigma^2 + log count, and scale=1.0",
    properties=[
        Property(
            "returns the same when a key that counts twice is listed twice instead",
            lambda case: close(
                case.call(
                    keys=torch.cat([case["keys"], case["keys"][:1]]),
                    values=torch.cat([case["values"], case["values"][:1]]),
                    counts=torch.ones(4),
                ),
                case.call(counts=torch.tensor([2.0, 1.0, 1.0])),
                tolerance=1e-4,
            ),
            "log count belongs to the logit and is not divided by sigma^2",
        ),
        Property(
            "returns the same when queries and keys are moved alike",
            lambda case: close(
                case.call(queries=case["queries"] + 0.5, keys=case["keys"] + 0.5),
                case.result,
                tolerance=1e-4,
            ),
            "only differences q - k may enter: is -||k||^2 / 2 among the coordinates?",
        ),
    ],
    wrong=[
        (
            lambda queries, keys, values, counts, sigma: _attention(
                queries, keys, values, torch.ones_like(counts), sigma
            ),
            "returns the same when a key that counts twice is listed twice instead",
        ),
        (
            lambda queries, keys, values, counts, sigma: _attention(
                queries, keys, values, counts ** (1 / sigma**2), sigma
            ),
            "returns the same when a key that counts twice is listed twice instead",
        ),
        (
            lambda queries, keys, values, counts, sigma: (
                torch.softmax(queries @ keys.T / sigma**2 + counts.log(), 1) @ values
            ),
            "returns the same when queries and keys are moved alike",
        ),
        (
            _default_scale,
            "returns the same when a key that counts twice is listed twice instead",
        ),
        (
            lambda queries, keys, values, counts, sigma: _attention(
                queries, keys, values, counts, sigma * 2**0.5
            ),
            AGREES,
        ),
    ],
    tolerance=1e-4,
)
def _(generator):
    keys = torch.rand(3, 4, generator=generator)
    return {
        "queries": keys[:2] + 0.2 * torch.randn(2, 4, generator=generator),
        "keys": keys,
        "values": torch.rand(3, 2, generator=generator),
        "counts": torch.tensor([1.0, 5.0, 2.0]),
        "sigma": 0.3,
    }
