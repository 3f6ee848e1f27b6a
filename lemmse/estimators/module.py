"""How an estimator is a torch module: what it keeps when it is moved, cast, saved or loaded."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor, nn

from ..devices import plain_mode

# One lock for all estimators: two threads that call one of them at once prepare it once.
_PREPARING = threading.RLock()


class prepared(cached_property):
    """A cached property of a `PreparedModule`: made once, without gradients, in torch's plain mode.

    It is forgotten, and made again when next wanted, after the module was moved, cast or loaded;
    copies and pickles go without it.
    """

    def __get__(self, instance: object, owner: type | None = None) -> object:
        if instance is None:
            return self
        with _PREPARING, plain_mode(), torch.no_grad():
            return super().__get__(instance, owner)


class PreparedModule(nn.Module):
    """A module without trained weights, computed from its buffers, from which it prepares the rest.

    Casting it (``.to(torch.float64)``, ``.float()``, ``.half()``) never touches the digits of its
    buffers; a subclass says in `_cast` what it does instead.
    """

    def prepare(self) -> PreparedModule:
        """Does now what else the first call would do, and returns the estimator."""
        for name in sorted(self._prepared_names()):  # processes talk, all in the same order
            getattr(self, name)
        return self

    def _cast(self, dtype: torch.dtype) -> None:
        """What a cast to this precision means, if anything."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> PreparedModule:
        """Called by ``.to`` and its kin with what they do to each tensor."""
        before = dict(self._buffers)
        device = next(iter(before.values())).device
        # Whatever the buffers are, a cast to float32 or float64 shows on 16 bits.
        probe = fn(torch.zeros(1, dtype=torch.bfloat16, device=device))
        super()._apply(fn, recurse)
        for name, old in before.items():
            if old is not None and self._buffers[name].dtype != old.dtype:
                self._buffers[name] = old.to(self._buffers[name].device)
        self._cast(probe.dtype)
        self._forget()
        return self

    def _load_from_state_dict(self, *arguments: object) -> None:
        super()._load_from_state_dict(*arguments)
        self._forget()

    def __getstate__(self) -> dict:
        names = self._prepared_names()
        return {name: value for name, value in self.__dict__.items() if name not in names}

    def _forget(self) -> None:
        for name in self._prepared_names():
            self.__dict__.pop(name, None)

    def _prepared_names(self) -> set[str]:
        return {
            name
            for cls in type(self).__mro__
            for name, value in vars(cls).items()
            if isinstance(value, prepared)
        }
