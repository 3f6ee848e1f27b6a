"""What a GPU computes, and how fast, in at most 8 minutes: `make gpu`.

    PYTHONPATH=.:tests python3 benchmarks/gpu.py [--device cpu] [--quick] [--seconds S]

- correct: the cases of tests/device_cases.py, on the GPU and on the CPU;
- limits: the card's rate of matrix products (float32, without TF32) and of copies, measured;
- engine: seconds of one LE-MMSE estimate, and the share of the card's limit: the time of the
  operations in the product of queries and keys, at the rate of large square matrices, over that of
  the whole estimate, the cutting of its patches included (above 1 where the engine skips keys);
- training: steps and images a second.

Without a GPU it says so in one line and ends with status 0; with one, the status is 1 if a case
fails. The results are written after every row; what does not fit into the time is left out, and
said. Only the package's run-time dependencies are needed, and of these none that downloads: the
images are the synthetic ones of the data set "infrared".
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import device_cases
import torch

import lemmse
from lemmse.networks import PatchMLP, ResNet, UNet
from lemmse.training import Problem, Settings, train

NETWORKS = {"PatchMLP": PatchMLP, "ResNet": ResNet, "UNet": UNet}
NO_GPU = "no GPU here: nothing was measured (make gpu needs one that CUDA sees)"


def seconds(function: Callable[[], object], device: torch.device, repeats: int = 5) -> float:
    """Median wall-clock time of a call, after one to warm up."""
    times = []
    for _ in range(repeats + 1):
        wait(device)
        start = time.perf_counter()
        function()
        wait(device)
        times.append(time.perf_counter() - start)
    return sorted(times[1:])[repeats // 2]


def wait(device: torch.device) -> None:
    """Waits until the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def correct(device: torch.device) -> Iterator[dict]:
    """One row for each case: its name, and what is wrong or an empty text."""
    for name in device_cases.CASES:
        try:
            device_cases.compare(name, device)
            wrong = ""
        except Exception as error:  # whatever it is, the other cases shall be tried
            wrong = f"{type(error).__name__}: {error}"
        yield {"case": name, "wrong": wrong}


def limits(device: torch.device, quick: bool) -> Iterator[dict]:
    """The card's two ceilings, on random data."""
    count = 2**20 if quick else 2**30
    x, y = torch.rand(count, device=device), torch.empty(count, device=device)
    copy = seconds(lambda: y.copy_(x), device)
    rate = product_rate(device, quick)
    yield {"teraflops": 1e-12 * rate, "terabytes_per_second": 8e-12 * count / copy}


def product_rate(device: torch.device, quick: bool) -> float:
    """Operations a second in the product of two large square matrices."""
    side = 256 if quick else 8192
    a, b = torch.rand(2, side, side, device=device)
    return 2 * side**3 / seconds(lambda: a @ b, device)


def engine(device: torch.device, quick: bool) -> Iterator[dict]:
    """One row for each number of training images, patch size and noise level."""
    counts, sizes = ((20,), (3,)) if quick else ((1000, 10_000), (5, 11))
    truth = lemmse.datasets.load("infrared", "test", 1).to(device)
    noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(0)).to(device)
    rate = product_rate(device, quick)
    for count in counts:
        images = lemmse.datasets.load("infrared", "train", count).to(device)
        for patch_size in sizes:
            estimate = lemmse.LEMMSE(images, patch_size=patch_size).prepare()
            pairs = truth.numel() * images.numel()  # grey: a query and a key a pixel
            limit = 2 * pairs * patch_size**2 / rate
            for sigma in (0.05, 0.2, 1.0):
                y = truth + sigma * noise
                taken = seconds(partial(estimate, y, sigma), device)
                yield {
                    "images": count,
                    "patch_size": patch_size,
                    "sigma": sigma,
                    "seconds": taken,
                    "limit": limit,
                    "share_of_limit": limit / taken,
                }


def training(device: torch.device, quick: bool) -> Iterator[dict]:
    """One row for each network and precision."""
    steps, batch = (2, 4) if quick else (200, 128)
    problem = Problem.of(
        lemmse.datasets.load("infrared", "train", 20 if quick else 1000).to(device)
    )
    for name, network in NETWORKS.items():
        for precision in ("float32", "bfloat16"):
            settings = Settings(steps=steps, batch=batch, records=1, precision=precision)
            made = network(1, 5).to(device)
            train(made, problem, Settings(steps=2, batch=batch, records=1), progress=False)
            wait(device)
            start = time.perf_counter()
            history = train(made, problem, settings, progress=False)
            wait(device)
            rate = steps / (time.perf_counter() - start)
            yield {
                "network": name,
                "precision": precision,
                "steps_per_second": rate,
                "images_per_second": rate * batch,
                "finite": math.isfinite(history.column("loss")[-1]),
            }


def measure(device: torch.device, quick: bool, budget: float, out: Path) -> dict:
    """All sections, each row printed and written as it comes."""
    gpu = device.type == "cuda"
    name = torch.cuda.get_device_name(device) if gpu else str(device)
    results = {"device": name, "torch": torch.__version__, "left_out": []}
    start = time.perf_counter()
    sections = {
        "limits": limits(device, quick),
        "engine": engine(device, quick),
        "training": training(device, quick),
        "correct": correct(device),
    }
    for done, (section, rows) in enumerate(sections.items()):
        results[section] = []
        # What is left is shared by the sections to come; the last one may take all of it.
        left = budget - (time.perf_counter() - start)
        end = time.perf_counter() + left / (len(sections) - done)
        for row in rows:
            results[section].append(row)
            out.write_text(json.dumps(results, indent=1))
            if section != "correct" or row["wrong"]:
                show(section, row)
            if time.perf_counter() > end:
                results["left_out"].append(section)
                print(f"{section}: the time was up after {len(results[section])} rows")
                break
    out.write_text(json.dumps(results, indent=1))
    return results


def show(section: str, row: dict) -> None:
    """Prints a row."""
    parts = (f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in row.items())
    print(section, *parts, flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Measures where there is a GPU, or on the device that is named."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", type=torch.device, help="instead of the GPU: cpu, to try it")
    parser.add_argument("--quick", action="store_true", help="sizes that a CPU can do")
    parser.add_argument("--seconds", type=float, default=450, help="time to use [%(default)s]")
    parser.add_argument("--out", type=Path, default=Path("_build/gpu.json"))
    args = parser.parse_args(arguments)
    if args.device is None and not torch.cuda.is_available():
        print(NO_GPU)
        return 0
    # Convolutions of float32 in TF32, cuDNN's default, differ from the CPU's by 1e-3.
    torch.backends.cudnn.allow_tf32 = False
    args.out.parent.mkdir(parents=True, exist_ok=True)
    results = measure(args.device or torch.device("cuda"), args.quick, args.seconds, args.out)
    failed = [row["case"] for row in results["correct"] if row["wrong"]]
    print(f"{len(results['correct']) - len(failed)} cases agree with the CPU, {len(failed)} do not")
    print(f"results: {args.out}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
