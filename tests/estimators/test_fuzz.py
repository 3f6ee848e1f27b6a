"""Fixed cases of the fuzz: every estimator, operator, mode and kind of noise level comes up."""

import fuzz
import pytest

pytestmark = pytest.mark.usefixtures("small_index")


@pytest.mark.parametrize("seed", range(60))
def test_random_calls_agree_with_plain_ones_in_float64(seed):
    assert fuzz.complaints(fuzz.case(seed)) == []
