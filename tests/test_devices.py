"""Records move to a device and back as a whole, and what a device has no use for stays."""

from dataclasses import dataclass

import pytest
import torch

from fixtures_device import ELSEWHERE, simulated_device
from relit.devices import CPU, chosen_device, moved
from relit.errors import InputError


@dataclass(frozen=True)
class Record:
    name: str
    values: torch.Tensor
    parts: tuple[torch.Tensor, ...]
    network: torch.nn.Module


def test_a_record_moves_as_a_whole_and_comes_back_as_it_was():
    record = Record("one", torch.rand(3), (torch.arange(2), torch.rand(2, 2)), torch.nn.Linear(2, 2))
    with simulated_device() as device:
        there = moved({"record": [record, 7]}, device)["record"][0]
        placed = there.values, *there.parts, *there.network.parameters()
        assert all(tensor.device == ELSEWHERE for tensor in placed) and there.name == "one"
        back = moved(there, CPU)
    assert torch.equal(back.values, record.values) and torch.equal(back.parts[0], record.parts[0])
    assert torch.equal(back.network.weight, record.network.weight)
    assert record.network.weight.device == CPU  # the original stays


def test_what_is_there_already_is_not_copied():
    record = Record("one", torch.rand(3), (torch.rand(1),), torch.nn.Linear(2, 2))
    again = moved(record, CPU)
    assert again.values is record.values and again.parts[0] is record.parts[0] and again.network is record.network


def test_devices_mix_on_the_simulated_one_as_little_as_on_a_gpu():
    with simulated_device() as device:
        there = torch.rand(3).to(device)
        assert float((there * 2 - there).sum().cpu()) == pytest.approx(float(there.sum()))
        with pytest.raises(RuntimeError, match="two devices"):
            there + torch.ones(3)
        with pytest.raises(RuntimeError):
            there.numpy()


def test_a_device_that_is_not_there_is_refused():
    assert chosen_device("auto") == chosen_device("cpu") == CPU
    with pytest.raises(InputError, match="choose one of: auto, cpu, cuda"):
        chosen_device("metal")
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="there is no GPU"):
            chosen_device("cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_record_moves_to_a_gpu():
    assert moved((torch.ones(2),), chosen_device("cuda"))[0].device.type == "cuda"
