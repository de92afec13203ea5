"""Training latent spaces, and what is read and generated from them."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from sqlalchemy import Select, case, func, select
from sqlalchemy.orm import Session
from torch import Tensor

from app.artifacts import Artifacts
from app.database import Database, new_id, now
from app.datasets import service as datasets
from app.datasets.tables import Dataset
from app.genotypes import service as genotypes
from app.genotypes.schemas import GenotypeOut
from app.genotypes.tables import Genotype
from app.jobs import service as jobs
from app.jobs.tables import Job
from app.latent_spaces.schemas import (
    DirectionOut,
    EncodeIn,
    GenerateIn,
    GenerateOut,
    LatentOut,
    LatentSpaceIn,
    MapOut,
    MapPoint,
    MeaningOut,
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
from models.latent import LatentError, Method, decode, encode, project
from models.limits import STANDARD_NETWORK
from models.meaning import directions, properties, silhouette
from models.network import count_parameters
from models.search_space import CELLS, SEARCH_SPACES
from models.vgae import PRESETS, VGAE, LatentRecipe

PREFIX = "lat"

DEFAULT_GAMMA = 0.1

MAP_LIMIT = 10_000
"""Generated genotypes on one map."""


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
        members, known = _members(session, space)
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


def space_map(session: Session, space_id: str, method: Method, generated: bool, seed: int) -> MapOut:
    """The latents of the members, and of what was generated from the space if asked, in two dimensions.

    Raises:
        NotFound, Conflict: no such space, or one that is still training.
        InvalidRequest: fewer points than the method needs.
    """
    space = get(session, space_id)
    _require_ready(space)
    of_members = select(Genotype, LatentMember.mu, Dataset.name).join(
        LatentMember, LatentMember.genotype_id == Genotype.id
    )
    queries = [of_members.where(LatentMember.latent_space_id == space_id).order_by(LatentMember.position)]
    if generated:
        of_generated = select(Genotype, Genotype.latent, Dataset.name)
        queries.append(
            of_generated.where(Genotype.latent_space_id == space_id).order_by(Genotype.id).limit(MAP_LIMIT)
        )
    rows = [
        row
        for q in queries
        for row in session.execute(q.outerjoin(Dataset, Dataset.id == Genotype.dataset_id))
    ]
    z = _from_bytes([row[1] for row in rows], space)
    try:
        projection = project(z, method, seed)
    except LatentError as error:
        raise InvalidRequest.of("method", str(error)) from None
    best = _best_accuracies(session, [row[0].id for row in rows])
    points = [
        MapPoint(
            genotype_id=row.id,
            name=row.name,
            origin=row.origin,
            dataset=dataset,
            x=x,
            y=y,
            parameters=row.parameters,
            accuracy=best.get(row.id),
            operations=_shares(row),
        )
        for (row, _, dataset), (x, y) in zip(rows, projection.points, strict=True)
    ]
    known = [i for i, point in enumerate(points) if point.dataset is not None]
    return MapOut(
        method=method,
        explained_variance=projection.explained_variance,
        silhouette=silhouette(z[known], [points[i].dataset or "" for i in known]),
        items=points,
    )


def meaning(session: Session, space_id: str) -> MeaningOut:
    """How the principal directions of a space go with properties of its members.

    Raises:
        NotFound, Conflict: no such space, or one that is still training.
    """
    space = get(session, space_id)
    _require_ready(space)
    members, _ = _members(session, space)
    ids = member_ids(session, space_id)
    rows = genotypes.get_many(session, ids, "genotype_ids")
    search_space = SEARCH_SPACES[space.search_space]
    values = properties(
        forms.to_tensor([genotypes.discrete(row) for row in rows], search_space), search_space
    )
    for dataset, found in _accuracies_by_dataset(session, ids).items():
        values[f"accuracy:{dataset}"] = torch.tensor(
            [found.get(i, float("nan")) for i in ids], dtype=torch.float64
        )
    items = [DirectionOut.model_validate(direction) for direction in directions(members, values)]
    return MeaningOut(members=len(ids), items=items)


def _accuracies_by_dataset(session: Session, ids: Sequence[str]) -> dict[str, dict[str, float]]:
    """By data set's name and genotype, the best trained or reported accuracy."""
    query = (
        select(Dataset.name, Evaluation.genotype_id, func.max(Evaluation.test_accuracy))
        .join(Dataset, Dataset.id == Evaluation.dataset_id)
        .where(Evaluation.kind != "search", Evaluation.genotype_id.in_(ids))
        .group_by(Dataset.name, Evaluation.genotype_id)
    )
    found: dict[str, dict[str, float]] = {}
    for dataset, genotype_id, accuracy in session.execute(query):
        found.setdefault(dataset, {})[genotype_id] = accuracy
    return found


def _best_accuracies(session: Session, ids: Sequence[str]) -> dict[str, float]:
    best: dict[str, float] = {}
    for found in _accuracies_by_dataset(session, ids).values():
        for genotype_id, accuracy in found.items():
            best[genotype_id] = max(accuracy, best.get(genotype_id, 0.0))
    return best


def _shares(row: Genotype) -> dict[str, float]:
    counts = Counter(operation for cell in CELLS for operation, _ in row.genotype[cell])
    return {operation: count / counts.total() for operation, count in counts.items()}


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
    point = _from_bytes([stored], space)[0] if stored else encode(net, _graph([row], space))[0]
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


def _members(session: Session, space: LatentSpace) -> tuple[Tensor, set[str]]:
    """The members' latents, and their genotypes' digests."""
    query = (
        select(LatentMember.mu, Genotype.digest)
        .join(Genotype, Genotype.id == LatentMember.genotype_id)
        .where(LatentMember.latent_space_id == space.id)
    )
    rows = session.execute(query.order_by(LatentMember.position)).all()
    return _from_bytes([row[0] for row in rows], space), {row[1] for row in rows}


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


def _require_ready(space: LatentSpace) -> None:
    if not space.ready:
        raise Conflict(f"latent space {space.id} is not trained; its job is {space.job_id}")


def _require_same_space(row: Genotype, space: LatentSpace, field: str) -> None:
    if row.search_space != space.search_space:
        raise InvalidRequest.of(
            field,
            f"is of the search space {row.search_space!r}; this latent space is of {space.search_space!r}",
        )


def _network(space: LatentSpace, artifacts: Artifacts) -> VGAE:
    _require_ready(space)
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


def _from_bytes(stored: Sequence[bytes | None], space: LatentSpace) -> Tensor:
    """`[latents, nodes, latent dimension]`."""
    flat = np.frombuffer(b"".join(z for z in stored if z is not None), dtype=np.float32).copy()
    nodes = SEARCH_SPACES[space.search_space].nodes
    return torch.from_numpy(flat).reshape(len(stored), nodes, -1)
