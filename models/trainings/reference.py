"""What users would pick instead of a searched network: torchvision's, at a data set's size."""

from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from models.datasets.data import DataError

REFERENCES = (
    "resnet18",
    "resnet34",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "mobilenet_v3_large",
    "shufflenet_v2_x1_0",
    "efficientnet_b0",
)
"""The networks that a reference can be, by torchvision's names."""

SMALL = 64
"""Pixels up to which the first convolution keeps the size of the image, as is usual for CIFAR-10."""


class Reference(nn.Module):
    """A torchvision network with the channels and classes of a data set.

    On small images the first convolution has stride 1, and ResNet's first pooling is left out.

    Args:
        name: one of `REFERENCES`.
        image_channels: channels of the images.
        image_size: their side in pixels.
        classes: outputs.
        pretrained: weights of the same network for another data set, which all its layers start from but
            the last; by default it is untrained.

    Raises:
        DataError: the weights are of another network.
    """

    auxiliary: None = None

    def __init__(
        self,
        name: str,
        image_channels: int,
        image_size: int,
        classes: int,
        pretrained: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__()
        from torchvision.models import get_model

        self.net = get_model(name, weights=None, num_classes=classes)
        if pretrained is not None:
            _start_from(self.net, pretrained, name)
        path, first = next(
            (path, module) for path, module in self.net.named_modules() if isinstance(module, nn.Conv2d)
        )
        stem = nn.Conv2d(
            image_channels,
            first.out_channels,
            first.kernel_size,  # type: ignore[arg-type]
            stride=1 if image_size <= SMALL else first.stride,  # type: ignore[arg-type]
            padding=first.padding,  # type: ignore[arg-type]
            bias=first.bias is not None,
        )
        if pretrained is not None:
            # a grey image is a colour image of three equal channels
            grey = first.weight.sum(1, keepdim=True)
            stem.load_state_dict({"weight": first.weight if image_channels == 3 else grey})
        self.net.set_submodule(path, stem)
        if image_size <= SMALL and isinstance(getattr(self.net, "maxpool", None), nn.Module):
            self.net.maxpool = nn.Identity()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits `[batch, classes]`, and no auxiliary ones."""
        return self.net(images), None


def load_weights(path: Path) -> Mapping[str, Tensor]:
    """The weights in a file of PyTorch's or of safetensors; no code in it is run.

    Raises:
        DataError: it is no such file.
    """
    try:
        if path.suffix == ".safetensors":
            state = safetensors.torch.load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a file of another kind can raise anything
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"the weights {path.name!r} cannot be read: {reason}") from None
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise DataError(f"the weights {path.name!r} are no state dict: names with a tensor each are needed")
    return state


def download_weights(name: str, folder: Path) -> Mapping[str, Tensor]:
    """torchvision's own weights of a network for ImageNet, fetched into a folder unless they are there.

    Raises:
        DataError: they cannot be fetched.
    """
    from torchvision.models import get_model_weights

    try:
        state: Mapping[str, Tensor] = get_model_weights(name).DEFAULT.get_state_dict(
            progress=False, check_hash=True, model_dir=str(folder)
        )
    except (OSError, RuntimeError) as error:
        raise DataError(f"torchvision's weights of {name!r} cannot be fetched: {error}") from None
    return state


def _start_from(net: nn.Module, weights: Mapping[str, Tensor], name: str) -> None:
    """Takes over all weights but those of the last layer.

    Raises:
        DataError: naming a weight that does not fit.
    """
    own = net.state_dict()
    last = [path for path, module in net.named_modules() if isinstance(module, nn.Linear)][-1]
    taken = {path: weights[path] for path in own if path in weights and not path.startswith(f"{last}.")}
    missing = [
        path
        for path in own
        if path not in taken and not path.startswith(f"{last}.") and not path.endswith("num_batches_tracked")
    ]
    other = [path for path, value in taken.items() if value.shape != own[path].shape]
    if missing or other:
        what = f"they have no {missing[0]}" if missing else f"{other[0]} has another shape"
        raise DataError(f"the weights are not those of torchvision's {name}: {what}")
    net.load_state_dict(taken, strict=False)
