"""Search spaces: the operations and the cell shape that genotypes are drawn from.

A space is data. Everything else asks a space for its shape, and only `SEARCH_SPACES` and the network that a
space names know it by name.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal


@dataclass(frozen=True)
class SearchSpace:
    """A cell-based search space.

    The nodes of a cell are numbered: first its inputs (the outputs of the cells before it), then the
    intermediate nodes, last the output. Every edge carries an operation on an earlier node, and a node sums
    its edges.

    Args:
        name: the name that requests give.
        operations: the candidates of every edge, `none` among them.
        cells: the cells of a genotype by name, in the order in which they are joined into one graph.
        inputs: input nodes of a cell.
        intermediates: nodes between the inputs and the output.
        predecessors: edges kept into each node of a discrete genotype; `all` for every legal one.
        none: whether a discrete genotype may choose `none`, an edge that is not there.
        join: how what enters the output becomes one: intermediate nodes concatenated, or edges summed.
        output: `apart` for a node that joins all intermediate nodes, `last` for one that chooses its edges as
            they do.
        network: the network that is built from it, by its name in `size.NETWORKS`.
        channels, depth: of its first cells and in cells, in the network of which sizes are told.
        text: how a genotype is written in a line: `darts` or `nats-bench`.
        gamma: the step of equation 8 that requests take which name none: one that changes about a sixth of
            the edges, so that there are a hundred neighbours to draw.
        codes: the operations by digit, where six digits are a genotype too.

    Raises:
        ValueError: the parts do not go together.
    """

    name: str
    operations: tuple[str, ...]
    cells: tuple[str, ...]
    inputs: int
    intermediates: int
    predecessors: int | Literal["all"]
    none: bool
    join: Literal["concatenate", "sum"]
    output: Literal["apart", "last"]
    network: str
    channels: int
    depth: int
    text: Literal["darts", "nats-bench"]
    gamma: float
    codes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if (self.output == "last") != (self.join == "sum"):
            raise ValueError("an output that is the last node sums its edges; one apart concatenates nodes")
        if self.none and self.predecessors != "all":
            raise ValueError("none is for spaces that keep all edges; the others leave an edge out")
        if self.predecessors != "all" and self.predecessors > self.inputs:
            raise ValueError("the first intermediate node has only the inputs before it")

    @cached_property
    def nodes_per_cell(self) -> int:
        """Input, intermediate and output nodes of one cell."""
        return self.inputs + self.intermediates + 1

    @cached_property
    def nodes(self) -> int:
        """Nodes of the graph that joins all cells."""
        return len(self.cells) * self.nodes_per_cell

    @cached_property
    def blocks(self) -> tuple[slice, ...]:
        """The nodes of each cell in the joined graph."""
        size = self.nodes_per_cell
        return tuple(slice(first, first + size) for first in range(0, self.nodes, size))

    @cached_property
    def sources(self) -> slice:
        """The nodes of a cell that an edge can leave: all but the output."""
        return slice(0, self.inputs + self.intermediates)

    @cached_property
    def targets(self) -> slice:
        """The nodes of a cell that an edge can enter: all but the inputs."""
        return slice(self.inputs, self.nodes_per_cell)

    @cached_property
    def choosers(self) -> slice:
        """The nodes of a cell whose edges are chosen: intermediate ones, and an output that is the last."""
        return slice(self.inputs, self.inputs + self.intermediates + (self.output == "last"))

    @cached_property
    def choosing(self) -> range:
        """The numbers of the choosers."""
        return range(self.choosers.start, self.choosers.stop)

    @cached_property
    def candidates(self) -> slice:
        """The nodes of a cell that can be chosen as predecessors: all that come before some chooser."""
        return slice(0, self.choosers.stop - 1)

    @cached_property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """Every legal (predecessor, node) pair of one cell, ordered by node, then predecessor."""
        return tuple((i, j) for j in self.choosing for i in range(j))

    @cached_property
    def kept(self) -> tuple[int, ...]:
        """The node that each edge of a discrete genotype's cell enters, in their order."""
        return tuple(j for j in self.choosing for _ in range(self.kept_into(j)))

    @cached_property
    def slots(self) -> tuple[slice, ...]:
        """The places of the edges into each chooser, among those of a cell."""
        return tuple(slice(self.kept.index(j), self.kept.index(j) + self.kept_into(j)) for j in self.choosing)

    @cached_property
    def concat(self) -> tuple[int, ...]:
        """The nodes that an output apart concatenates; none for one that is the last."""
        return tuple(range(self.inputs, self.inputs + self.intermediates)) if self.output == "apart" else ()

    @cached_property
    def choices(self) -> tuple[int, ...]:
        """Indices of the operations that a discrete genotype may use."""
        return tuple(i for i, name in enumerate(self.operations) if self.none or name != "none")

    def kept_into(self, node: int) -> int:
        """The number of edges that a discrete genotype has into a chooser."""
        return node if self.predecessors == "all" else self.predecessors

    def operation(self, name: str) -> int:
        """The index of an operation by name.

        Raises:
            ValueError: the space has no such operation.
        """
        return self.operations.index(name)


DARTS = SearchSpace(
    name="darts",
    operations=(
        "none",
        "max_pool_3x3",
        "avg_pool_3x3",
        "skip_connect",
        "sep_conv_3x3",
        "sep_conv_5x5",
        "dil_conv_3x3",
        "dil_conv_5x5",
    ),
    cells=("normal", "reduce"),
    inputs=2,
    intermediates=4,
    predecessors=2,
    none=False,
    join="concatenate",
    output="apart",
    network="darts",
    channels=36,
    depth=20,
    text="darts",
    gamma=0.1,
)
"""The space of DARTS (Liu, Simonyan, Yang, 2019, section 2.1 and appendix A.1)."""

NAS_BENCH_201 = SearchSpace(
    name="nas-bench-201",
    operations=("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"),
    cells=("cell",),
    inputs=1,
    intermediates=2,
    predecessors="all",
    none=True,
    join="sum",
    output="last",
    network="residual",
    channels=16,
    depth=15,
    text="nats-bench",
    gamma=0.2,
    codes=("skip_connect", "none", "nor_conv_3x3", "nor_conv_1x1", "avg_pool_3x3"),
)
"""The space of NAS-Bench-201 (Dong, Yang, 2020, section 2.1), which is NATS-Bench's topology space.

Its digits are those of NASLib.
"""

TRANSNAS_BENCH_101_MICRO = SearchSpace(
    name="transnas-bench-101-micro",
    operations=("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3"),
    cells=("cell",),
    inputs=1,
    intermediates=2,
    predecessors="all",
    none=True,
    join="sum",
    output="last",
    network="residual",
    channels=16,
    depth=15,
    text="nats-bench",
    gamma=0.25,
    codes=("skip_connect", "none", "nor_conv_3x3", "nor_conv_1x1"),
)
"""The cell-level space of TransNAS-Bench-101 (Duan et al., 2021, section 3.1): NAS-Bench-201's without
pooling.

The network is that of NAS-Bench-201; the benchmark's own depends on the task.
"""

SEARCH_SPACES: dict[str, SearchSpace] = {
    space.name: space for space in (DARTS, NAS_BENCH_201, TRANSNAS_BENCH_101_MICRO)
}

DEFAULT_SPACE = DARTS.name
"""The search space of requests that name none."""
