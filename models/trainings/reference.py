"""What users would pick instead of a searched network: torchvision's, at a data set's size."""

from torch import Tensor, nn

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
    """A torchvision network with the channels and classes of a data set, and untrained.

    On small images the first convolution has stride 1, and ResNet's first pooling is left out.

    Args:
        name: one of `REFERENCES`.
        image_channels: channels of the images.
        image_size: their side in pixels.
        classes: outputs.
    """

    auxiliary: None = None

    def __init__(self, name: str, image_channels: int, image_size: int, classes: int) -> None:
        super().__init__()
        from torchvision.models import get_model

        self.net = get_model(name, weights=None, num_classes=classes)
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
        self.net.set_submodule(path, stem)
        if image_size <= SMALL and isinstance(getattr(self.net, "maxpool", None), nn.Module):
            self.net.maxpool = nn.Identity()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits `[batch, classes]`, and no auxiliary ones."""
        return self.net(images), None
