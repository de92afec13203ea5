"""Training latent spaces, and what is read and generated from them."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from sqlalchemy import Select, case, select
from sqlalchemy.orm import Session
from torch import Tensor

from app.artifacts import Artifacts
from app.database import Database, new_id, now
from app.datasets import service as datasets
from app.genotypes import service as genotypes
from app.genotypes.schemas import GenotypeOut
from app.genotypes.tables import Genotype
from app.jobs import service as jobs
from app.jobs.tables import Job
from app.latent_spaces.schemas import (
    EncodeIn,
    GenerateIn,
    GenerateOut,
    LatentOut,
    LatentSpaceIn,
    NearIn,
    StartOut,
)
from app.latent_spaces.tables import LatentMember, LatentSpace
from app.problems import Conflict, InvalidRequest, NotFound
from app.recipes import resolve
from app.settings import Settings
from app.trainings.tables import Evaluation
from models import generate as generation
from models import genotype as forms
from models import graph as graphs
from models.latent import decode, encode
from models.limits import STANDARD_NETWORK
from models.network import count_parameters
from models.search_space import SEARCH_SPACES
from models.vgae import PRESETS, VGAE, LatentRecipe

PREFIX = "lat"

DEFAULT_GAMMA = 0.1


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
    return _graph(members, space)


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
        member.mu, member.logstd = _to_bytes(its_mu), _to_bytes(its_logstd)


def encode_genotypes(
    session: Session, space_id: str, request: EncodeIn, artifacts: Artifacts
) -> list[LatentOut]:
    """The latents of any genotypes of the space's search space, without training.

    Raises:
        NotFound, Conflict: no such space, or one that is still training.
        InvalidRequest: unknown genotypes, or of another search space.
    """
    space = get(session, space_id)
    net = _network(space, artifacts)
    rows = genotypes.get_many(session, request.genotype_ids, "genotype_ids")
    for position, row in enumerate(rows):
        _require_same_space(row, space, f"genotype_ids[{position}]")
    mu = encode(net, _graph(rows, space))
    wanted = forms.to_tensor([genotypes.discrete(row) for row in rows], net.space)
    exact = (decode(net, mu) == wanted).flatten(1).all(1)
    return [
        LatentOut(genotype_id=row.id, mu=z, exact=same)
        for row, z, same in zip(rows, mu.tolist(), exact.tolist(), strict=True)
    ]


def generate(
    database: Database, space_id: str, request: GenerateIn, settings: Settings, artifacts: Artifacts
) -> GenerateOut:
    """New genotypes near a point or at random, stored with where they came from.

    Raises:
        NotFound, Conflict: no such space, or one that is still training.
        InvalidRequest: a count over the limit, or a start that is not there.
    """
    began = time.perf_counter()
    if request.count > settings.max_generate:
        raise InvalidRequest.of("count", f"must be at most {settings.max_generate} (got {request.count})")
    with database.session(reads_only=True) as session:
        space = get(session, space_id)
        net = _network(space, artifacts)
        members, known = members_of(session, space)
        if request.near is not None:
            start, point = _point(session, space, request.near, net)
            gamma = DEFAULT_GAMMA if request.gamma is None else request.gamma
            sample = generation.near(point, members, gamma, request.count, request.seed)
        else:
            start, gamma = StartOut(kind="random"), None
            sample = generation.uniform(members, request.count, request.seed)
    decoded = decode(net, sample.latents)
    rows = _rows(space, decoded, sample, start, gamma, request.seed)
    duplicates = _count_duplicates([row.digest for row in rows], known)
    with database.session() as session:
        session.add_all(rows)
        session.commit()
    return GenerateOut(
        latent_space_id=space_id,
        start=start,
        gamma=gamma,
        seed=request.seed,
        sampled=request.count,
        duplicates=duplicates,
        seconds=time.perf_counter() - began,
        items=[GenotypeOut.model_validate(row) for row in rows],
    )


def best_point(session: Session, search_space: str, dataset_id: str) -> tuple[Genotype, Evaluation] | None:
    """The genotype with the highest evaluation on a data set, if it has any.

    A retrained or reported accuracy comes before a supernet's, which counts only while there is no other.
    """
    order = case((Evaluation.kind == "search", 1), else_=0)
    query = (
        select(Genotype, Evaluation)
        .join(Evaluation, Evaluation.genotype_id == Genotype.id)
        .where(Evaluation.dataset_id == dataset_id, Genotype.search_space == search_space)
        .order_by(order, Evaluation.test_accuracy.desc(), Evaluation.id)
        .limit(1)
    )
    row = session.execute(query).first()
    return (row[0], row[1]) if row is not None else None


def _point(session: Session, space: LatentSpace, near: NearIn, net: VGAE) -> tuple[StartOut, Tensor]:
    accuracy = None
    if near.dataset_id is not None:
        dataset = datasets.get(session, near.dataset_id, "near.dataset_id")
        best = best_point(session, space.search_space, dataset.id)
        if best is None:
            raise InvalidRequest.of(
                "near.dataset_id",
                f"{dataset.name!r} has no evaluation and so no best point; search on it, train on it, or "
                "register a genotype with an evaluation",
            )
        row, accuracy = best[0], best[1].test_accuracy
    else:
        assert near.genotype_id is not None
        row = genotypes.get(session, near.genotype_id, "near.genotype_id")
        _require_same_space(row, space, "near.genotype_id")
    stored = session.scalars(
        select(LatentMember.mu).where(
            LatentMember.latent_space_id == space.id, LatentMember.genotype_id == row.id
        )
    ).one_or_none()
    point = from_bytes([stored], space)[0] if stored else encode(net, _graph([row], space))[0]
    start = StartOut(
        kind="near",
        dataset_id=near.dataset_id,
        genotype_id=row.id,
        test_accuracy=accuracy,
        member=stored is not None,
    )
    return start, point


def _rows(
    space: LatentSpace,
    decoded: Tensor,
    sample: generation.Sample,
    start: StartOut,
    gamma: float | None,
    seed: int,
) -> list[Genotype]:
    search_space = SEARCH_SPACES[space.search_space]
    parameters = count_parameters(decoded, search_space, **STANDARD_NETWORK).tolist()
    origin = "random" if start.kind == "random" else "generated"
    rows = []
    for position, genotype in enumerate(forms.from_tensor(decoded, search_space)):
        source: dict[str, Any] = {
            **start.model_dump(exclude_none=True),
            "gamma": gamma,
            "seed": seed,
            "draw": position,
        }
        if sample.directions is not None:
            source["direction"] = "".join(
                "+" if up else "-" for up in (sample.directions[position].flatten() > 0)
            )
        row = genotypes.build(
            genotype, search_space, origin=origin, source=source, parameters=parameters[position]
        )
        row.latent_space_id, row.latent = space.id, _to_bytes(sample.latents[position])
        rows.append(row)
    return rows


def _count_duplicates(digests: list[str], known: set[str]) -> int:
    return len(digests) - len(set(digests) - known)


def members_of(session: Session, space: LatentSpace) -> tuple[Tensor, set[str]]:
    """The members' latents, and their genotypes' digests."""
    query = (
        select(LatentMember.mu, Genotype.digest)
        .join(Genotype, Genotype.id == LatentMember.genotype_id)
        .where(LatentMember.latent_space_id == space.id)
    )
    rows = session.execute(query.order_by(LatentMember.position)).all()
    return from_bytes([row[0] for row in rows], space), {row[1] for row in rows}


def _graph(rows: Sequence[Genotype], latent_space: LatentSpace) -> graphs.Graph:
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


def _require_same_space(row: Genotype, space: LatentSpace, field: str) -> None:
    if row.search_space != space.search_space:
        raise InvalidRequest.of(
            field,
            f"is of the search space {row.search_space!r}; this latent space is of {space.search_space!r}",
        )


def _network(space: LatentSpace, artifacts: Artifacts) -> VGAE:
    require_ready(space)
    assert space.artifact_key is not None
    return _load(artifacts, space.artifact_key, space.search_space, LatentRecipe(**space.settings))


@lru_cache(maxsize=16)
def _load(artifacts: Artifacts, key: str, search_space: str, recipe: LatentRecipe) -> VGAE:
    """A trained VGAE, kept in memory: what stands under a key never changes."""
    net = VGAE(SEARCH_SPACES[search_space], recipe)
    net.load_state_dict(artifacts.get_tensors(key))
    return net.eval()


def _to_bytes(z: Tensor) -> bytes:
    return z.detach().cpu().float().contiguous().numpy().tobytes()


def from_bytes(stored: Sequence[bytes | None], space: LatentSpace) -> Tensor:
    """`[latents, nodes, latent dimension]`."""
    flat = np.frombuffer(b"".join(z for z in stored if z is not None), dtype=np.float32).copy()
    nodes = SEARCH_SPACES[space.search_space].nodes
    return torch.from_numpy(flat).reshape(len(stored), nodes, -1)
