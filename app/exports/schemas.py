"""What clients ask of an export."""

from pydantic import Field, model_validator

from app.genotypes.schemas import NetworkIn


class ExportIn(NetworkIn):
    """The network to export: by its shape, or as a training left it."""

    training_id: str | None = Field(
        None, description="Takes shape and weights of this training; without it weights are fresh, of seed 0."
    )

    @model_validator(mode="after")
    def _shape_or_training(self) -> "ExportIn":
        if self.training_id is not None and len(self.model_fields_set) > 1:
            raise ValueError("give the shape of the network or a training_id, not both")
        return self
