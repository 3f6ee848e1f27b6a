"""Peak memory of LE-MMSE on 60,000 images with P = 11, above the loaded data set."""

from __future__ import annotations

import argparse
import resource
import time

import torch

import lemmse


def peak() -> float:
    """Largest resident set of this process so far, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def main() -> None:
    """Estimates one image and prints how far the peak rose."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", default="fashion-mnist")
    parser.add_argument("--images", type=int, default=60000)
    parser.add_argument("--patch-size", type=int, default=11)
    parser.add_argument("--sigma", type=float, default=0.2)
    args = parser.parse_args()
    images = lemmse.datasets.load(args.dataset, n=args.images)
    truth = lemmse.datasets.load(args.dataset, split="test", n=1)
    y = truth + args.sigma * torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
    before, start = peak(), time.perf_counter()
    result = lemmse.LEMMSE(images, patch_size=args.patch_size)(y, args.sigma)
    print(
        f"{args.images} images, P = {args.patch_size}: {time.perf_counter() - start:.0f} s, peak "
        f"{peak() - before:.2f} GB above {before:.2f} GB with the data loaded; "
        f"PSNR {lemmse.metrics.psnr(result, truth).item():.2f} dB"
    )


if __name__ == "__main__":
    main()
