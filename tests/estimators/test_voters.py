"""The voters of a pixel: the largest weights of LE-MMSE and whose they are."""

import itertools

import pytest
import torch
import torch.multiprocessing as multiprocessing
from brute_force import BruteForce
from hypothesis import given, settings
from hypothesis import strategies as st

import lemmse
from lemmse import operators as ops
from lemmse.reduction import Keys, Stream, Top, dense, strongest

SIZE = (8, 9)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def photos(count, channels=1, split="train"):
    name = "photos" if channels == 3 else "photos-grey"
    return lemmse.datasets.load(name, split=split, n=count)[:, :, : SIZE[0], : SIZE[1]].clone()


# The engine


def plain(queries, keys, sigma, k):
    logits = -torch.cdist(queries, keys).square() / (2 * sigma**2)
    log_sum, top = torch.logsumexp(logits, 1), logits.topk(k, 1)
    return log_sum, (top.values - log_sum[:, None]).exp(), top.indices


@settings(deadline=None, max_examples=25)
@given(
    tile=st.sampled_from([64, 100, 1 << 20]),
    chunk=st.integers(3, 400),
    k=st.integers(1, 7),
    sigma=st.sampled_from([0.05, 0.5, 5.0]),
)
def test_the_strongest_of_all_tiles_are_those_of_the_full_matrix(tile, chunk, k, sigma):
    keys = torch.randn(300, 4, generator=generator(), dtype=torch.float64)
    queries = torch.randn(20, 4, generator=generator(1), dtype=torch.float64)
    held = Keys(keys, keys[:, :1], torch.arange(300) + 1000)
    precision = torch.full((20,), sigma**-2, dtype=torch.float64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(dense.TILE, "cpu", 20 * tile)
        found = strongest(
            queries, precision, Stream(lambda dtype: held.tiles(chunk), torch.float64), k
        )
    log_sum, weights, indices = plain(queries, keys, sigma, k)
    torch.testing.assert_close(found.log_sum, log_sum)
    torch.testing.assert_close(found.weights, weights)
    assert torch.equal(found.sources, indices + 1000)


def test_every_query_has_its_own_noise_level():
    keys = torch.randn(50, 3, generator=generator(), dtype=torch.float64)
    held = Keys(keys, keys[:, :1], torch.arange(50))
    sigma = torch.tensor([0.2, 2.0], dtype=torch.float64)
    queries = keys[:1].expand(2, 3) + 0.1
    found = strongest(queries, sigma**-2, Stream(lambda dtype: [held], torch.float64), 3)
    for i in range(2):
        torch.testing.assert_close(
            found.weights[i], plain(queries[[i]], keys, sigma[i].item(), 3)[1][0]
        )


def test_missing_keys_have_no_weight():
    keys = torch.zeros(2, 3, dtype=torch.float64)
    stream = Stream(lambda dtype: [Keys(keys, keys[:, :1], torch.tensor([5, 7]))], torch.float64)
    found = strongest(torch.ones(1, 3, dtype=torch.float64), torch.ones(1), stream, 4)
    torch.testing.assert_close(found.weights[0], torch.tensor([0.5, 0.5, 0, 0]).double())
    assert sorted(found.sources[0].tolist()) == [-1, -1, 5, 7]


@pytest.mark.parametrize("cut", [1, 10, 49])
def test_parts_combine_to_the_whole(cut):
    keys = torch.randn(50, 3, generator=generator(), dtype=torch.float64)
    queries, precision = keys[:4] + 0.1, torch.full((4,), 2.0)

    def over(part):
        held = Keys(keys[part], keys[part, :1], torch.arange(50)[part])
        return strongest(queries, precision, Stream(lambda dtype: [held], torch.float64), 5)

    together = Top.over([over(slice(0, cut)), over(slice(cut, 50))])
    torch.testing.assert_close(together.weights, over(slice(0, 50)).weights)
    assert torch.equal(together.sources, over(slice(0, 50)).sources)


# The estimator

CASES = {
    "denoising": (lambda: ops.Identity(), None),
    "inpainting": (lambda: ops.Mask.central(4, SIZE), "pinv"),
    "blur": (lambda: ops.Blur.gaussian(1.0, SIZE), "tikhonov"),
    "MRI": (lambda: ops.MRI.cartesian(2, SIZE), "adjoint"),
    "tomography": (lambda: ops.Tomography(list(range(0, 180, 12)), SIZE), "tikhonov"),
}


@pytest.mark.parametrize("sigma", [0.05, 0.3])
@pytest.mark.parametrize("name", CASES)
def test_voters_agree_with_brute_force(name, sigma):
    images, k = photos(6), 6
    build, kind = CASES[name]
    estimate = lemmse.LEMMSE(images, build(), kind, patch_size=3)
    y = estimate.operator.measure(photos(2, split="test").double(), sigma, generator())
    found = estimate.voters(y, sigma, k=k)
    reference = BruteForce(images, estimate.operator, estimate.preinverse.apply, (3, 3))
    for i, z in enumerate(estimate.preinverse.apply(y)):
        weights = reference(z, sigma)[1]["weights"]
        largest = weights.topk(k, 1).values
        assert (found.weight[i] - largest).abs().max() < 2e-3
        # The listed weights are those of the listed training pixels (ties may come in any order).
        image, row, column = found.source[i].unbind(-1)
        listed = weights.gather(1, (row * SIZE[1] + column) * len(images) + image)
        assert (found.weight[i] - listed).abs().max() < 2e-3
        for pixel in found.source[i].tolist():
            assert len({tuple(place) for place in pixel}) == k


@pytest.mark.parametrize("name", ["denoising", "inpainting", "blur"])
def test_with_a_symmetry_the_copies_vote_too(name):
    images, k = photos(4)[:, :, :, :8], 4
    operator = {
        "denoising": ops.Identity(),
        "inpainting": ops.Mask.central(4, (8, 8)),
        "blur": ops.Blur.gaussian(1.0, (8, 8)),
    }[name]
    estimate = lemmse.LEMMSE(images, operator, CASES[name][1], patch_size=3, symmetry="d4")
    truth = photos(1, split="test")[:, :, :, :8].double()
    y = operator.measure(truth, 0.1, generator())
    found = estimate.voters(y, 0.1, k=k)
    apply = estimate.preinverse.apply
    reference = BruteForce(images, operator, apply, (3, 3), symmetry=True)
    weights = reference(apply(y)[0], 0.1)[1]["weights"]
    assert (found.weight[0] - weights.topk(k, 1).values).abs().max() < 2e-3
    image, row, column = found.source[0].unbind(-1)
    # Of the eight copies of each listed training pixel, one has the listed weight.
    copies = weights.view(64, 64, 8, 4).permute(0, 1, 3, 2)
    listed = copies[torch.arange(64)[:, None], row * 8 + column, image]
    assert (found.weight[0][..., None] - listed).abs().amin(-1).max() < 2e-3


@pytest.mark.parametrize("symmetry", [None, "d4"])
def test_all_voters_make_the_estimate(symmetry):
    """Where the k voters have all the weight, their average is the estimate."""
    images = photos(40, channels=3)[:, :, :3, :3]
    y = images[:2] + 0.5 * torch.randn(2, 3, 3, 3, generator=generator())
    estimate = lemmse.LEMMSE(images, patch_size=1, symmetry=symmetry)
    found = estimate.voters(y, 0.02, k=40)
    image, row, column = found.source.unbind(-1)
    values = images[image, :, row, column]
    whole = found.weight.sum(-1) > 0.9999
    mean = (found.weight[..., None] * values).sum(2)
    wanted = estimate(y, 0.02).flatten(2).mT
    assert whole.float().mean() > 0.2
    assert (mean - wanted)[whole].abs().max() < 1e-3


def test_the_first_voter_is_the_posterior_s_source():
    images = photos(20)
    y = photos(2, split="test") + 0.1
    sigma = torch.tensor([0.05, 0.2])
    estimate = lemmse.LEMMSE(images, patch_size=3)
    posterior, found = estimate.posterior(y, sigma), estimate.voters(y, sigma, k=3)
    torch.testing.assert_close(
        found.weight[..., 0], posterior.weight.flatten(1), atol=1e-3, rtol=1e-3
    )
    clear = found.weight[..., 0] > found.weight[..., 1] + 1e-3
    assert torch.equal(found.source[..., 0, :][clear], posterior.source.flatten(1, 2)[clear])
    assert found.weight.dtype == torch.float32
    assert (found.weight.diff(dim=-1) <= 0).all()


def test_some_pixels_are_those_of_all():
    estimate = lemmse.LEMMSE(photos(5), ops.Mask.central(3, SIZE), "pinv", patch_size=3)
    y = estimate.operator.measure(photos(2, split="test"), 0.1, generator())
    pixels = [(7, 8), (0, 0), (4, 4), (0, 0)]
    every, some = estimate.voters(y, 0.1, k=2), estimate.voters(y, 0.1, pixels, k=2)
    same = estimate.voters(y, 0.1, torch.tensor(pixels), k=2)
    for i, (row, column) in enumerate(pixels):
        index = row * SIZE[1] + column
        torch.testing.assert_close(some.weight[:, i], every.weight[:, index], atol=1e-4, rtol=1e-4)
        assert torch.equal(some.source[:, i, 0], every.source[:, index, 0])
    assert torch.equal(some.source, same.source)


@pytest.mark.parametrize(
    ("pixels", "k", "message"),
    [
        ([(0, 9)], 1, r"inside images of size 8 x 9, got \(0, 9\)"),
        ([(-1, 0)], 1, r"got \(-1, 0\)"),
        ([], 1, "pairs"),
        ([(0, 1, 2)], 1, r"got \(1, 3\)"),
        ([(0.5, 1.0)], 1, "float32"),
        ("all", 1, "'all'"),
        (None, 0, "from 1 to 5, the number of training images, got 0"),
        (None, 6, "got 6"),
        (None, 2.0, "got 2.0"),
        (None, True, "got True"),
    ],
)
def test_voters_reject(pixels, k, message):
    estimate = lemmse.LEMMSE(photos(5), patch_size=3)
    with pytest.raises(ValueError, match=message):
        estimate.voters(photos(1), 0.1, pixels, k)


# Two processes


def _results():
    images = photos(7)
    y = photos(2, split="test").double()
    mask = ops.Mask.central(3, SIZE)
    return [
        vars(lemmse.LEMMSE(images, patch_size=3).voters(y, 0.1, k=7)),
        vars(lemmse.LEMMSE(images, mask, "pinv", patch_size=3).voters(y, 0.1, k=7)),
    ]


def _worker(rank, world, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=world
    )
    torch.save(_results(), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_find_the_voters_of_one(tmp_path):
    alone = _results()
    multiprocessing.spawn(_worker, args=(2, str(tmp_path)), nprocs=2)
    for rank, i in itertools.product(range(2), range(2)):
        together = torch.load(tmp_path / f"{rank}.pt")[i]
        torch.testing.assert_close(together["weight"], alone[i]["weight"], rtol=1e-3, atol=1e-5)
        clear = alone[i]["weight"].diff(dim=-1)[..., 0] < -1e-6
        first, wanted = together["source"][..., 0, :], alone[i]["source"][..., 0, :]
        assert torch.equal(first[clear], wanted[clear])
