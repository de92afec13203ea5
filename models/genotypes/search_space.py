"""The operations and the cell shape that genotypes are drawn from."""

from dataclasses import dataclass
from functools import cached_property

CELLS = ("normal", "reduce")
"""The two cells of a genotype, in the order in which they are joined into one graph."""


@dataclass(frozen=True)
class SearchSpace:
    """A cell-based search space.

    The nodes of a cell are numbered `0..inputs-1` (the outputs of the two cells before it),
    then the intermediate nodes, then one output node that concatenates all intermediate nodes.
    An intermediate node sums `predecessors` edges, each an operation on an earlier node.

    Args:
        name: what requests call it.
        operations: the candidates of every edge, `none` among them.
        inputs: input nodes of a cell.
        intermediates: intermediate nodes of a cell.
        predecessors: edges kept into each intermediate node of a discrete genotype.
    """

    name: str
    operations: tuple[str, ...]
    inputs: int = 2
    intermediates: int = 4
    predecessors: int = 2

    @cached_property
    def nodes_per_cell(self) -> int:
        """Input, intermediate and output nodes of one cell."""
        return self.inputs + self.intermediates + 1

    @cached_property
    def nodes(self) -> int:
        """Nodes of the graph that joins both cells."""
        return len(CELLS) * self.nodes_per_cell

    @cached_property
    def blocks(self) -> tuple[slice, ...]:
        """The nodes of each cell in the joined graph."""
        size = self.nodes_per_cell
        return tuple(slice(first, first + size) for first in range(0, self.nodes, size))

    @cached_property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """Every legal (predecessor, node) pair of one cell, ordered by node, then predecessor."""
        inputs = self.inputs
        return tuple((i, j) for j in range(inputs, inputs + self.intermediates) for i in range(j))

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
        """The intermediate nodes of a cell: those whose predecessors are chosen."""
        return slice(self.inputs, self.inputs + self.intermediates)

    @cached_property
    def candidates(self) -> slice:
        """The nodes of a cell that can be chosen as predecessors: all that come before some intermediate."""
        return slice(0, self.inputs + self.intermediates - 1)

    @cached_property
    def concat(self) -> tuple[int, ...]:
        """The nodes that the output node concatenates."""
        return tuple(range(self.inputs, self.inputs + self.intermediates))

    @cached_property
    def choices(self) -> tuple[int, ...]:
        """Indices of the operations that a discrete genotype may use: all but `none`."""
        return tuple(i for i, name in enumerate(self.operations) if name != "none")

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
)
"""The space of DARTS (Liu, Simonyan, Yang, 2019, section 2.1 and appendix A.1)."""

SEARCH_SPACES: dict[str, SearchSpace] = {DARTS.name: DARTS}
