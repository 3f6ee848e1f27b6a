"""The engine alone: states merge, blocks are skipped within their certificate, processes share."""

import math
from dataclasses import replace

import pytest
import torch
import torch.multiprocessing as multiprocessing
from hypothesis import given, settings
from hypothesis import strategies as st

import lemmse
from lemmse.fields import merge_equal
from lemmse.reduction import Index, Keys, Screen, Stream, combine, index, reduce
from lemmse.reduction.search import Search


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def clustered(count, dimensions, seed=0):
    """Points in clusters, some of them equal, as patches of photographs are."""
    g = generator(seed)
    centres = torch.randn(12, dimensions, generator=g)
    points = centres[torch.randint(12, (count,), generator=g)]
    points = points + 0.1 * torch.randn(count, dimensions, generator=g)
    points[::7] = points[0].clone()
    return points


def keys_of(points, columns=2):
    values = torch.rand(len(points), columns, generator=generator(1)).to(points)
    return Keys(points, values, torch.arange(len(points)))


def index_of(keys, tolerance):
    merged = merge_equal(keys.keys, keys.values)
    sources = keys.sources[merged.first]
    return Index(Keys(merged.keys, merged.values, sources, merged.counts, merged.spread), tolerance)


def stream_of(keys, size=1 << 20):
    def make(dtype):
        return replace(keys, keys=keys.keys.to(dtype)).tiles(size)

    return Stream(make, keys.keys.dtype)


def plain(queries, keys, sigma):
    """Everything a state holds, from the full matrix of logits in float64."""
    logits = -torch.cdist(queries.double(), keys.keys.double()).square() / (2 * sigma**2)
    weights = torch.softmax(logits, 1)
    values = keys.values.double()
    return {
        "log_sum": torch.logsumexp(logits, 1),
        "mean": weights @ values,
        "variance": weights @ values.square() - (weights @ values).square(),
        "log_square": torch.logsumexp(2 * logits, 1),
        "top": logits.amax(1),
    }


def fields(state):
    names = ("log_sum", "mean", "variance", "log_square", "top")
    return dict(zip(names, state.tensors(), strict=False))


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    monkeypatch.setattr(index, "BLOCK", 16)


@pytest.mark.parametrize("sigma", [0.03, 0.2, 1.0, 20.0])
@pytest.mark.parametrize("kind", ["stream", "index", "screen"])
def test_reduction_agrees_with_the_full_matrix(kind, sigma):
    keys = keys_of(clustered(1500, 6).double())
    queries = clustered(40, 6, seed=2).double()
    source = {
        "stream": lambda: stream_of(keys, 333),
        "index": lambda: index_of(keys, 0.0),
        "screen": lambda: Screen(keys.keys, keys.values, keys.sources),
    }[kind]()
    state = reduce(queries, torch.tensor(1 / sigma**2), source, details=True)
    for name, wanted in plain(queries, keys, sigma).items():
        torch.testing.assert_close(fields(state)[name], wanted, rtol=1e-6, atol=1e-9)
    nearest = torch.cdist(queries, keys.keys).argmin(1)
    assert torch.equal(keys.keys[state.details.source], keys.keys[nearest])


@settings(max_examples=40, deadline=None)
@given(
    cuts=st.lists(st.integers(1, 59), min_size=1, max_size=5, unique=True),
    sigma=st.floats(0.05, 5.0),
)
def test_states_over_parts_merge_to_the_state_over_all(cuts, sigma):
    keys = keys_of(clustered(60, 3).double())
    queries = clustered(5, 3, seed=3).double()
    precision = torch.tensor(1 / sigma**2)
    edges = [0, *sorted(cuts), 60]

    def state_of(start, stop):
        part = Keys(*(t[start:stop] for t in (keys.keys, keys.values, keys.sources)))
        return reduce(queries, precision, stream_of(part), details=True)

    whole = state_of(0, 60)
    merged = state_of(edges[0], edges[1])
    for start, stop in zip(edges[1:-1], edges[2:], strict=True):
        merged = merged.merge(state_of(start, stop))
    for ours, wanted in zip(merged.tensors()[:-1], whole.tensors()[:-1], strict=True):
        torch.testing.assert_close(ours, wanted, rtol=1e-9, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(
    tolerance=st.sampled_from([1e-2, 1e-4, 1e-6]),
    sigma=st.floats(0.02, 2.0),
    seed=st.integers(0, 1000),
)
def test_skipped_weight_stays_below_the_tolerance(tolerance, sigma, seed):
    keys = keys_of(clustered(1000, 5, seed).double())
    queries = torch.randn(20, 5, generator=generator(seed + 1)).double()
    precision = torch.tensor(1 / sigma**2)
    pruned = reduce(queries, precision, index_of(keys, tolerance))
    every = reduce(queries, precision, index_of(keys, 0.0))
    # float32 bounds aside, the sum can only lose, and at most the fraction promised.
    lost = 1 - (pruned.log_sum - every.log_sum).exp()
    assert (lost <= tolerance).all()
    assert (lost >= -1e-9).all()
    assert (pruned.mean - every.mean).abs().max() <= 2 * tolerance


def test_blocks_are_skipped_at_small_sigma_and_not_when_exact(monkeypatch):
    keys = keys_of(clustered(4000, 5))
    queries = clustered(30, 5, seed=2)
    visited = []
    matters = Search._matters

    def counting(search):
        visited.append(matters(search).float().mean().item())
        return matters(search)

    monkeypatch.setattr(Search, "_matters", counting)
    reduce(queries.double(), torch.tensor(1 / 0.05**2), index_of(keys, 1e-6))
    skipping = visited[-1]
    reduce(queries.double(), torch.tensor(1 / 0.05**2), index_of(keys, 0.0))
    assert skipping < 0.5
    assert visited[-1] == 1.0


@pytest.mark.parametrize("offset", [0.0, 300.0])
@pytest.mark.parametrize("sigma", [1e-3, 0.02, 0.2, 3.0])
def test_a_screen_of_float32_keys_keeps_all_that_matter(sigma, offset):
    """More dimensions than principal coordinates; a query that is a key, one near, one far."""
    points = clustered(700, 200) + offset
    keys = keys_of(points)
    queries = points[[0, 3, 5]].double()
    queries[1] += sigma * torch.randn(200, generator=generator(4)).double()
    queries[2] += 5
    state = reduce(queries, torch.tensor(1 / sigma**2), Screen(points, keys.values, keys.sources))
    wanted = plain(queries, keys, sigma)
    assert (state.mean - wanted["mean"]).abs().max() < 1e-4
    torch.testing.assert_close(state.log_sum, wanted["log_sum"], rtol=1e-5, atol=1e-2)


def test_a_screen_looks_at_few_keys_where_sigma_is_small(monkeypatch):
    points = clustered(700, 200)
    exact = []
    looked = Screen._exact

    def counting(screen, which, centred):
        exact.append(len(which))
        return looked(screen, which, centred)

    monkeypatch.setattr(Screen, "_exact", counting)
    source = Screen(points, points, torch.arange(700))
    reduce(points[:4].double() + 1e-4, torch.tensor(1e6), source)
    assert 0 < sum(exact) < 120  # the first point occurs a hundred times


def test_equal_keys_merge_with_their_values_averaged():
    points = torch.tensor([[0.0, 1.0], [2.0, 3.0], [0.0, 1.0], [-0.0, 1.0], [2.0, 3.0]])
    values = torch.tensor([[1.0], [5.0], [2.0], [6.0], [7.0]])
    merged = merge_equal(points, values)
    found = {
        tuple(key): (count, value)
        for key, count, value in zip(
            merged.keys.tolist(),
            merged.counts.tolist(),
            merged.values[:, 0].tolist(),
            strict=True,
        )
    }
    assert found == {(0.0, 1.0): (3, 3.0), (2.0, 3.0): (2, 6.0)}
    assert sorted(merged.first.tolist()) == [0, 1]


@settings(max_examples=30, deadline=None)
@given(count=st.integers(1, 300), dimensions=st.integers(1, 12), seed=st.integers(0, 1000))
def test_median_splits_keep_every_point_once(count, dimensions, seed):
    points = torch.randn(count, dimensions, generator=generator(seed))
    order, blocks = index.median_splits(points)
    assert len(order) % blocks == 0
    assert order.unique().tolist() == list(range(count))
    assert len(order) - count == (order == order.max()).sum() - 1


def test_float64_is_used_where_float32_would_be_felt():
    keys = keys_of(1000 + clustered(50, 4))
    queries = keys.keys[:8].double() + 0.01
    state = reduce(queries, torch.tensor(1 / 0.05**2), stream_of(keys))
    wanted = plain(queries, keys, 0.05)["mean"]
    assert (state.mean - wanted).abs().max() < 1e-6


def _worker(rank, world, folder):
    """One process: its own share of the training set; saves what it got."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=world
    )
    torch.save(_distributed_results(), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def _distributed_results():
    images = torch.rand(7, 1, 8, 9, generator=generator(4))
    y = (images[:2] + 0.2 * torch.randn(2, 1, 8, 9, generator=generator(5))).double()
    mask = lemmse.operators.Mask.central(3, (8, 9))
    estimators = {
        "LEMMSE": lemmse.LEMMSE(images, patch_size=3),
        "inpainting": lemmse.LEMMSE(images, mask, "pinv", patch_size=3),
        "LocalMMSE": lemmse.LocalMMSE(images, patch_size=3),
        "EquivariantMMSE": lemmse.EquivariantMMSE(images),
        "MMSE": lemmse.MMSE(images),
    }
    results = {}
    for name, estimate in estimators.items():
        leaf = y.clone().requires_grad_(True)
        posterior = estimate.posterior(leaf, 0.2)
        (posterior.mean.square().sum() + posterior.log_density.sum()).backward()
        results[name] = {k: v.detach() for k, v in vars(posterior).items()}
        results[name]["gradient"] = leaf.grad
    return results


def test_two_processes_give_the_answer_of_one(tmp_path):
    alone = _distributed_results()
    multiprocessing.spawn(_worker, args=(2, str(tmp_path)), nprocs=2)
    for rank in range(2):
        together = torch.load(tmp_path / f"{rank}.pt")
        for name, wanted in alone.items():
            for key, value in wanted.items():
                torch.testing.assert_close(
                    together[name][key], value, rtol=2e-4, atol=2e-5, msg=f"{name} {key}"
                )


def test_more_processes_than_images_is_refused(monkeypatch):
    monkeypatch.setattr("lemmse.estimators.base.processes", lambda: 3)
    with pytest.raises(ValueError, match="3 processes"):
        lemmse.MMSE(torch.rand(2, 1, 4, 4))


def test_combine_touches_every_field_alike():
    keys = keys_of(clustered(30, 3))
    state = reduce(keys.keys[:4], torch.tensor(1.0), stream_of(keys), details=True)
    doubled = combine([state, state], torch.cat)
    assert all(
        torch.equal(both, torch.cat([one, one]))
        for both, one in zip(doubled.tensors(), state.tensors(), strict=True)
    )
    assert math.isfinite(doubled.log_sum.sum())
