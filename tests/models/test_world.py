"""Several processes take the very steps of one with the whole batch."""

import socket
from pathlib import Path

import torch
import torch.distributed
import torch.nn.functional as F
from torch import Tensor

from models.network import Network
from models.published import PUBLISHED
from models.search_space import DARTS
from models.world import ALONE, World

PROCESSES, STEPS = 2, 3


def train(world: World) -> dict[str, Tensor]:
    """A few steps of SGD in float64; parameters and statistics after them."""
    torch.manual_seed(0)
    net = Network(PUBLISHED[0].genotype, DARTS, 3, 10, channels=4, cells=3).double()
    images, labels = torch.randn(STEPS, 12, 3, 8, 8).double(), torch.randint(10, (STEPS, 12))
    trained = world.wrap(net)
    optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
    for batch in zip(images, labels, strict=True):
        part, expected = world.part(*batch)
        optimizer.zero_grad()
        F.cross_entropy(trained(part)[0], expected).backward()
        optimizer.step()
    return net.state_dict()


def process(rank: int, port: int, folder: str) -> None:
    """One of the processes; the last of them leaves its weights in the folder."""
    torch.set_num_threads(1)
    address = f"tcp://127.0.0.1:{port}"
    torch.distributed.init_process_group("gloo", address, rank=rank, world_size=PROCESSES)
    state = train(World(rank, PROCESSES))
    if rank == PROCESSES - 1:
        torch.save(state, Path(folder) / "state.pt")
    torch.distributed.destroy_process_group()


def test_processes_take_the_steps_of_one_with_the_whole_batch(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(process, (port, str(tmp_path)), nprocs=PROCESSES)
    found, expected = torch.load(tmp_path / "state.pt"), train(ALONE)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-8, atol=1e-10, msg=name)
