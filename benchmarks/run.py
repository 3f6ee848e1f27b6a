"""Speed of LE-MMSE against its peers and against the machine's limit, in one run: `make bench`.

Every row measures, on the same noisy test images:

- dense: distances by `torch.cdist`, chunk by chunk of training images, with a running maximum: the
  straightforward implementation. Its time depends on the chunk, so two are measured: 100 images,
  and 1 image, which stays in the cache and is the best that one can choose;
- KeOps, if pykeops is installed;
- limit: the matrix product of queries and keys alone, in tiles that stay in the cache;
- lemmse: the package, its preparation (once per training set) apart.

Ratios are what counts: machines are noisy. The peers' time on many images is measured on part of
the training set and scaled, which the column "part" says; they have no economies of scale.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

import lemmse
from lemmse.fields import extract

SIGMAS = (0.05, 0.1, 0.2, 0.5, 1.0)
PART = 1000  # training images that the peers are measured on


def seconds(function: Callable[[], object], args: argparse.Namespace, repeats: int) -> float:
    """Median time of a call, after one call to warm up; without repeats, the first call's."""
    clock = time.process_time if args.cpu_time else time.perf_counter
    times = []
    for _ in range(repeats + 1):
        synchronise()
        start = clock()
        function()
        synchronise()
        times.append(clock() - start)
    return statistics.median(times[1:] if repeats > 0 else times)


def synchronise() -> None:
    """Waits for a GPU."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def dense(images: Tensor, y: Tensor, patch_size: int, sigma: float, chunk: int) -> Tensor:
    """LE-MMSE for denoising, as one writes it first."""
    queries = extract(y, patch_size).flatten(0, 1)
    top = queries.new_full((len(queries), 1), -math.inf)
    total, weighted = torch.zeros_like(top), torch.zeros_like(top)
    for part in images.split(chunk):
        keys = extract(part, patch_size).flatten(0, 1)
        logits = -torch.cdist(queries, keys).square() / (2 * sigma**2)
        new = torch.maximum(top, logits.amax(1, keepdim=True))
        weights, decay = (logits - new).exp(), (top - new).exp()
        total = total * decay + weights.sum(1, keepdim=True)
        weighted = weighted * decay + weights @ part.reshape(-1, 1)
        top = new
    return (weighted / total).view(y.shape)


def keops(images: Tensor, y: Tensor, patch_size: int, sigma: float) -> Tensor:
    """The same with KeOps' lazy tensors."""
    from pykeops.torch import LazyTensor

    queries = LazyTensor((extract(y, patch_size).flatten(0, 1) / sigma)[:, None, :].contiguous())
    keys = LazyTensor((extract(images, patch_size).flatten(0, 1) / sigma)[None].contiguous())
    values = LazyTensor(images.reshape(1, -1, 1).contiguous())
    logits = -((queries - keys) ** 2).sum(-1) / 2
    return logits.sumsoftmaxweight(values, axis=1).view(y.shape)


def product(queries: Tensor, keys: Tensor, tile: int = 1024) -> None:
    """The matrix product of keys and queries, tile by tile into one buffer."""
    transposed = queries.T.contiguous()
    buffer = queries.new_empty(tile, len(queries))
    for part in keys.split(tile):
        torch.mm(part, transposed, out=buffer[: len(part)])


def has_keops() -> bool:
    """Whether pykeops can be imported."""
    try:
        import pykeops.torch  # noqa: F401
    except ImportError:
        return False
    return True


def rows_of(name: str, count: int, patch_size: int, args: argparse.Namespace, device):
    """One row for each noise level."""
    images = lemmse.datasets.load(name, n=count).to(device)
    truth = lemmse.datasets.load(name, split="test", n=args.queries).to(device)
    part = images[:PART]
    scale = count / len(part)
    synchronise()
    start = time.perf_counter()
    estimate = lemmse.LEMMSE(images, patch_size=patch_size).prepare()
    synchronise()
    preparation = time.perf_counter() - start
    channels = truth.shape[1]
    for sigma in args.sigmas:
        noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
        y = truth + sigma * noise.to(device)
        times = {"lemmse": seconds(partial(estimate, y, sigma), args, args.repeats)}
        queries = extract(y, patch_size).flatten(0, 1)
        keys = extract(part, patch_size).flatten(0, 1)
        limit = seconds(partial(product, queries, keys), args, args.repeats)
        times["limit"] = scale * limit
        peers = {}
        if channels == 1 and not args.no_dense:
            for chunk in (100, 1):
                peers[f"dense {chunk}"] = partial(dense, part, y, patch_size, sigma, chunk)
        if channels == 1 and has_keops():
            peers["keops"] = partial(keops, part, y, patch_size, sigma)
        for peer, function in peers.items():
            times[peer] = scale * seconds(function, args, args.peer_repeats)
        yield {
            "dataset": name,
            "images": count,
            "patch_size": patch_size,
            "sigma": sigma,
            "queries": args.queries,
            "part": len(part),
            "preparation": preparation,
            **times,
        }


def show(row: dict) -> None:
    """Prints a row: seconds of the package, and how many times longer the others take."""
    ratios = "  ".join(
        f"{name} {row[name] / row['lemmse']:6.1f}x"
        for name in ("dense 100", "dense 1", "keops", "limit")
        if name in row
    )
    print(
        f"{row['dataset']:<14}{row['images']:>6}  P={row['patch_size']:<3}"
        f"sigma={row['sigma']:<5}  lemmse {row['lemmse']:8.3f} s   {ratios}"
        f"   (prepared in {row['preparation']:.1f} s)",
        flush=True,
    )


def main() -> None:
    """Measures the grid, prints it as it comes, and writes it as JSON after every row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--datasets", nargs="+", default=["fashion-mnist", "photos-grey"])
    add("--images", nargs="+", type=int, default=[1000, 10000])
    add("--patch-sizes", nargs="+", type=int, default=[5, 7, 11])
    add("--sigmas", nargs="+", type=float, default=SIGMAS)
    add("--queries", type=int, default=1, help="test images estimated at once [%(default)s]")
    add("--repeats", type=int, default=3, help="timed calls of the package [%(default)s]")
    add("--peer-repeats", type=int, default=1, help="timed calls of the peers [%(default)s]")
    add("--threads", type=int, help="threads of the CPU [all]")
    add("--cpu-time", action="store_true", help="time of the processor, for a busy machine")
    add("--no-dense", action="store_true", help="leave the slowest peer out")
    add("--out", type=Path, default=Path("_build/benchmarks.json"))
    args = parser.parse_args()
    device = lemmse.device()
    if args.threads:
        torch.set_num_threads(args.threads)
    machine = {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "clock": "processor" if args.cpu_time else "wall",
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "processor": platform.processor() or platform.machine(),
    }
    print(machine)
    results = []
    args.out.parent.mkdir(parents=True, exist_ok=True)
    for name in args.datasets:
        for count in args.images:
            for patch_size in args.patch_sizes:
                for row in rows_of(name, count, patch_size, args, device):
                    show(row)
                    results.append(row)
                    args.out.write_text(json.dumps({"machine": machine, "rows": results}, indent=1))
    print(f"results: {args.out}")


if __name__ == "__main__":
    main()
