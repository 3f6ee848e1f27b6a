"""Models of other fields: names, and the ones that ship."""

import pytest
import torch

from lemmse import zoo
from lemmse.__main__ import main
from lemmse.experiments import record, variants
from lemmse.networks import field_of
from lemmse.zoo import Spec, VariantSpec

SHIPPED = zoo.names(kind=VariantSpec)
NAME = "photos-grey/denoising/patchmlp-p3-blind-n8-s2"


@pytest.mark.parametrize("name", zoo.catalogue(VariantSpec))
def test_a_name_says_it_all(name):
    assert VariantSpec.parse(name).name == name
    assert isinstance(zoo.parse(name), VariantSpec)


def test_the_catalogue_has_six_variants_of_two_sizes_and_three_seeds():
    specs = [VariantSpec.parse(name) for name in zoo.catalogue(VariantSpec)]
    assert len(specs) == len(set(specs)) == 6 * 2 * 3
    assert len({spec.variant for spec in specs[:6]}) == 6
    assert {spec.seed for spec in specs[:12]} == {0}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("photos/blur/resnet-p5-zeros", "task: expected one of denoising, got 'blur'"),
        ("photos/denoising/unet-p5-zeros", "architecture of zeros: expected one of resnet"),
    ],
)
def test_bad_names_are_explained(name, message):
    with pytest.raises(ValueError, match=message):
        zoo.parse(name)


def test_other_names_stay_what_they_were():
    assert isinstance(zoo.parse("photos-grey/blur/unet-p5-aware"), Spec)
    with pytest.raises(ValueError, match="variant: expected one of zeros"):
        VariantSpec("photos-grey", "denoising", "none")


@pytest.mark.parametrize("variant", zoo.VARIANTS)
def test_the_field_of_a_spec_is_that_of_its_network(variant):
    spec = VariantSpec("photos-grey", "denoising", variant, patch_size=5)
    if variant in ("stride2", "pool2", "dilated2"):
        spec = VariantSpec(
            "photos-grey", "denoising", variant, patch_size=9 if variant == "dilated2" else 7
        )
    problem = spec.pose(torch.rand(4, 1, 14, 14))
    assert problem.noisy_targets == (variant == "blind")
    found = field_of(spec.fresh(problem, {"width": 4}).eval(), (1, 14, 14), sigma=0.3).field
    assert torch.equal(spec.field((1, 14, 14)).mask, found.mask)
    assert spec.field((1, 14, 14)).padding == found.padding


def test_small_images_have_no_field():
    with pytest.raises(ValueError, match="image_shape: no field"):
        VariantSpec("photos-grey", "denoising", "zeros").field((1, 5, 5))


def test_training_by_the_command_line_takes_the_seed_of_the_name(tmp_path):
    words = ["train", NAME, "--out", str(tmp_path), "--checkpoints", str(tmp_path / "c")]
    assert main([*words, "--steps", "3", "--batch", "4"]) == 0
    card = zoo.card(NAME, tmp_path)
    assert card["settings"]["seed"] == 2
    assert set(card["history"][-1]) == {"step", "loss", "0.1", "0.2", "0.5", "1.0"}
    assert zoo.load(NAME, tmp_path)(torch.rand(1, 1, 8, 8), 0.2).isfinite().all()


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_models_load_and_their_cards_are_complete(name):
    network, card, spec = zoo.load(name), zoo.card(name), VariantSpec.parse(name)
    assert card["name"] == name
    assert network.patch_size == spec.patch_size
    assert card["data"]["images"] == spec.images
    assert card["settings"]["seed"] == spec.seed
    assert card["settings"]["steps"] == card["history"][-1]["step"]
    assert card["precision_cost"] <= 0.1
    assert network(torch.rand(1, network.channels, 16, 16), 0.3).isfinite().all()


@pytest.mark.skipif(not record.shipped(variants.NAME).exists(), reason="not computed yet")
def test_shipped_results_are_of_the_shipped_weights():
    for name, entry in variants.results().items():
        assert entry["sha256"] == zoo.card(name)["sha256"], name
        assert entry["images"] == variants.IMAGES
        for cells in entry["mse"].values():
            for cell in cells.values():
                assert set(cell) == set(variants.PARTS)
                for kinds in cell.values():
                    assert set(kinds) <= set(variants.KINDS)
                    assert all(len(values) == variants.IMAGES for values in kinds.values())
