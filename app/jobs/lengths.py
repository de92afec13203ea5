"""How long jobs are expected to take, roughly, for the order in which they are run.

The figures are of two CPU cores. Only how jobs compare to each other counts, which on a GPU is much the same.
"""

WORK_PER_SECOND = 1e7
"""Pixels times cells times squared channels that go through a network and back, in a training or a search."""

FIT_STEP_SECONDS = 0.015
"""Of a latent space, with up to some hundred members."""

EXPORT_SECONDS = 20.0
DISTANCES_SECONDS = 60.0


def of_network(epochs: int, images: int, image_size: int, channels: int, cells: int) -> float:
    """Seconds of a training or a search.

    Args:
        epochs: passes over the images.
        images: of one pass.
        image_size: their side, in pixels.
        channels, cells: of the network.
    """
    return epochs * images * image_size**2 * cells * channels**2 / WORK_PER_SECOND


def of_fit(epochs: int) -> float:
    """Seconds of the training of a latent space."""
    return epochs * FIT_STEP_SECONDS
