"""What people paste is taken where it has one meaning, and refused by the name of its format elsewhere."""

import json
from contextlib import suppress

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.genotypes.genotype import Genotype, GenotypeError, from_tensor, random_tensor
from models.genotypes.published import PUBLISHED
from models.genotypes.search_space import DARTS
from models.genotypes.text import from_text, to_text

DARTS_V2 = next(p.genotype for p in PUBLISHED if p.name == "DARTS-V2")
TEXT = to_text(DARTS_V2)


def by_node(genotype: Genotype) -> str:
    """As pt.darts prints it: a list of edges for each node."""
    parts = []
    for name, edges in zip(("normal", "reduce"), genotype.cells, strict=True):
        nodes = [list(map(tuple, edges[i : i + 2])) for i in range(0, 8, 2)]
        parts.append(f"{name}={nodes}, {name}_concat=range(2, 6)")
    return f"Genotype({', '.join(parts)})"


def positional(genotype: Genotype) -> str:
    normal, reduce = (list(map(tuple, edges)) for edges in genotype.cells)
    return f"Genotype({normal}, range(2, 6), {reduce}, [2, 3, 4, 5])"


def printed(genotype: Genotype) -> str:
    fields = {key: list(map(tuple, v)) if "concat" not in key else v for key, v in genotype.as_dict().items()}
    return str(fields)


def of_numpy(genotype: Genotype) -> str:
    normal, reduce = ([f"('{op}', np.int64({node}))" for op, node in edges] for edges in genotype.cells)
    return (
        f"Genotype(normal=[{', '.join(normal)}], normal_concat=list(range(2, 6)), "
        f"reduce=[{', '.join(reduce)}], reduce_concat=list(range(np.int64(2), 6)))"
    )


FORMS = {
    "as it is": to_text,
    "in a log": lambda g: f"2019-05-01 10:00:00,123 genotype = {to_text(g)}",
    "with words behind it": lambda g: f"05/01 10:00:00 PM genotype = {to_text(g)} at epoch (49)",
    "twice the same": lambda g: f"best {to_text(g)}\nlast {to_text(g)}",
    "of a module": lambda g: f"DARTS_V2 = genotypes.{to_text(g)}",
    "in quotes": lambda g: f'"{to_text(g)}"',
    "with a comma": lambda g: f" {to_text(g)} ,\n",
    "by node": by_node,
    "positional": positional,
    "printed": printed,
    "JSON": lambda g: json.dumps(g.as_dict()),
    "JSON over lines": lambda g: json.dumps(
        {k: v for k, v in g.as_dict().items() if "concat" not in k}, indent=2
    ),
    "of numpy": of_numpy,
}


@pytest.mark.parametrize("form", FORMS)
@given(seed=st.integers(0, 2**31))
def test_every_form_is_the_genotype_that_it_shows(form: str, seed: int) -> None:
    (genotype,) = from_tensor(random_tensor(1, DARTS, torch.Generator().manual_seed(seed)), DARTS)
    assert from_text(FORMS[form](genotype), DARTS) == genotype


@pytest.mark.parametrize(
    ("text", "field", "match"),
    [
        (TEXT + " and " + TEXT.replace("'sep_conv_3x3', 0", "'skip_connect', 0", 1), "text", "2 different"),
        (TEXT[:-3], "text", "never closed"),
        ("Genotype(normal=open('/etc/passwd'))", "normal", "written out"),
        ("Genotype(normal=[x for x in y])", "normal", "written out"),
        ("Genotype(**fields)", "**", "written out"),
        ("Genotype(normal=range(10**9))", "normal", "written out"),
        ("Genotype(normal=range(0, 1000))", "normal", "range"),
        ("Genotype([], [], [], [], [])", "text", "5 values"),
        ("Genotype([], normal=[])", "normal", "twice"),
        ("{'normal': [], 'normal': []}", "normal", "twice"),
        ("{1: []}", "text", "names of fields"),
        ("a network", "text", "not of the form"),
        (TEXT.replace("('sep_conv_3x3', 0)", "('sep_conv_3x3', 0, 0.13)"), "normal", "GDAS"),
        (json.dumps({"normal/op_2_0": "sep_conv_3x3", "normal/input_2_0": [0]}), "text", "NNI"),
        (json.dumps({"normal_n2_p0": "sepconv3x3", "normal_n2_switch": ["normal_n2_p0"]}), "text", "NNI"),
        ("{'NetworkSelectorDatasetInfo:darts:edge_normal_0': 'skip_connect'}", "text", "NAS-Bench-301"),
        (TEXT.replace("('sep_conv_3x3', 0)", "('sep_conv_3x3', '0')", 1), "normal[0]", "must be an integer"),
        (TEXT.replace("('sep_conv_3x3', 0)", "('sep_conv_3x3', 0.0)", 1), "normal[0]", "must be an integer"),
        (TEXT.replace("('sep_conv_3x3', 0)", "('sep_conv_3x3', 9)", 1), "normal[0]", "out of range"),
    ],
)
def test_what_has_no_single_meaning_is_refused(text: str, field: str, match: str) -> None:
    with pytest.raises(GenotypeError, match=match) as refused:
        from_text(text, DARTS)
    assert refused.value.field == field


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused(text: str) -> None:
    for pasted in (text, f"Genotype({text})", f"{{{text}}}"):
        with suppress(GenotypeError):
            assert from_text(pasted, DARTS).space is DARTS
