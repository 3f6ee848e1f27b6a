"""A pretend accelerator: tensors of device ``shadow`` that refuse what CUDA tensors refuse.

    with pretend.accelerator():
        x = torch.rand(3, device="shadow")   # its numbers are in the memory of the CPU
        x + torch.rand(3)                    # RuntimeError: two devices

A `Shadow` is a tensor without memory of its own, on the device ``shadow:0``, beside a tensor of the
CPU that holds its numbers. Every operation comes through `_dispatch`, which refuses operands on two
devices, operations and types that CUDA does not have, and hands the rest to the CPU. What torch
decides above its dispatcher (generators, indices) is refused or redirected in `_Above`. Numbers,
random ones included, are those of the CPU, so that results can be compared.

It cannot show speed, the rounding of CUDA's own kernels, or anything asynchronous.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import numpy as np
import torch
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack
from torch.utils import _pytree as pytree
from torch.utils._device import DeviceContext
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.backend_registration import (
    _DummyBackendModule,
    _setup_privateuseone_for_python_backend,
)

from lemmse import devices

NAME = "shadow"
aten = torch.ops.aten

INDEXING = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_, aten._unsafe_index}
"""Operations whose indices may stay on the CPU."""

ACROSS = {aten.copy_, aten._copy_from, aten.is_same_size}
"""Operations between two devices."""

CPU_ONLY = {aten.histogram, aten._histogramdd_bin_edges, aten._histogramdd_from_bin_cts}
"""Operations that CUDA does not have."""

AT_ONCE = {
    aten._conj.default: aten.conj_physical.default,
    aten._neg_view.default: aten.neg.default,
    aten._efficientzerotensor.default: aten.zeros.default,
}
"""What torch would put off, with a mark on the tensor that the CPU's kernels would not see here."""

NOT_FOR_INTEGERS = {
    *(aten.mm, aten.bmm, aten.addmm, aten.baddbmm, aten.mv, aten.addmv, aten.dot, aten.vdot),
    *(aten.convolution, aten.histc),
}
"""Operations that CUDA has for floating-point numbers only."""

LOWER_PRECISION = (
    *("mm", "bmm", "addmm", "baddbmm", "mv", "addmv", "matmul", "linear", "prelu"),
    *("conv1d", "conv2d", "conv_transpose2d.input", "convolution", "scaled_dot_product_attention"),
)
"""What autocast computes in half precision, as on CUDA."""

FULL_PRECISION = (
    *("exp", "log", "pow.Tensor_Scalar", "cdist", "logsumexp", "softmax.int", "log_softmax.int"),
    *("sum", "sum.dim_IntList"),
)
"""Some of what autocast computes in float32, as on CUDA."""


class Shadow(torch.Tensor):
    """A tensor on the pretend accelerator; ``numbers`` is the tensor of the CPU behind it."""

    numbers: torch.Tensor

    @staticmethod
    def __new__(cls, numbers: torch.Tensor) -> Shadow:
        self = torch.Tensor._make_wrapper_subclass(
            cls,
            numbers.size(),
            strides=numbers.stride(),
            storage_offset=numbers.storage_offset(),
            dtype=numbers.dtype,
            layout=numbers.layout,
            device=torch.device(NAME, 0),
        )
        self.numbers = numbers
        return self

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _dispatch(func, args, kwargs or {})

    # With these two, ``module.to`` exchanges whole tensors: a new ``.data`` would not come along.
    def __tensor_flatten__(self):
        return ["numbers"], None

    @staticmethod
    def __tensor_unflatten__(inner, context, size, stride):
        return Shadow(inner["numbers"])

    def __repr__(self) -> str:
        return f"Shadow({self.numbers})"

    def __reduce_ex__(self, protocol):
        device = str(self.device)
        plain = (self.detach().cpu(), self.dtype, device, self.requires_grad)
        return torch._utils._rebuild_device_tensor_from_cpu_tensor, plain

    def __format__(self, form: str) -> str:
        return format(self.item() if self.dim() == 0 else self.numbers, form)

    def new_tensor(self, data, **options):  # here, since backward passes do not go through _Above
        options = {"dtype": self.dtype, "device": self.device} | options
        device = options.pop("device")
        data = pytree.tree_map(_as_number, data) if isinstance(data, (list, tuple)) else data
        return torch.tensor(data, **options, device="cpu").to(device)

    def tolist(self):
        return self.numbers.tolist()

    def numpy(self, *, force=False):
        return self.cpu().numpy(force=force) if force else self.__array__()

    def __array__(self, dtype=None, copy=None):
        raise TypeError(
            f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() first"
        )


class ShadowGenerator(torch.Generator):
    """A generator of the pretend accelerator: the numbers of the CPU's with the same seed."""

    def __new__(cls) -> ShadowGenerator:
        return super().__new__(cls, "cpu")

    @property
    def device(self) -> torch.device:
        return torch.device(NAME, 0)


class _Generators(type):
    """Makes ``Generator("shadow")`` a `ShadowGenerator`, and both kinds instances of Generator."""

    real = torch.Generator

    def __call__(cls, device="cpu"):
        return ShadowGenerator() if _is_shadow(device) else cls.real(device)

    def __instancecheck__(cls, instance):
        return isinstance(instance, cls.real)


class _Generator(metaclass=_Generators):
    """Takes the place of `torch.Generator`."""


class _Backend(_DummyBackendModule):
    """What torch asks of an accelerator's own module (``torch.cuda`` for CUDA)."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.float16, torch.bfloat16]


def _is_shadow(device) -> bool:
    return device is not None and torch.device(device).type == NAME


def _two_devices(func) -> RuntimeError:
    return RuntimeError(
        f"Expected all tensors to be on the same device, but found at least two devices, "
        f"{NAME}:0 and cpu, in {func}"
    )


def _map(change, value):
    """`change` of every tensor in arguments or results, which are nested lists at most."""
    if isinstance(value, torch.Tensor):
        return change(value)
    if type(value) in (list, tuple):
        return type(value)([_map(change, part) for part in value])
    return value


def _dispatch(func, args, kwargs):
    """Checks one operation and computes it on the CPU."""
    shadows = {}  # by the identity of their numbers

    def numbers(t):
        if isinstance(t, Shadow):
            shadows[id(t.numbers)] = t
            return t.numbers
        return t

    def placed(t):
        return shadows[id(t)] if id(t) in shadows else Shadow(t)

    plain = _map(numbers, args)
    named = {key: _map(numbers, value) for key, value in kwargs.items()}
    device = kwargs.get("device")
    on_shadow = bool(shadows) if device is None else _is_shadow(device)
    if shadows:
        _check(func, args, kwargs, shadows.values())
        if func.overloadpacket in ACROSS:  # the result is where the first operand is
            on_shadow = isinstance(args[0], Shadow)
    if _is_shadow(device):
        named["device"] = torch.device("cpu")
    result = AT_ONCE.get(func, func)(*plain, **named) if on_shadow else func(*plain, **named)
    if shadows and torch.Tag.inplace_view in func.tags:
        with no_dispatch(), _meta():  # the shadow's own shape, which no computation sees
            func(*args, **kwargs)
    return _map(placed, result) if on_shadow else result


@contextmanager
def _meta() -> Iterator[None]:
    """Inside, operations compute shapes only."""
    before = torch._C._meta_in_tls_dispatch_include()
    torch._C._set_meta_in_tls_dispatch_include(True)
    try:
        yield
    finally:
        torch._C._set_meta_in_tls_dispatch_include(before)


def _check(func, args, kwargs, shadows) -> None:
    """Raises where CUDA would: some operands are on the accelerator."""
    operation = func.overloadpacket
    if (
        operation in CPU_ONLY
        or (operation in NOT_FOR_INTEGERS and not any(_has_fractions(t.dtype) for t in shadows))
        or (operation is aten.linalg_lstsq and kwargs.get("driver", "gels") != "gels")
    ):
        raise NotImplementedError(f'"{func}" is not implemented for CUDA or these types')
    if operation in ACROSS or operation is aten._to_copy:
        return
    written = func._schema.is_mutable
    for place, value in enumerate((*args, *kwargs.values())):
        if operation in INDEXING and place == 1:
            continue
        listed = type(value) in (list, tuple)
        for t in value if listed else [value]:
            if not isinstance(t, torch.Tensor) or isinstance(t, Shadow):
                continue
            # Beside the accelerator's tensors, a single number of the CPU may only be read.
            if t.dim() > 0 or listed or (place == 0 and written):
                raise _two_devices(func)


def _has_fractions(dtype: torch.dtype) -> bool:
    return dtype.is_floating_point or dtype.is_complex


class _Below(TorchDispatchMode):
    """Sends every operation to `_dispatch`, also those that make tensors out of nothing."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here, and torch's guard doubles the time of a call

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _dispatch(func, args, kwargs or {})


class _Above(TorchFunctionMode):
    """What torch decides before an operation reaches its dispatcher."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if kwargs.get("generator") is not None:
            _check_generator(func, args, kwargs)
        if func in (torch.Tensor.__getitem__, torch.Tensor.__setitem__):
            args = (args[0], _as_index(args[1]), *args[2:])
            if len(args) == 3 and not isinstance(args[2], torch.Tensor):
                args = (*args[:2], torch.tensor(args[2], dtype=args[0].dtype, device="cpu"))
        if func in (torch.tensor, torch.as_tensor, torch.asarray):
            device = kwargs.pop("device", None)
            if isinstance(args[0], (list, tuple)):
                args = (pytree.tree_map(_as_number, args[0]), *args[1:])
            device = _default_device() if device is None else device
            if device is not None:
                return func(*args, **kwargs, device="cpu").to(device)
        return func(*args, **kwargs)


def _check_generator(func, args, kwargs) -> None:
    device = kwargs.get("device")
    if device is None:
        tensors = [t for t in args if isinstance(t, torch.Tensor)]
        device = tensors[0].device if tensors else (_default_device() or "cpu")
    device, own = torch.device(device), kwargs["generator"].device
    if device.type != own.type:
        raise RuntimeError(
            f"Expected a '{device.type}' device type for generator but found '{own.type}' in {func}"
        )


def _default_device() -> torch.device | None:
    """What `torch.set_default_device` set before; torch itself would make a tensor to find out."""
    contexts = [m for m in _get_current_function_mode_stack() if isinstance(m, DeviceContext)]
    return contexts[-1].device if contexts else None


def _as_number(item):
    """What stands in a list: a tensor of the accelerator is read, as on CUDA."""
    return item.item() if isinstance(item, Shadow) else item


def _as_index(index):
    """Lists and arrays as tensors: torch would make them on the device of the indexed tensor."""
    if isinstance(index, tuple):
        return tuple(_as_index(i) for i in index)
    if isinstance(index, (list, np.ndarray)):
        return torch.as_tensor(index)
    return index


def _autocast(name: str, lower: bool):
    """The kernel of an operation under autocast: casts its operands, and calls it again."""
    packet, _, overload = name.partition(".")
    operation = getattr(getattr(aten, packet), overload or "default")

    def kernel(*args, **kwargs):
        target = torch.get_autocast_dtype(NAME) if lower else torch.float32
        half = (torch.float16, torch.bfloat16)

        def cast(t):
            if not isinstance(t, torch.Tensor) or not t.is_floating_point():
                return t
            if lower:
                return t if t.dtype is torch.float64 else t.to(target)
            return t.to(target) if t.dtype in half else t

        with torch.autocast(NAME, enabled=False):
            args, kwargs = pytree.tree_map(cast, (args, kwargs))
            return operation(*args, **kwargs)

    return kernel


def _register() -> tuple[torch.library.Library, ...]:
    """Tells torch of the device, for the rest of the process.

    Before the first backward pass: that one counts the devices and starts a thread for each.
    """
    _setup_privateuseone_for_python_backend(NAME, _Backend())
    others = torch.library.Library("_", "IMPL")
    others.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
    kernels = torch.library.Library("aten", "IMPL")
    for names, lower in ((LOWER_PRECISION, True), (FULL_PRECISION, False)):
        for name in names:
            kernels.impl(name, _autocast(name, lower), "AutocastPrivateUse1")
    return others, kernels


_LIBRARIES = _register()  # they hold while they are referenced


@contextmanager
def accelerator() -> Iterator[torch.device]:
    """Inside, the device ``shadow`` exists; gives the device, as `lemmse.device` would."""
    known = mock.patch.object(devices, "AUTOCAST", (*devices.AUTOCAST, NAME))
    with known, mock.patch.object(torch, "Generator", _Generator), _Above(), _Below():
        yield torch.device(NAME)
