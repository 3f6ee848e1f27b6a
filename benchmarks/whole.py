"""Speed of MMSE beside a dense one in float32, in one run: `python benchmarks/whole.py`.

The peer is what deepinv's `MMSE` denoiser does when it is given a tensor (distances by
`torch.cdist`, squared, softmax, one product with the images), written anew in four lines so that
nothing need be installed. Both are called by turns on the same noisy test images; times are those
of the processor, preparation is apart.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from torch import Tensor

import lemmse


def dense(images: Tensor, y: Tensor, sigma: float) -> Tensor:
    """MMSE for denoising, as one writes it first."""
    distance = torch.cdist(y.flatten(1), images.flatten(1)).square()
    weights = torch.softmax(-distance / (2 * sigma**2), 1)
    return (weights @ images.flatten(1)).view(y.shape)


def main() -> None:
    """Prints both times and their ratio at each noise level, and how far the answers differ."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", nargs="+", type=int, default=[10000, 60000])
    parser.add_argument("--queries", nargs="+", type=int, default=[1, 16])
    parser.add_argument("--sigmas", nargs="+", type=float, default=[0.01, 0.05, 0.1, 0.2, 0.5, 1.0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for count in args.images:
        images = lemmse.datasets.load("fashion-mnist", n=count)
        start = time.process_time()
        estimate = lemmse.MMSE(images).prepare()
        print(f"{count} images, prepared in {time.process_time() - start:.1f} s", flush=True)
        for queries in args.queries:
            truth = lemmse.datasets.load("fashion-mnist", split="test", n=queries)
            for sigma in args.sigmas:
                generator = torch.Generator().manual_seed(0)
                y = truth + sigma * torch.randn(truth.shape, generator=generator)
                times = []
                for _ in range(args.repeats + 1):
                    clock = [time.process_time()]
                    wanted = dense(images, y, sigma)
                    clock.append(time.process_time())
                    found = estimate(y, sigma)
                    clock.append(time.process_time())
                    times.append((clock[1] - clock[0], clock[2] - clock[1]))
                peer, ours = (statistics.median(t[1:]) for t in zip(*times, strict=True))
                print(
                    f"{count:>6} images {queries:>3} queries sigma={sigma:<5} dense {peer:.4f} s  "
                    f"lemmse {ours:.4f} s  {peer / ours:6.1f} times   "
                    f"difference {(found - wanted).abs().max():.1e}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
