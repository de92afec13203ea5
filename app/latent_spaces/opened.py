"""Trained latent spaces held in memory: what encoding, generating and drawing maps need of one."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from threading import Lock
from typing import Any

import numpy as np
import torch
from sqlalchemy import Select, bindparam, func, select
from sqlalchemy.orm import Session
from torch import Tensor

from app import owners
from app.artifacts import Artifacts
from app.genotypes import service as genotypes
from app.genotypes.tables import Genotype, Origin
from app.latent_spaces.tables import LatentMember, LatentSpace
from app.problems import Conflict, InvalidRequest, NotFound
from models.genotypes import genotype as forms
from models.genotypes import graph as graphs
from models.genotypes.search_space import SEARCH_SPACES, SearchSpace
from models.latent_spaces import ready
from models.latent_spaces.stored import load_weights
from models.latent_spaces.vgae import VGAE, LatentRecipe, encode, spanning

KEPT = 16
"""The number of spaces that are held in memory, the last used ones."""

KNOWN = (Origin.SEARCHED, Origin.PUBLISHED, Origin.REGISTERED)
"""Origins of the genotypes that are members of a ready space; what was generated from it spans no box."""


@dataclass(frozen=True)
class OpenSpace:
    """A trained latent space with its network and the latents of its members.

    Args:
        row: of the table.
        space: its search space.
        net: its VGAE, on the CPU.
        genotype_ids: the members, in their order.
        members: their genotypes, int64 in the form of `genotype.to_tensor`.
        latents: their means, `[members, nodes, latent dimension]`.
        box: two latents, the smallest and the largest coordinates of the box of equation 8, as
            `models.latent_spaces.vgae.spanning` has it.
        version: differs when the members do.
    """

    row: LatentSpace
    space: SearchSpace
    net: VGAE
    genotype_ids: Sequence[str]
    members: Tensor
    latents: Tensor
    box: Tensor
    version: str

    def encode(self, rows: Sequence[Genotype], field: str) -> Tensor:
        """The means of genotypes, `[genotypes, nodes, latent dimension]`, without training.

        Raises:
            InvalidRequest: a genotype is of another search space; the message names its place in `field`.
        """
        for position, row in enumerate(rows):
            self.require_same_space(row, f"{field}[{position}]")
        return encode(self.net, graph_of(rows, self.row))

    def place_of(self, genotype_id: str) -> int | None:
        """The number of a genotype among the members; `None` if it is none of them."""
        return self.genotype_ids.index(genotype_id) if genotype_id in self.genotype_ids else None

    def latent_of(self, row: Genotype, field: str) -> tuple[Tensor, bool]:
        """The mean of one genotype, `[nodes, latent dimension]`, and whether it is a member.

        Raises:
            InvalidRequest: it is of another search space; the message names `field`.
        """
        self.require_same_space(row, field)
        place = self.place_of(row.id)
        if place is not None:
            return self.latents[place], True
        return encode(self.net, graph_of([row], self.row))[0], False

    def require_same_space(self, row: Genotype, field: str) -> None:
        """Raises `InvalidRequest`, naming the field, for a genotype of another search space."""
        if row.search_space != self.row.search_space:
            raise InvalidRequest.of(
                field,
                f"is of the search space {row.search_space!r}; "
                f"this latent space is of {self.row.search_space!r}",
            )


_opened: dict[tuple[str, str], OpenSpace] = {}  # the last used last
_lock, _loading = Lock(), Lock()


def open_space(session: Session, space: str | LatentSpace, artifacts: Artifacts) -> OpenSpace:
    """A trained latent space, from memory if it was opened before and has the same members.

    Args:
        session: reads the space and its members.
        space: which, by its id or as it was just read.
        artifacts: where the weights of trained spaces are.

    Raises:
        NotFound: there is no such space.
        Conflict: it is still training.
    """
    row = space if isinstance(space, LatentSpace) else session.get(LatentSpace, space)
    if row is None:
        raise NotFound(f"there is no latent space {space!r}")
    if not row.ready:
        raise Conflict(f"latent space {row.id} is not trained; its job is {row.job_id}")
    version = _version(session, row)
    key = (row.id, version)
    opened = _opened.get(key)
    if opened is None:
        with _loading:  # of many requests that ask at once one loads
            opened = _opened.get(key) or _load(session, row, version, artifacts)
            with _lock:
                _opened[key] = opened
    with _lock:
        _opened.pop(key, None)
        _opened[key] = opened
        while len(_opened) > KEPT:
            del _opened[next(iter(_opened))]
    return opened


def member_ids(session: Session, row: LatentSpace) -> list[str]:
    """The ids of a space's members, in their order."""
    if row.shipped:
        return list(session.scalars(_known(row).with_only_columns(Genotype.id).order_by(Genotype.id)))
    query = select(LatentMember.genotype_id).where(LatentMember.latent_space_id == row.id)
    return list(session.scalars(query.order_by(LatentMember.position)))


def member_count(session: Session, row: LatentSpace) -> int:
    """The number of members of a space; those of a ready space are all genotypes that are known."""
    if not row.shipped:
        return row.member_count
    return session.scalar(_known(row).with_only_columns(func.count())) or 0


def graph_of(rows: Sequence[Genotype], latent_space: LatentSpace) -> graphs.Graph:
    """Genotypes as graphs, in the form that the space takes: continuous where both are, else discrete."""
    space = SEARCH_SPACES[latent_space.search_space]
    graph = graphs.from_tensor(forms.to_tensor([genotypes.discrete(row) for row in rows], space), space)
    soft = [i for i, row in enumerate(rows) if row.continuous is not None]
    if latent_space.form == "continuous" and soft:
        weights = [forms.continuous_from_dict(rows[i].continuous or {}, space) for i in soft]
        continuous = graphs.from_continuous(weights, space)
        graph.adjacency[soft], graph.operations[soft] = continuous.adjacency, continuous.operations
    return graph


def to_bytes(z: Tensor) -> bytes:
    """A latent as the database keeps it: float32, row by row."""
    return z.detach().cpu().float().contiguous().numpy().tobytes()


def from_bytes(stored: Sequence[bytes | None], nodes: int) -> Tensor:
    """Latents from the database, `[latents, nodes, latent dimension]`; what is null is left out."""
    kept = [z for z in stored if z is not None]
    flat = np.frombuffer(b"".join(kept), dtype=np.float32).copy()
    return torch.from_numpy(flat).reshape(len(kept), nodes, -1)


def _version(session: Session, row: LatentSpace) -> str:
    """A text that differs when the members do: those of a trained space never change."""
    if not row.shipped:
        return ""
    query, seen_by = _counted(), session.info.get(owners.SEES)
    if seen_by is not None:
        query = query.where(owners.is_seen(Genotype.__table__.c.owner, seen_by))
    count, last = session.execute(query, {"search_space": row.search_space}).one()
    return f"{count} {last} {seen_by or ''}"


@cache
def _counted() -> Select[*tuple[Any, ...]]:
    """How many genotypes of the parameter `search_space` are known, and the newest; a query made once."""
    table = Genotype.__table__
    ours = table.c.search_space == bindparam("search_space")
    return select(func.count(), func.max(table.c.id)).where(ours, table.c.origin.in_(KNOWN))


def _known(row: LatentSpace) -> Select[*tuple[Any, ...]]:
    return select(Genotype).where(Genotype.search_space == row.search_space, Genotype.origin.in_(KNOWN))


def _load(session: Session, row: LatentSpace, version: str, artifacts: Artifacts) -> OpenSpace:
    space = SEARCH_SPACES[row.search_space]
    ids = member_ids(session, row)
    members = genotypes.get_many(session, ids, "genotype_ids")
    tensor = forms.to_tensor([genotypes.discrete(member) for member in members], space)
    if row.shipped:
        net = ready.load(space)
        latents = (
            encode(net, graph_of(members, row))
            if members
            else torch.empty(0, space.nodes, net.recipe.latent_dimension)
        )
        return OpenSpace(row, space, net, ids, tensor, latents, _corners(spanning(net, latents)), version)
    assert row.artifact_key is not None
    net = VGAE(space, LatentRecipe(**row.settings))
    load_weights(net, artifacts.get_tensors(row.artifact_key))
    query = select(LatentMember.mu).where(LatentMember.latent_space_id == row.id)
    latents = from_bytes(list(session.scalars(query.order_by(LatentMember.position))), space.nodes)
    return OpenSpace(row, space, net, ids, tensor, latents, _corners(spanning(net, latents)), version)


def _corners(latents: Tensor) -> Tensor:
    """The smallest and the largest of each coordinate, which span the same box."""
    return torch.stack([latents.amin(0), latents.amax(0)])
