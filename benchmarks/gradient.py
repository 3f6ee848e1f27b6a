"""Cost of LE-MMSE's gradient beside its forward pass, grey and colour, in one run.

    python benchmarks/gradient.py

The gradient is that of the squared norm of the estimate in the measurement, forward pass included.
Both are called by turns on the same noisy test images; times are those of the processor,
preparation is apart.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

import lemmse


def seconds(call: Callable[[], object]) -> float:
    """Processor time of one call."""
    start = time.process_time()
    call()
    return time.process_time() - start


def main() -> None:
    """Prints both times and their ratio for each data set, patch size and noise level."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", nargs="+", default=["photos-grey", "photos"])
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--patch-sizes", nargs="+", type=int, default=[5])
    parser.add_argument("--sigmas", nargs="+", type=float, default=[0.1, 0.5])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"{'data set':<14}{'P':>3}{'sigma':>7}{'forward':>12}{'gradient':>12}{'ratio':>8}")
    for name in args.datasets:
        x, truth = (
            lemmse.datasets.load(name, s, n) for s, n in (("train", args.images), ("test", 1))
        )
        for p in args.patch_sizes:
            estimate = lemmse.LEMMSE(x, patch_size=p).prepare()
            for sigma in args.sigmas:
                noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
                y = truth + sigma * noise
                leaf = y.clone().requires_grad_()

                def forward(estimate=estimate, y=y, sigma=sigma):
                    estimate(y, sigma)

                def gradient(estimate=estimate, leaf=leaf, sigma=sigma):
                    estimate(leaf, sigma).square().sum().backward()

                forward()
                gradient()
                times = [(seconds(forward), seconds(gradient)) for _ in range(args.repeats)]
                once, both = (statistics.median(column) for column in zip(*times, strict=True))
                print(
                    f"{name:<14}{p:>3}{sigma:>7g}{once:>10.4f} s{both:>10.4f} s{both / once:>8.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
