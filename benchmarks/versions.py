"""Speed of this version beside another checkout of the package, in one run.

Two processes, one for each version, take turns at the same call, so that whatever else the machine
does hits both; times are those of the processor. Preparation is apart. Example, beside a worktree:

    git worktree add --detach /tmp/old v0.3.0
    python benchmarks/versions.py /tmp/old
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent


def cases(images: int) -> dict[str, Callable[[], Callable[[], object]]]:
    """What is timed: names, and functions that prepare a call."""
    import torch

    import lemmse

    def noisy(operator: object, sigma: float, count: int):
        x = lemmse.datasets.load("fashion-mnist", split="test", n=count)
        generator = torch.Generator().manual_seed(0)
        if operator is None:
            return x + sigma * torch.randn(x.shape, generator=generator)
        return operator.measure(x, sigma, generator)

    def call(estimator, sigma, operator=None, count=1, images=images, how="call", **options):
        def prepare():
            x = lemmse.datasets.load("fashion-mnist", n=images)
            estimate = estimator(x, operator, **options)
            y = noisy(operator, sigma, count)

            def gradient():
                leaf = y.clone().requires_grad_()
                estimate(leaf, sigma).square().sum().backward()

            run = {
                "call": lambda: estimate(y, sigma),
                "posterior": lambda: estimate.posterior(y, sigma),
                "gradient": gradient,
            }[how]
            run()
            return run

        return prepare

    size = (28, 28)
    mask, blur = lemmse.operators.Mask.central(15, size), lemmse.operators.Blur.gaussian(1.0, size)
    local, le = lemmse.LocalMMSE, lemmse.LEMMSE
    mmse, equivariant = lemmse.MMSE, lemmse.EquivariantMMSE
    table = {}
    for sigma in (0.05, 0.1, 0.2, 0.5, 1.0):
        table[f"denoising P=5 sigma={sigma}"] = call(le, sigma, patch_size=5)
    for sigma in (0.1, 0.5):
        for p in (7, 11):
            table[f"denoising P={p} sigma={sigma}"] = call(le, sigma, patch_size=p)
    for sigma in (0.05, 0.2, 1.0):
        table[f"inpainting agnostic P=5 sigma={sigma}"] = call(le, sigma, mask, patch_size=5)
        table[f"inpainting aware P=5 sigma={sigma}"] = call(
            le, sigma, mask, preinverse="pinv", patch_size=5
        )
        table[f"blur tikhonov P=5 sigma={sigma}"] = call(
            le, sigma, blur, preinverse="tikhonov", patch_size=5
        )
    for sigma in (0.05, 0.5):
        table[f"posterior P=5 sigma={sigma}"] = call(le, sigma, patch_size=5, how="posterior")
        table[f"streamed P=5 sigma={sigma}"] = call(le, sigma, patch_size=5, images=100, memory=0)
        table[f"local P=5 sigma={sigma}"] = call(local, sigma, patch_size=5)
    for sigma in (0.1, 0.5):
        table[f"gradient P=5 100 images sigma={sigma}"] = call(
            le, sigma, patch_size=5, images=100, how="gradient"
        )
    for sigma in (0.05, 0.2, 1.0):
        table[f"MMSE 16 queries sigma={sigma}"] = call(mmse, sigma, count=16, images=10 * images)
        table[f"E-MMSE blur tikhonov sigma={sigma}"] = call(
            equivariant, sigma, blur, preinverse="tikhonov"
        )
    return table


def work(images: int, threads: int) -> None:
    """Answers lines on standard input: a case's name is run, the processor's seconds written."""
    import torch

    torch.set_num_threads(threads)
    table, prepared = cases(images), {}
    print("\n".join(table), "", sep="\n", flush=True)
    for line in sys.stdin:
        name = line.rstrip("\n")
        if name not in prepared:
            prepared.clear()
            prepared[name] = table[name]()
        start = time.process_time()
        prepared[name]()
        print(time.process_time() - start, flush=True)


class Worker:
    """A process with one version of the package."""

    def __init__(self, root: Path, args: argparse.Namespace):
        command = [sys.executable, __file__, str(root), "--worker"]
        command += ["--images", str(args.images), "--threads", str(args.threads)]
        environment = {**os.environ, "PYTHONPATH": str(root)}
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.names = list(iter(lambda: self.process.stdout.readline().rstrip("\n"), ""))

    def seconds(self, name: str) -> float:
        """One timed call of a case."""
        print(name, file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline())


def main() -> None:
    """Prints, for each case, both times and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("other", type=Path, help="root of the other checkout")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        work(args.images, args.threads)
        return
    workers = [Worker(root, args) for root in (args.other, HERE)]
    for name in workers[1].names:
        if args.only not in name:
            continue
        times = [[worker.seconds(name) for worker in workers] for _ in range(args.repeats)]
        other, ours = (statistics.median(column) for column in zip(*times, strict=True))
        print(f"{name:<42} {other:8.4f} s {ours:8.4f} s   {other / ours:6.2f} times", flush=True)
    for worker in workers:
        worker.process.stdin.close()
        worker.process.wait()


if __name__ == "__main__":
    main()
