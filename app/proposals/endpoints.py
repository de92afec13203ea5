"""`/v1/proposals`."""

from fastapi import APIRouter, Response

from app import naming
from app.dependencies import ArtifactsIn, DatabaseIn, Reading, SettingsIn, Writing
from app.naming import Share, TagFilter
from app.pages import Cursor, Limit, Page, paginate
from app.proposals import service
from app.proposals.schemas import ProposalIn, ProposalOut
from app.proposals.tables import Proposal
from app.routes import Route

router = APIRouter(prefix="/v1/proposals", tags=["proposals"], route_class=Route)


@router.post("", status_code=201)
def create_proposal(
    database: DatabaseIn, body: ProposalIn, settings: SettingsIn, artifacts: ArtifactsIn, response: Response
) -> ProposalOut:
    """Architectures for a data set: at once, with every default chosen and named.

    The start is the best point of the data set itself, or else of the nearest known one; sizes are those for
    this data set's images, beside the standard ones of papers.
    """
    made = service.propose(database, body, settings, artifacts)
    response.headers["Location"] = f"/v1/proposals/{made.id}"
    return made


@router.get("")
def list_proposals(
    session: Reading,
    dataset_id: str | None = None,
    tag: TagFilter = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[ProposalOut]:
    """Proposals, newest first."""
    rows, following = paginate(session, service.listing(dataset_id, tag), None, Proposal.id, cursor, limit)
    return Page(items=[service.shown(session, row) for row in rows], next_cursor=following)


@router.get("/{proposal_id}")
def get_proposal(session: Reading, proposal_id: str) -> ProposalOut:
    """One proposal with its architectures."""
    return service.shown(session, service.get(session, proposal_id))


@router.patch("/{proposal_id}")
def relabel_proposal(session: Writing, proposal_id: str, body: Share) -> ProposalOut:
    """Changes name, note and tags, or shares it with its data set and architectures."""
    row = service.get(session, proposal_id)
    if body.shared:
        service.share(session, row)
    naming.relabel(session, row, body)
    return service.shown(session, row)


@router.delete("/{proposal_id}", status_code=204)
def delete_proposal(session: Writing, proposal_id: str) -> None:
    """Removes a proposal; its architectures stay."""
    service.delete(session, proposal_id)
