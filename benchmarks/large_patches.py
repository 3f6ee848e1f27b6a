r"""Large patches by running sums beside the engine, in one run.

Dot products of the patches of two images overlap: for a vertical displacement :math:`\delta`,

.. math:: \langle \Pi_{ij} y, \Pi_{i + \delta, j'} x \rangle = \sum_{a} R_\delta[i + a, j, j'],
    \qquad R_\delta[i, j, j'] = \sum_{c, b} y[c, i, j + b]\, x[c, i + \delta, j' + b],

so that a logit costs P multiplications instead of P^2, and about log2 P additions by doubling.
B = I only, everything in float32, no key skipped, none merged. Times are those of the processor.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from torch import Tensor
from torch.nn import functional

import lemmse

FLOOR = -80.0  # keeps denormal exponentials out, which are slow
CHUNK = 8  # training images at once: products of one displacement stay in the cache


def segments(x: Tensor, size: int) -> Tensor:
    """Horizontal segments of all channels, (n, H, W, C*P), circular."""
    padded = functional.pad(x, (size // 2, size // 2, 0, 0), mode="circular")
    return padded.unfold(3, size, 1).permute(0, 2, 3, 1, 4).flatten(3)


def windows(rows: Tensor, size: int) -> Tensor:
    """Sums over P neighbours along the first dimension, circular, by doubling."""
    height, margin = len(rows), size // 2
    doubled = torch.cat([rows[height - margin :], rows, rows[:margin]])
    result, done, length = None, 0, 1
    while True:
        if size & length:
            part = doubled[done : done + height]
            result = part.clone() if result is None else result.add_(part)
            done += length
        if done == size:
            return result
        doubled = doubled[:-length] + doubled[length:]
        length *= 2


def running_sums(images: Tensor, y: Tensor, size: int, sigma: float) -> Tensor:
    """LE-MMSE for denoising one image, (C, H, W)."""
    channels, height, width = y.shape
    queries = segments(y[None], size)[0]  # (H, W, C*P)
    top = y.new_full((height, width), -torch.inf)
    total, weighted = y.new_zeros(height, width), y.new_zeros(height, width, channels)
    for part in images.split(CHUNK):
        keys = segments(part, size).permute(1, 3, 0, 2).flatten(2)  # (H, C*P, n*W)
        # -|k|^2 / 2 along: sums of the rows' own squares.
        half = windows(keys.square().sum(1), size) / 2  # (H, n*W)
        values = part.permute(2, 0, 3, 1).flatten(1, 2)  # (H, n*W, C)
        ones = torch.cat([values.new_ones(*values.shape[:2], 1), values], 2)
        for shift in range(height):
            products = windows(queries @ keys.roll(-shift, 0), size)  # (H, W, n*W)
            logits = products.sub_(half.roll(-shift, 0)[:, None]).mul_(1 / sigma**2)
            new = torch.maximum(top, logits.amax(2))
            weights = logits.sub_(new[:, :, None]).clamp_(min=FLOOR).exp_()
            sums = weights @ ones.roll(-shift, 0)
            decay = (top - new).exp()
            total = total * decay + sums[..., 0]
            weighted = weighted * decay[..., None] + sums[..., 1:]
            top = new
    return (weighted / total[..., None]).permute(2, 0, 1)


def main() -> None:
    """Prints both times, their ratio, and how far the answers differ."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", nargs="+", default=["fashion-mnist", "cifar10"])
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--patch-sizes", nargs="+", type=int, default=[11, 17, 25])
    parser.add_argument("--sigmas", nargs="+", type=float, default=[0.1, 0.5, 1.0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for name in args.datasets:
        images = lemmse.datasets.load(name, n=args.images)
        truth = lemmse.datasets.load(name, split="test", n=1)
        for size in args.patch_sizes:
            estimate = lemmse.LEMMSE(images, patch_size=size).prepare()
            for sigma in args.sigmas:
                generator = torch.Generator().manual_seed(0)
                y = truth + sigma * torch.randn(truth.shape, generator=generator)
                times = []
                for _ in range(args.repeats):
                    clock = [time.process_time()]
                    found = running_sums(images, y[0], size, sigma)
                    clock.append(time.process_time())
                    wanted = estimate(y, sigma)[0]
                    clock.append(time.process_time())
                    times.append((clock[1] - clock[0], clock[2] - clock[1]))
                sums, engine = (statistics.median(t) for t in zip(*times, strict=True))
                print(
                    f"{name:<14} P={size:<3} sigma={sigma:<4} running sums {sums:7.3f} s  "
                    f"engine {engine:7.3f} s  {engine / sums:5.2f} times   "
                    f"difference {(found - wanted).abs().max():.1e}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
