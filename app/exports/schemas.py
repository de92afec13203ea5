"""What clients ask of an export."""

from pydantic import Field, model_validator

from app.genotypes.schemas import NetworkIn


class ExportIn(NetworkIn):
    """The network to export: by its shape, or as a training left it."""

    training_id: str | None = Field(
        None, description="Takes shape and weights of this training; without it weights are fresh, of seed 0."
    )

    of_source: bool = Field(
        False, description="Takes the shape in the genotype's `source.network`, as a budget chose it."
    )

    @model_validator(mode="after")
    def _one_shape(self) -> "ExportIn":
        alone = self.training_id is not None or self.of_source
        if alone and len(self.model_fields_set) > 1:
            raise ValueError("give one of the shape of the network, training_id and of_source")
        return self
