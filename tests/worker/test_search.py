"""What a search's result warns of."""

import torch

from models.genotypes.genotype import from_dict
from models.genotypes.search_space import DARTS
from models.searches.search import RECIPES, RandomSearch
from worker.search import _warnings


def test_a_cell_of_mostly_skip_connections_is_warned_of() -> None:
    search = RandomSearch(None, DARTS, RECIPES["quick"], 0, torch.device("cpu"))
    skips = [("skip_connect", n) for _ in range(4) for n in (0, 1)]
    others = [("sep_conv_3x3", n) for _ in range(4) for n in (0, 1)]
    (warning,) = _warnings(from_dict({"normal": skips, "reduce": others}, DARTS), search)
    assert warning.startswith("8 of the 8 edges of the normal cell are skip connections")
    half = [*skips[:4], *others[4:]]
    assert _warnings(from_dict({"normal": half, "reduce": others}, DARTS), search) == []
