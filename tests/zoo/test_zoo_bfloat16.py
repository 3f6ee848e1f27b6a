"""Every network that the zoo is meant to hold takes a few steps of training in bfloat16."""

import pytest
import torch

from lemmse import zoo
from lemmse.networks.physics import PhysicsNetwork
from lemmse.training import Settings, train
from lemmse.zoo import Spec, VariantSpec

SIDE = 16
COLOUR = ("photos", "cifar10")


def images(spec):
    """Random images with the channels of a data set."""
    channels = 3 if spec.dataset in COLOUR else 1
    side = max(SIDE, getattr(spec, "patch_size", 0))  # the patch has to fit
    generator = torch.Generator().manual_seed(0)
    return torch.rand(6, channels, side, side, generator=generator)


def kind(spec):
    """What specs share that train the same network, but for its number of unrolled layers."""
    channels = 3 if spec.dataset in COLOUR else 1
    if isinstance(spec, Spec | VariantSpec):
        sizes = tuple(spec.arguments(channels).items())
        return (spec.architecture, *sizes)
    return spec.kind, spec.task


KINDS = {kind(spec): spec for spec in reversed([zoo.parse(name) for name in zoo.catalogue()])}


def trained(spec, precision):
    """The network and the losses of four steps."""
    problem = spec.pose(images(spec))
    torch.manual_seed(0)
    network = spec.fresh(problem)
    local = isinstance(spec, Spec | VariantSpec) and spec.settings.crop is not None
    crop = 2 if local else None
    sigma = getattr(spec, "sigma", None)
    settings = Settings(4, 2, crop, records=4, precision=precision, sigma=sigma)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    history = train(network, problem, settings, progress=False)
    return before, network, torch.tensor(history.column("loss"))


@pytest.mark.parametrize("spec", KINDS.values(), ids=[spec.name for spec in KINDS.values()])
def test_bfloat16_training_follows_that_in_float32(spec):
    before, network, loss = trained(spec, "bfloat16")
    _, plain, expected = trained(spec, "float32")
    torch.testing.assert_close(loss, expected, rtol=0.05, atol=0)
    for value in network.parameters():
        assert value.dtype is torch.float32
        assert value.isfinite().all()
    moved = [not torch.equal(v, before[k]) for k, v in network.state_dict().items()]
    assert any(moved)
    # Only products are rounded: where a network has any, its weights are others than in float32.
    pairs = zip(network.parameters(), plain.parameters(), strict=True)
    rounded = [not torch.equal(mine, theirs) for mine, theirs in pairs]
    assert any(rounded) or isinstance(network, PhysicsNetwork)
