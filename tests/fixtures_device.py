"""A second device, simulated: tensors that say they lie on "meta" and hold CPU data, and an error where devices mix.

What runs here runs on a GPU as far as devices go: kernels that need the CPU, constants that were made there and tensors that
were left behind all fail, as they would there.
"""

from contextlib import contextmanager, nullcontext
from unittest.mock import patch

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

ELSEWHERE = torch.device("meta")
OTHERS = "simulated", "cuda"


@contextmanager
def other_device(name: str):
    """The "simulated" device or the GPU, "cuda", without which the test is skipped."""
    if name == "simulated":
        with simulated_device() as device:
            yield device
    else:
        if not torch.cuda.is_available():
            pytest.skip("needs a GPU")
        yield torch.device(name)


@contextmanager
def simulated_device():
    """The device to compute on, while the context lasts."""
    # PyTorch knows of no mixed precision on "meta", not even of none
    with _Dispatch(), _Literals(), patch("torch.autocast", lambda *_, **__: nullcontext()):
        yield ELSEWHERE


class _There(torch.Tensor):
    """CPU data that says it lies elsewhere."""

    @staticmethod
    def __new__(cls, data: torch.Tensor):
        return torch.Tensor._make_wrapper_subclass(
            cls, data.shape, strides=data.stride(), storage_offset=data.storage_offset(), dtype=data.dtype, device=ELSEWHERE
        )

    def __init__(self, data: torch.Tensor):
        self.data_here = data

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return _run(function, args, kwargs or {})


class _Dispatch(TorchDispatchMode):
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return _run(function, args, kwargs or {})


class _Literals(TorchFunctionMode):
    """Tensors of numbers are made here and sent there, as on a GPU; PyTorch would make them without data."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if function is torch.Tensor.new_tensor:
            kwargs = {"dtype": args[0].dtype, "device": args[0].device} | kwargs
            function, args = torch.tensor, args[1:]
        if function is torch.tensor and torch.device(kwargs.get("device") or "cpu") == ELSEWHERE:
            return torch.tensor(*args, **kwargs | {"device": "cpu"}).to(ELSEWHERE)
        if function is torch.Tensor.__getitem__ and isinstance(args[0], _There):
            whole, index = args
            there = lambda part: torch.tensor(part).to(ELSEWHERE) if isinstance(part, list) else part  # noqa: E731
            args = whole, tuple(map(there, index)) if isinstance(index, tuple) else there(index)
        if function in (torch.Tensor.__matmul__, torch.Tensor.matmul, torch.matmul) and args[0].ndim == 1 and args[1].ndim == 2:
            args = args[0][None], args[1]  # PyTorch would squeeze in place, which this cannot show
            return function(*args, **kwargs)[0]
        return function(*args, **kwargs)


def _run(function, args, kwargs):
    """The operation on the data here; its results lie where its arguments do, or where it is told to put them."""
    given = [value for value in tree_leaves((args, kwargs)) if isinstance(value, torch.Tensor)]
    there = [value for value in given if isinstance(value, _There)]
    name, target = str(function), kwargs.get("device")
    copying = "_to_copy" in name or "aten.copy_" in name
    if there and not copying and any(value.ndim for value in given if not isinstance(value, _There)):
        raise RuntimeError(f"{name}: tensors on two devices, {[(tuple(value.shape), value.device.type) for value in given]}")
    data = lambda value: value.data_here if isinstance(value, _There) else value  # noqa: E731
    kwargs = tree_map(data, dict(kwargs)) | ({} if target is None else {"device": torch.device("cpu")})
    found = function(*tree_map(data, args), **kwargs)
    if not (bool(there) if target is None else torch.device(target) == ELSEWHERE):
        return found
    own = {id(data(value)): value for value in given}  # operations in place return their argument
    return tree_map(lambda value: own.get(id(value), _There(value)) if isinstance(value, torch.Tensor) else value, found)
