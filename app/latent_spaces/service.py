"""Training latent spaces, and what is read and generated from them."""

from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from sqlalchemy import Select, select
from sqlalchemy.orm import Session
from torch import Tensor

from app.artifacts import Artifacts
from app.database import new_id, now
from app.genotypes import service as genotypes
from app.genotypes.tables import Genotype
from app.jobs import service as jobs
from app.jobs.tables import Job
from app.latent_spaces.schemas import (
    EncodeIn,
    LatentOut,
    LatentSpaceIn,
)
from app.latent_spaces.tables import LatentMember, LatentSpace
from app.problems import Conflict, InvalidRequest, NotFound
from app.recipes import resolve
from app.settings import Settings
from models import genotype as forms
from models import graph as graphs
from models.latent import decode, encode
from models.search_space import SEARCH_SPACES
from models.vgae import PRESETS, VGAE, LatentRecipe

PREFIX = "lat"


def start(session: Session, request: LatentSpaceIn, settings: Settings) -> Job:
    """A new latent space and the job that trains it.

    Raises:
        InvalidRequest: unknown or repeated genotypes, too many, of different search spaces, or an
            unknown preset.
    """
    recipe = resolve(PRESETS, request.preset, request.overrides, field="preset")
    if len(request.genotype_ids) > settings.max_members:
        raise InvalidRequest.of("genotype_ids", f"must have at most {settings.max_members} members")
    members = genotypes.get_many(session, request.genotype_ids, "genotype_ids")
    for position, member in enumerate(members):
        if member.search_space != members[0].search_space:
            raise InvalidRequest.of(
                f"genotype_ids[{position}]",
                f"is of the search space {member.search_space!r} and the first of "
                f"{members[0].search_space!r}; all must be of one",
            )
    space_id = new_id(PREFIX)
    job = jobs.create(
        session, "fit", {"latent_space_id": space_id}, {"latent_space": f"/v1/latent-spaces/{space_id}"}
    )
    session.add(
        LatentSpace(
            id=space_id,
            job_id=job.id,
            search_space=members[0].search_space,
            preset=request.preset,
            form=request.form,
            settings=asdict(recipe),
            seed=request.seed,
            code_version=version("vgae-nas"),
            member_count=len(members),
            created_at=now(),
        )
    )
    session.flush()
    session.add_all(
        LatentMember(latent_space_id=space_id, position=position, genotype_id=member.id)
        for position, member in enumerate(members)
    )
    session.commit()
    return job


def get(session: Session, space_id: str) -> LatentSpace:
    """A latent space by id.

    Raises:
        NotFound: there is none.
    """
    space = session.get(LatentSpace, space_id)
    if space is None:
        raise NotFound(f"there is no latent space {space_id!r}")
    return space


def listing() -> Select[*tuple[Any, ...]]:
    """All latent spaces."""
    return select(LatentSpace)


def member_ids(session: Session, space_id: str) -> list[str]:
    """The ids of a space's members, in their order."""
    query = select(LatentMember.genotype_id).where(LatentMember.latent_space_id == space_id)
    return list(session.scalars(query.order_by(LatentMember.position)))


def member_graph(session: Session, space: LatentSpace) -> graphs.Graph:
    """The members as one batch of graphs: continuous where the genotype is, else discrete."""
    members = genotypes.get_many(session, member_ids(session, space.id), "genotype_ids")
    return graph_of(members, space)


def finish(
    session: Session,
    space_id: str,
    mu: Tensor,
    logstd: Tensor,
    report: dict[str, Any],
    artifact_key: str,
) -> None:
    """Keeps a trained space's latents and figures, not yet committed.

    Args:
        session: of the transaction that ends the job.
        space_id: the space.
        mu, logstd: `[members, nodes, latent dimension]`.
        report: the last point of the training curve.
        artifact_key: of the weights.
    """
    space = get(session, space_id)
    space.epochs, space.losses = report["epoch"], report["losses"]
    space.members_exact, space.artifact_key = report["members_exact"], artifact_key
    query = (
        select(LatentMember).where(LatentMember.latent_space_id == space_id).order_by(LatentMember.position)
    )
    for member, its_mu, its_logstd in zip(session.scalars(query), mu, logstd, strict=True):
        member.mu, member.logstd = to_bytes(its_mu), to_bytes(its_logstd)


def encode_genotypes(
    session: Session, space_id: str, request: EncodeIn, artifacts: Artifacts
) -> list[LatentOut]:
    """The latents of any genotypes of the space's search space, without training.

    Raises:
        NotFound, Conflict: no such space, or one that is still training.
        InvalidRequest: unknown genotypes, or of another search space.
    """
    space = get(session, space_id)
    net = network(space, artifacts)
    rows = genotypes.get_many(session, request.genotype_ids, "genotype_ids")
    for position, row in enumerate(rows):
        require_same_space(row, space, f"genotype_ids[{position}]")
    mu = encode(net, graph_of(rows, space))
    wanted = forms.to_tensor([genotypes.discrete(row) for row in rows], net.space)
    exact = (decode(net, mu) == wanted).flatten(1).all(1)
    return [
        LatentOut(genotype_id=row.id, mu=z, exact=same)
        for row, z, same in zip(rows, mu.tolist(), exact.tolist(), strict=True)
    ]


def members_of(session: Session, space: LatentSpace) -> tuple[Tensor, set[str]]:
    """The members' latents, and their genotypes' digests."""
    query = (
        select(LatentMember.mu, Genotype.digest)
        .join(Genotype, Genotype.id == LatentMember.genotype_id)
        .where(LatentMember.latent_space_id == space.id)
    )
    rows = session.execute(query.order_by(LatentMember.position)).all()
    return from_bytes([row[0] for row in rows], space), {row[1] for row in rows}


def graph_of(rows: Sequence[Genotype], latent_space: LatentSpace) -> graphs.Graph:
    """Genotypes as graphs, in the form that the space takes."""
    space = SEARCH_SPACES[latent_space.search_space]
    graph = graphs.from_tensor(forms.to_tensor([genotypes.discrete(row) for row in rows], space), space)
    soft = [i for i, row in enumerate(rows) if row.continuous is not None]
    if latent_space.form == "continuous" and soft:
        weights = [forms.continuous_from_dict(rows[i].continuous or {}, space) for i in soft]
        continuous = graphs.from_continuous(weights, space)
        graph.adjacency[soft], graph.operations[soft] = continuous.adjacency, continuous.operations
    return graph


def require_ready(space: LatentSpace) -> None:
    """Raises `Conflict` for a space that is not trained yet."""
    if not space.ready:
        raise Conflict(f"latent space {space.id} is not trained; its job is {space.job_id}")


def require_same_space(row: Genotype, space: LatentSpace, field: str) -> None:
    if row.search_space != space.search_space:
        raise InvalidRequest.of(
            field,
            f"is of the search space {row.search_space!r}; this latent space is of {space.search_space!r}",
        )


def network(space: LatentSpace, artifacts: Artifacts) -> VGAE:
    require_ready(space)
    assert space.artifact_key is not None
    return _load(artifacts, space.artifact_key, space.search_space, LatentRecipe(**space.settings))


@lru_cache(maxsize=16)
def _load(artifacts: Artifacts, key: str, search_space: str, recipe: LatentRecipe) -> VGAE:
    """A trained VGAE, kept in memory: what stands under a key never changes."""
    net = VGAE(SEARCH_SPACES[search_space], recipe)
    net.load_state_dict(artifacts.get_tensors(key))
    return net.eval()


def to_bytes(z: Tensor) -> bytes:
    return z.detach().cpu().float().contiguous().numpy().tobytes()


def from_bytes(stored: Sequence[bytes | None], space: LatentSpace) -> Tensor:
    """`[latents, nodes, latent dimension]`."""
    flat = np.frombuffer(b"".join(z for z in stored if z is not None), dtype=np.float32).copy()
    nodes = SEARCH_SPACES[space.search_space].nodes
    return torch.from_numpy(flat).reshape(len(stored), nodes, -1)
