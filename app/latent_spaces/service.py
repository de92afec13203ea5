"""Training latent spaces, and what is read and generated from them."""

import io
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from typing import Any

import torch
from sqlalchemy import Select, bindparam, select
from sqlalchemy.orm import Session
from torch import Tensor

from app import database, naming
from app.artifacts import Artifacts
from app.database import new_id, now
from app.genotypes import ranking
from app.genotypes import service as genotypes
from app.jobs import lengths, parents
from app.jobs import service as jobs
from app.jobs.tables import Job, JobKind
from app.latent_spaces import opened
from app.latent_spaces.schemas import EncodeIn, LatentOut, LatentSpaceIn, LatentSpaceOut
from app.latent_spaces.tables import LatentMember, LatentSpace
from app.overrides import resolve
from app.problems import Conflict, InvalidRequest, NotFound
from app.settings import Settings
from models.genotypes import genotype as forms
from models.genotypes import graph as graphs
from models.genotypes.agreement import FEWEST
from models.latent_spaces.vgae import PRESETS, decode

PREFIX = "lat"

MOST_ENCODED = 1_000
"""Genotypes that one request may encode."""


def start(session: Session, request: LatentSpaceIn, settings: Settings) -> Job:
    """A new latent space and the job that trains it.

    Raises:
        InvalidRequest: unknown or repeated genotypes, too many, of different search spaces, or an
            unknown preset.
    """
    recipe = resolve(PRESETS, request.preset, request.overrides, field="preset")
    if request.members is None and len(request.genotype_ids) < 2:
        raise InvalidRequest.of("genotype_ids", "must be at least two")
    members = genotypes.chosen(session, request, settings.max_members)
    if len(members) < 2:
        raise InvalidRequest.of("members", "must be at least two; one is of this description")
    for position, member in enumerate(members):
        if member.search_space != members[0].search_space:
            raise InvalidRequest.of(
                f"genotype_ids[{position}]",
                f"is of the search space {member.search_space!r} and the first of "
                f"{members[0].search_space!r}; all must be of one",
            )
    space_id = new_id(PREFIX)
    params: dict[str, Any] = {"latent_space_id": space_id}
    if recipe.accuracy_weight > 0:
        params["accuracies"] = _accuracies(session, [member.id for member in members])
    links = {"latent_space": f"/v1/latent-spaces/{space_id}"}
    job = jobs.create(session, JobKind.FIT, params, links, seconds=lengths.of_fit(recipe.max_epochs))
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
            **naming.labelled(session, LatentSpace, request),
        )
    )
    session.flush()
    session.add_all(
        LatentMember(latent_space_id=space_id, position=position, genotype_id=member.id)
        for position, member in enumerate(members)
    )
    session.commit()
    return job


def _accuracies(session: Session, ids: list[str]) -> dict[str, dict[str, float]]:
    """What the space is to learn, by the data set's and the member's id; what comes later changes nothing.

    Raises:
        InvalidRequest: on no data set enough members were evaluated.
    """
    found = ranking.accuracies(session, ids)
    enough = {dataset_id: known for dataset_id, known in found.items() if len(known) >= FEWEST}
    if not enough:
        most = max(map(len, found.values()), default=0)
        raise InvalidRequest.of(
            "overrides.accuracy_weight",
            f"needs {FEWEST} members that were evaluated on one data set; there are {most}",
        )
    return enough


def get(session: Session, space_id: str) -> LatentSpace:
    """A latent space by id.

    Raises:
        NotFound: there is none.
    """
    space = session.get(LatentSpace, space_id)
    if space is None:
        raise NotFound(f"there is no latent space {space_id!r}")
    return space


def listing(tag: str | None = None) -> Select[*tuple[Any, ...]]:
    """The query for latent spaces."""
    return naming.tagged(select(LatentSpace), LatentSpace.labels, tag)


def newest(session: Session, search_space: str) -> tuple[LatentSpace, str]:
    """The latent space of a request that names none, and a sentence that says which it is.

    It is the newest trained space of the search space, or while there is none the ready space.

    Raises:
        InvalidRequest: there is no such search space.
    """
    genotypes.space_of(search_space)
    space = session.scalars(_newest(), {"search_space": search_space}).first()
    if space is None:
        raise InvalidRequest.of(
            "latent_space_id", f"is missing; no latent space of {search_space!r} is trained"
        )
    kind = "the ready space that ships" if space.shipped else "the newest trained one"
    return space, f"latent space {space.id} was taken: {kind}, since the request names none"


@cache
def _newest() -> Select[*tuple[Any, ...]]:
    """The newest trained space of the parameter `search_space`; made once, asked often."""
    trained = select(LatentSpace).where(
        LatentSpace.search_space == bindparam("search_space"), LatentSpace.artifact_key.is_not(None)
    )
    # the ids of trained spaces sort by time, and after those of ready spaces
    return trained.order_by(LatentSpace.id.desc()).limit(1)


def delete(session: Session, space_id: str, artifacts: Artifacts) -> None:
    """Removes a trained space with its job; its members stay.

    Raises:
        NotFound: there is none.
        Conflict: it ships with the service, is still trained, or something was made from it.
    """
    space = get(session, space_id)
    if space.job_id is None:
        raise Conflict(f"{space_id} ships with the service")
    job_id, key = space.job_id, space.artifact_key
    database.delete(session, space)
    parents.remove(session, job_id)
    session.commit()
    if key is not None:
        artifacts.delete(key)


def shown(session: Session, row: LatentSpace) -> LatentSpaceOut:
    """A latent space as clients see it."""
    fields = {name: getattr(row, name) for name in LatentSpaceOut.model_fields}
    return LatentSpaceOut.model_validate({**fields, "member_count": opened.member_count(session, row)})


def member_graph(session: Session, space: LatentSpace) -> graphs.Graph:
    """The members as one batch of graphs: continuous where the genotype is, else discrete."""
    members = genotypes.get_many(session, opened.member_ids(session, space), "genotype_ids")
    return opened.graph_of(members, space)


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
        member.mu, member.logstd = opened.to_bytes(its_mu), opened.to_bytes(its_logstd)


def graph_file(session: Session, space_id: str, artifacts: Artifacts) -> bytes:
    """The members as graphs with their latents, as `torch.save` writes plain dictionaries of tensors.

    Raises:
        NotFound, Conflict: no such space, or one that is still training or has no members.
    """
    space = opened.open_space(session, space_id, artifacts)
    rows = genotypes.get_many(session, opened.member_ids(session, space.row), "genotype_ids")
    if not rows:
        raise Conflict(f"latent space {space.row.id} has no members yet")
    batch, latents = opened.graph_of(rows, space.row), space.encode(rows, "genotype_ids")
    graphs_of: list[dict[str, Any]] = []
    for position, (row, mu) in enumerate(zip(rows, latents, strict=True)):
        data = batch.to_pyg(position)
        tensors = {"x": data.x, "edge_index": data.edge_index, "edge_attr": data.edge_attr, "mu": mu.clone()}
        graphs_of.append({**tensors, "genotype_id": row.id, "digest": row.digest})
    told = ranking.accuracies_by_dataset(session, [row.id for row in rows])
    buffer = io.BytesIO()
    described = {"search_space": space.space.name, "operations": list(space.space.operations)}
    torch.save({**described, "kinds": list(graphs.KINDS), "accuracies": told, "graphs": graphs_of}, buffer)
    return buffer.getvalue()


def encode_genotypes(
    session: Session, space_id: str, request: EncodeIn, artifacts: Artifacts
) -> list[LatentOut]:
    """The latents of any genotypes of the space's search space, without training.

    Raises:
        NotFound, Conflict: no such space, or one that is still training.
        InvalidRequest: unknown genotypes, or of another search space.
    """
    space = opened.open_space(session, space_id, artifacts)
    rows = genotypes.chosen(session, request, MOST_ENCODED)
    mu = space.encode(rows, "genotype_ids")
    wanted = forms.to_tensor([genotypes.discrete(row) for row in rows], space.space)
    exact = (decode(space.net, mu) == wanted).flatten(1).all(1)
    return [
        LatentOut(genotype_id=row.id, mu=z, exact=same)
        for row, z, same in zip(rows, mu.tolist(), exact.tolist(), strict=True)
    ]
