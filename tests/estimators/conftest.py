"""Fixtures of the estimators' tests."""

import pytest

from lemmse.estimators import local
from lemmse.reduction import index


@pytest.fixture
def small_index(monkeypatch):
    """Sets of any size are indexed, in blocks small enough to have many of them."""
    monkeypatch.setattr(local, "LEAST_INDEXED", 0)
    monkeypatch.setattr(index, "BLOCK", 16)
