"""The published genotypes are distinct, legal and cited."""

from models.genotypes.published import PUBLISHED
from models.genotypes.search_space import DARTS
from models.genotypes.text import from_text


def test_there_are_at_least_ten_distinct_ones_with_their_paper_and_accuracy() -> None:
    assert len(PUBLISHED) >= 10
    assert len({p.genotype.digest() for p in PUBLISHED}) == len({p.name for p in PUBLISHED}) == len(PUBLISHED)
    for published in PUBLISHED:
        assert len(published.paper) > 20
        assert all(70 < reported.test_accuracy < 98 for reported in published.reported)


def test_pc_darts_is_as_its_authors_write_it() -> None:
    text = (
        "PC_DARTS_cifar = Genotype(normal=[('sep_conv_3x3', 1), ('skip_connect', 0), ('sep_conv_3x3', 0), "
        "('dil_conv_3x3', 1), ('sep_conv_5x5', 0), ('sep_conv_3x3', 1), ('avg_pool_3x3', 0), "
        "('dil_conv_3x3', 1)], normal_concat=range(2, 6), reduce=[('sep_conv_5x5', 1), ('max_pool_3x3', 0), "
        "('sep_conv_5x5', 1), ('sep_conv_5x5', 2), ('sep_conv_3x3', 0), ('sep_conv_3x3', 3), "
        "('sep_conv_3x3', 1), ('sep_conv_3x3', 2)], reduce_concat=range(2, 6))"
    )
    published = next(p for p in PUBLISHED if p.name == "PC-DARTS-CIFAR")
    assert from_text(text, DARTS) == published.genotype


def test_cifar10_and_imagenet_have_points() -> None:
    datasets = {reported.dataset for published in PUBLISHED for reported in published.reported}
    assert datasets == {"cifar10", "imagenet"}
