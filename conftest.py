"""What all tests need before anything is imported, the examples in docstrings included."""

import sys
from pathlib import Path

STANDINS = Path(__file__).parent / "tests" / "standins"

collect_ignore = [str(STANDINS)]

# deepinv imports torchvision, whose builds do not load beside every build of torch.
try:
    import torchvision  # noqa: F401
except Exception:  # whatever a build for another torch raises
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    sys.path.insert(0, str(STANDINS))
