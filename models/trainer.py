"""What searches, latent fits and trainings have in common: they go on from a state, a stretch at a time."""

from collections.abc import Callable
from typing import Any, Protocol


class Report(Protocol):
    """The figures of a stretch of training."""

    def as_dict(self) -> dict[str, Any]:
        """The figures as plain values for JSON."""
        ...


class Trainer(Protocol):
    """Something that is trained epoch by epoch."""

    @property
    def epoch(self) -> int:
        """Epochs that are done."""
        ...

    @property
    def epochs(self) -> int:
        """Epochs of the whole training, at most."""
        ...

    @property
    def done(self) -> bool:
        """Whether the training is at its end."""
        ...

    @property
    def progress(self) -> float:
        """The share of the whole that is done, 0 to 1, also within an epoch."""
        ...

    def run(self, between_steps: Callable[[], None]) -> Report:
        """Trains on to the next report. What `between_steps` raises ends it there.

        Raises:
            NonFiniteLoss: the loss is infinite or no longer a number.
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """The state from which `load_state_dict` goes on bit for bit, on as many threads."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes back to the report at which the state was taken."""
        ...
