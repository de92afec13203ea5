"""Weights of trained latent spaces as files hold them, in today's form and in the one before."""

from collections.abc import Mapping

import torch
from torch import Tensor

from models.latent_spaces.vgae import VGAE

FORMER_NAMES = {
    "encoder.edge.weight": "encoder.gat.lin_edge.weight",
    "encoder.edge_attention": "encoder.gat.att_edge",
    "encoder.gat.weight.weight": "encoder.gat.lin.weight",
    "encoder.gat.source": "encoder.gat.att_src",
    "encoder.gat.target": "encoder.gat.att_dst",
    "encoder.gcn.weight.weight": "encoder.gcn.lin.weight",
    "encoder.position.weight": "encoder.position",
    "encoder.incoming": "encoder.incoming.vectors",
    "decoder.position.weight": "decoder.position",
    "decoder.classify.0.bias": "decoder.classifier.bias",
    "decoder.classify.2.weight": "decoder.classifier.score.weight",
    "decoder.classify.2.bias": "decoder.classifier.score.bias",
}
"""Names of weights before the fused layers became modules of their own, and today's; the others stayed."""


def load_weights(net: VGAE, stored: Mapping[str, Tensor]) -> VGAE:
    """Gives a VGAE the weights of a file, whether it was written before or after the layers were fused.

    Args:
        net: made with the space's recipe.
        stored: tensors by name.

    Returns:
        `net`, in evaluation mode.

    Raises:
        RuntimeError: the weights are those of another recipe or search space.
    """
    net.load_state_dict(_today(stored))
    return net.eval()


def _today(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    if "encoder.mu.bias" not in stored:
        return dict(stored)
    weights = {FORMER_NAMES.get(name, name): value for name, value in stored.items()}
    for name in ("bias", "weight.weight"):
        halves = [weights.pop(f"encoder.{half}.{name}") for half in ("mu", "logstd")]
        weights[f"encoder.posterior.{name.replace('weight.weight', 'lin.weight')}"] = torch.cat(halves)
    if "encoder.operation.weight" in weights:
        weights["encoder.operation"] = weights.pop("encoder.operation.weight").T
    both_ends = weights.pop("decoder.classify.0.weight")  # [hidden, source and target]
    weights["decoder.classifier.ends.weight"] = torch.cat(both_ends.chunk(2, dim=1))
    return weights
