"""Several processes take the very steps of one with the whole batch."""

import os
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed
import torch.nn.functional as F
from torch import Tensor

from models.datasets.sources import load_digits
from models.genotypes.network import Network
from models.genotypes.published import PUBLISHED
from models.trainings.retrain import RECIPES, Training, of_genotype
from models.trainings.world import ALONE, World

STEPS = 3


def steps(world: World) -> dict[str, Tensor]:
    """A few steps of SGD in float64; parameters and statistics after them."""
    torch.manual_seed(0)
    net = Network(PUBLISHED[0].genotype, 3, 10, channels=4, cells=3).double()
    images, labels = torch.randn(STEPS, 12, 3, 8, 8).double(), torch.randint(10, (STEPS, 12))
    trained = world.wrap(net)
    optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
    for batch in zip(images, labels, strict=True):
        part, expected = world.part(*batch)
        optimizer.zero_grad()
        F.cross_entropy(trained(part)[0], expected).backward()
        optimizer.step()
    return net.state_dict()


def epoch_with_a_last_batch_of_two(world: World) -> dict[str, Any]:
    """What an epoch of batches of 8, 8 and 2 images measured, on 9 test images."""
    recipe = replace(
        RECIPES["quick"], channels=4, cells=2, batch_size=8, train_images=18, validation_share=0.0
    )
    digits = load_digits()
    digits = replace(digits, test=digits.test.subset(torch.arange(9)))
    build = of_genotype(PUBLISHED[0].genotype, recipe)
    return Training(build, digits, recipe, 0, torch.device("cpu"), world).run(lambda: None).as_dict()


def process(rank: int, size: int, port: int, work: Callable[[World], Any], path: Path) -> None:
    """One of the processes; the last of them leaves its result as a file."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=size)
    result = work(World(rank, size))
    if rank == size - 1:
        torch.save(result, path)
    torch.distributed.destroy_process_group()
    # gloo's threads can abort the interpreter's own way out (pytorch/pytorch#179291, PyTorch 2.14.1)
    os._exit(0)


def in_processes(size: int, work: Callable[[World], Any], folder: Path) -> Any:
    """The result of the last of several processes that do the same."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    path = folder / "result.pt"
    torch.multiprocessing.spawn(process, (size, port, work, path), nprocs=size)
    return torch.load(path)


def test_processes_take_the_steps_of_one_with_the_whole_batch(tmp_path: Path) -> None:
    found, expected = in_processes(2, steps, tmp_path), steps(ALONE)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-8, atol=1e-10, msg=name)


def test_a_last_batch_of_fewer_images_than_processes_is_left_out(tmp_path: Path) -> None:
    found = in_processes(3, epoch_with_a_last_batch_of_two, tmp_path)
    assert 0 < found["loss"] < 10
    assert 0 <= found["test_accuracy"] <= found["test_top5"] <= 100
