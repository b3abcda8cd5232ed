"""Where a fit computes: on the CPU, or on a GPU that PyTorch's CUDA build can use."""

import copy
from dataclasses import fields, is_dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor, nn

from relit.errors import InputError

CPU = torch.device("cpu")
DEVICES = "auto", "cpu", "cuda"
T = TypeVar("T")


def chosen_device(name: str) -> torch.device:
    """The device called "cpu" or "cuda"; "auto" is the CPU until fits have been compared on GPUs.

    Raises:
        InputError: there is no such device.
    """
    if name not in DEVICES:
        raise InputError(f"there is no device {name!r}; choose one of: {', '.join(DEVICES)}")
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("there is no GPU that this PyTorch can use; give --device cpu, or install PyTorch's CUDA build")
    return torch.device("cuda" if name == "cuda" else "cpu")


def moved(value: T, device: torch.device) -> T:
    """The value with every tensor in it on the device; what is there already is not copied.

    Args:
        value: a tensor, a module, a record (dataclass), a tuple, list or dict of these; anything else is returned as it is.
    """
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, nn.Module):
        there = all(tensor.device.type == device.type for tensor in value.state_dict().values())
        return value if there else copy.deepcopy(value).to(device)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{field.name: moved(getattr(value, field.name), device) for field in fields(value)})
    if isinstance(value, tuple | list):
        return type(value)(moved(item, device) for item in value)
    if isinstance(value, dict):
        return {key: moved(item, device) for key, item in value.items()}
    return value
