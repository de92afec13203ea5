"""`/v1/campaigns`."""

from typing import Literal

from fastapi import APIRouter, Response
from sqlalchemy.orm import Session

from app.campaigns import report, service
from app.campaigns.schemas import CampaignIn, CampaignOut, CampaignTableOut
from app.campaigns.tables import Campaign
from app.campaigns.trials import of_campaign
from app.dependencies import ArtifactsIn, DatabaseIn, Reading, SettingsIn, Writing
from app.drawing import MEDIA_TYPES, RESPONSES, Form
from app.jobs.schemas import JobOut
from app.jobs.starter import StarterIn
from app.jobs.tables import Job
from app.naming import Share, TagFilter
from app.pages import Cursor, Limit, Page, paginate
from app.routes import Route
from app.trainings import service as trainings

router = APIRouter(prefix="/v1/campaigns", tags=["campaigns"], route_class=Route)


@router.post("", status_code=202)
def create_campaign(
    database: DatabaseIn,
    body: CampaignIn,
    settings: SettingsIn,
    artifacts: ArtifactsIn,
    starter: StarterIn,
) -> JobOut:
    """Looks for the best architecture on a data set: proposes, trains, and proposes again, within a budget.

    The answer is the campaign's job, whose parts are trainings and the rounds that choose them. It ends when
    its budget is used or its target reached; cancelling it cancels all parts, and a retry goes on.
    """
    job, rounds = service.start(database, body, settings, artifacts)
    starter.send(rounds)
    with database.session(reads_only=True) as session:
        return starter.accept(session, [job])[0]


@router.get("")
def list_campaigns(
    session: Reading, tag: TagFilter = None, cursor: Cursor = None, limit: Limit = 50
) -> Page[CampaignOut]:
    """Campaigns, newest first."""
    rows, following = paginate(session, service.listing(tag), None, Campaign.id, cursor, limit)
    return Page(items=[_shown(session, campaign, job) for campaign, job in rows], next_cursor=following)


@router.get("/{campaign_id}")
def get_campaign(session: Reading, campaign_id: str) -> CampaignOut:
    """One campaign: what it may use, what it began with, and the best so far."""
    return _shown(session, *service.get(session, campaign_id))


@router.patch("/{campaign_id}")
def relabel_campaign(session: Writing, campaign_id: str, body: Share) -> CampaignOut:
    """Changes name, note and tags, or shares it, once it is over, with its trainings."""
    trainings.relabel(session, *service.get(session, campaign_id), body)
    return _shown(session, *service.get(session, campaign_id))


@router.delete("/{campaign_id}", status_code=204)
def delete_campaign(session: Writing, campaign_id: str) -> None:
    """Removes a campaign that is over; its trainings stay, each on its own."""
    service.delete(session, campaign_id)


@router.get(
    "/{campaign_id}/table",
    response_model=CampaignTableOut,
    responses={200: {"content": {"text/markdown": {}, "text/csv": {}}}},
)
def get_campaign_table(
    session: Reading, campaign_id: str, format: Literal["json", "markdown", "csv"] = "json"
) -> CampaignTableOut | Response:
    """What was tried and why, what it came to, and with a random arm the verdict beside it."""
    table = report.table(session, campaign_id)
    if format == "json":
        return table
    if format == "csv":
        return Response(report.comma_separated(table), media_type="text/csv")
    return Response(report.markdown(table), media_type="text/markdown")


@router.get("/{campaign_id}/picture", response_class=Response, responses=RESPONSES)
def get_campaign_picture(session: Reading, campaign_id: str, format: Form = "svg") -> Response:
    """Accuracy against trainings and hours, by arm."""
    return Response(report.picture(session, campaign_id, format), media_type=MEDIA_TYPES[format])


def _shown(session: Session, campaign: Campaign, job: Job) -> CampaignOut:
    fields = {name: getattr(campaign, name, None) for name in CampaignOut.model_fields}
    best = service.bests(campaign, of_campaign(session, campaign))
    return CampaignOut.model_validate(
        {**fields, "status": job.status, "progress": job.progress, "best": best}
    )
