"""What `import lemmse` costs on top of `import torch`, in one run: `python benchmarks/imports.py`.

Fresh interpreters import by turns; the least processor time of several counts. The package imports
its parts when they are first used, so that the estimators are asked for by name, too.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys

CODE = {
    "nothing": "",
    "torch": "import torch",
    "torch, lemmse": "import torch, lemmse",
    "torch, lemmse.LEMMSE": "import torch, lemmse; lemmse.LEMMSE",
}


def seconds(code: str) -> float:
    """Processor time of an interpreter that runs some code."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Prints the times, and those on top of torch."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    rounds = [{name: seconds(code) for name, code in CODE.items()} for _ in range(args.repeats)]
    best = {name: min(times[name] for times in rounds) for name in CODE}
    for name, least in best.items():
        more = least - best["torch"]
        print(f"{name:<24}{least:8.3f} s{more:+8.3f} s on top of torch{least / best['torch']:8.2f}")


if __name__ == "__main__":
    main()
