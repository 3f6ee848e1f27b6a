"""Models whose weights are random, for tests of what is done with models."""

import torch

from lemmse import datasets, zoo


def save_untrained(names, folder):
    """Writes models of grey photographs, six of them, with the same random seed each."""
    checksum = datasets.checksum(datasets.load("photos-grey", n=6))
    for name in names:
        torch.manual_seed(1)
        spec = zoo.parse(name)
        zoo.save(spec.network(1), spec, {"data": {"checksum": checksum}}, folder)
    return folder
