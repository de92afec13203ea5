"""Errors that more than one kind of training raises."""

import math


class NonFiniteLoss(ArithmeticError):
    """A training or search diverged: its loss is infinite or no longer a number.

    Args:
        epoch: in which it was noticed, from 1.
        cause: what is wrong, and what to try.
    """

    def __init__(self, epoch: int, cause: str) -> None:
        super().__init__(f"epoch {epoch}: {cause}")
        self.epoch, self.cause = epoch, cause


class LatentError(ValueError):
    """A latent space that cannot be trained or drawn; the message says what would be right."""


def require_finite(epoch: int, loss: float) -> None:
    """Stops a training whose loss is infinite or no longer a number.

    Args:
        epoch: from 1.
        loss: of that epoch.

    Raises:
        NonFiniteLoss: the loss is not finite.
    """
    if not math.isfinite(loss):
        raise NonFiniteLoss(epoch, "the training loss is not finite; try a smaller learning_rate")
