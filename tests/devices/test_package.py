"""Every public function on the pretend accelerator gives what it gives on the CPU."""

import device_cases
import pretend
import pytest


@pytest.mark.parametrize("name", device_cases.CASES)
def test_same_on_both_devices(name):
    with pretend.accelerator() as device:
        device_cases.compare(name, device)
