"""The `vgae-nas` command: the service from a terminal, with the commands of other packages, as its own."""

import json as jsons
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any

import typer

# the client is imported where it is used: `--help` must not wait for what it does not need

GROUP = "vgae_nas.commands"
"""Entry points of other packages whose commands are these, too: the service's own."""

SUFFIXES = {"k": 1_000, "m": 1_000_000, "g": 1_000_000_000}

cli = typer.Typer(
    no_args_is_help=True,
    help="""Good networks for your own images, at zero search hours.

    A first tour, with a folder of images that has one folder a class:

        vgae-nas up                                   (a terminal of its own)

        vgae-nas propose photos/ -n 5 --max-parameters 500k

        vgae-nas compare photos --reference resnet18

        vgae-nas export photos best/

    Where the service is: --url or VGAE_NAS_URL; a key, if it asks for one: VGAE_NAS_KEY.""",
)
jobs = typer.Typer(no_args_is_help=True, help="Jobs: what runs, how far it is, and how to stop it.")
cli.add_typer(jobs, name="jobs")

Url = Annotated[str | None, typer.Option("--url", envvar="VGAE_NAS_URL", help="Of the service.")]
AsJson = Annotated[bool, typer.Option("--json", help="Prints JSON and no tables.")]
Images = Annotated[str, typer.Argument(help="A folder or archive of images, or a data set by name.")]


def count(text: str) -> int:
    """A count as people write it, as `500k` or `1.5M`."""
    number, factor = text.strip(), 1
    if number and number[-1].lower() in SUFFIXES:
        number, factor = number[:-1], SUFFIXES[number[-1].lower()]
    try:
        return round(float(number.replace("_", "").replace(",", "")) * factor)
    except ValueError:
        raise typer.BadParameter(f"must be a count as 500000, 500k or 1.5M (got {text!r})") from None


@cli.command()
def upload(
    path: Annotated[
        Path, typer.Argument(exists=True, help="A folder with one folder a class, or an archive.")
    ],
    name: Annotated[str | None, typer.Option(help="Of the data set; by default that of the folder.")] = None,
    image_size: Annotated[int | None, typer.Option(help="Pixels; needed if sizes differ.")] = None,
    licence: Annotated[str | None, typer.Option(help="Of the images; exports carry it.")] = None,
    url: Url = None,
    json: AsJson = False,
) -> None:
    """Sends images; prints what was read and what was doubted."""
    with _service(url) as nas:
        made = nas.upload(path, name, image_size=image_size, licence=licence)
    _told(made.warnings)
    _print(json, made.info.model_dump(mode="json"), lambda: repr(made))


@cli.command()
def propose(
    images: Images,
    number: Annotated[int, typer.Option("-n", "--count", min=1, max=100, help="How many.")] = 5,
    max_parameters: Annotated[
        str | None, typer.Option(help="Of a network for these images, as 500k.")
    ] = None,
    max_macs: Annotated[str | None, typer.Option(help="Multiply-accumulates of one image, as 50M.")] = None,
    gamma: Annotated[float | None, typer.Option(help="How far from the best point, 0 to 1.")] = None,
    image_size: Annotated[int | None, typer.Option(help="Pixels; needed if sizes differ.")] = None,
    name: Annotated[str | None, typer.Option(help="Of the proposal, to find it again.")] = None,
    url: Url = None,
    json: AsJson = False,
) -> None:
    """Proposes architectures for images, at once and with no training."""
    with _service(url) as nas:
        dataset = _dataset(nas, images, image_size)
        made = dataset.propose(
            number,
            max_parameters=None if max_parameters is None else count(max_parameters),
            max_macs=None if max_macs is None else count(max_macs),
            gamma=gamma,
            name=name,
        )
    _told(made.warnings)
    why = f"{made.info.start.reason}\n{made.info.id}"
    _print(json, made.info.model_dump(mode="json"), lambda: f"{made.table}{why}")


@cli.command()
def compare(
    images: Images,
    proposal: Annotated[
        str | None, typer.Option(help="By name or id; by default the data set's last.")
    ] = None,
    reference: Annotated[
        list[str] | None, typer.Option(help="A network of torchvision's, as resnet18.")
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(help="quick, paper-small, …; by default the proposal's.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Of the comparison, to find it again.")] = None,
    wait: Annotated[bool, typer.Option(help="Waits for the report.")] = True,
    url: Url = None,
    json: AsJson = False,
) -> None:
    """Trains what was proposed for images, beside reference networks, and prints the table."""
    with _service(url) as nas:
        dataset = _dataset(nas, images, None)
        made = nas.proposal(proposal) if proposal else _last(nas, dataset)
        job = dataset.compare(made, references=reference or (), recipe=recipe, name=name)
        _told(job.warnings)
        if not wait:
            _print(json, job.info.model_dump(mode="json"), lambda: job.id)
            return
        report = job.wait()
    _print(json, report.info.model_dump(mode="json"), lambda: report.table)


@cli.command()
def campaign(
    images: Images,
    trainings: Annotated[int | None, typer.Option(min=1, help="The budget, in trainings.")] = None,
    hours: Annotated[float | None, typer.Option(help="The budget, in hours of training.")] = None,
    recipe: Annotated[str | None, typer.Option(help="Of the trainings.")] = None,
    random: Annotated[bool, typer.Option("--random", help="A random arm beside it, with a verdict.")] = False,
    wait: Annotated[bool, typer.Option(help="Waits for its end.")] = True,
    url: Url = None,
    json: AsJson = False,
) -> None:
    """Looks for the best architecture within a budget: proposes, trains, and proposes again."""
    if (trainings is None) == (hours is None):
        raise typer.BadParameter("give one of --trainings and --hours")
    with _service(url) as nas:
        compared = "random" if random else None
        job = _dataset(nas, images, None).campaign(trainings, hours=hours, recipe=recipe, compare=compared)
        _told(job.warnings)
        if wait:
            job.wait()
        _print(json, job.info.model_dump(mode="json"), lambda: f"{job.id}\n{job.info.links['table']}")


@cli.command()
def search(
    images: Images,
    recipe: Annotated[str | None, typer.Option(help="quick or paper-small.")] = None,
    seed: Annotated[list[int] | None, typer.Option(help="One search each.")] = None,
    wait: Annotated[bool, typer.Option(help="Waits for its end.")] = True,
    url: Url = None,
    json: AsJson = False,
) -> None:
    """Searches an architecture by PC-DARTS."""
    with _service(url) as nas:
        started = _dataset(nas, images, None).search(recipe=recipe, seeds=seed or None)
        for job in started:
            _told(job.warnings)
            if wait:
                job.wait()
    found = [job.info.model_dump(mode="json") for job in started]
    _print(json, found, lambda: "\n".join(f"{job.id}\t{job.info.status}" for job in started))


@cli.command()
def space(
    origin: Annotated[str | None, typer.Option(help="Members by origin, as published or searched.")] = None,
    tag: Annotated[str | None, typer.Option(help="Members with this tag.")] = None,
    name: Annotated[str | None, typer.Option(help="Of the space.")] = None,
    preset: Annotated[str | None, typer.Option(help="default, paper or paper-gcn.")] = None,
    wait: Annotated[bool, typer.Option(help="Waits for its end.")] = True,
    url: Url = None,
    json: AsJson = False,
) -> None:
    """Trains a latent space on genotypes of the store."""
    members = {key: value for key, value in (("origin", origin), ("tag", tag)) if value is not None}
    with _service(url) as nas:
        job = nas.latent_space(members=members or {"search_space": "darts"}, name=name, preset=preset)
        _told(job.warnings)
        if wait:
            job.wait()
    _print(json, job.info.model_dump(mode="json"), lambda: job.info.links["latent_space"])


@cli.command()
def export(
    images: Images,
    folder: Annotated[Path, typer.Argument(help="Where the model goes.")],
    url: Url = None,
    json: AsJson = False,
) -> None:
    """Saves the best trained architecture for images: ONNX, module, weights, card and predict.py."""
    with _service(url) as nas:
        rows = [r for r in nas.dataset(images).leaderboard() if r.training_id and r.genotype_id]
        best = max(rows, key=lambda row: row.validation_accuracy or row.test_accuracy, default=None)
        if best is None:
            raise typer.BadParameter(
                f"no architecture has been trained for {images!r}; see `vgae-nas compare`"
            )
        saved = nas.save(best.training_id, folder)
    told = {"folder": str(saved), "training_id": best.training_id, "test_accuracy": best.test_accuracy}
    _print(json, told, lambda: f"{saved}: {best.test_accuracy:.2f} % on the test split")


@jobs.command("list")
def list_jobs(
    status: Annotated[
        str | None, typer.Option(help="queued, running, succeeded, failed or cancelled.")
    ] = None,
    url: Url = None,
    json: AsJson = False,
) -> None:
    """Tells the jobs, newest first."""
    with _service(url) as nas:
        found = [job.info for job in nas.jobs(status)]
    rows = [job.model_dump(mode="json") for job in found]
    _print(
        json,
        rows,
        lambda: "\n".join(f"{j.id}\t{j.kind}\t{j.status}\t{j.progress:.0%}\t{j.step}" for j in found),
    )


@jobs.command()
def watch(
    job_id: Annotated[str, typer.Argument(help="Of the job.")], url: Url = None, json: AsJson = False
) -> None:
    """Follows a job to its end; fails if the job does."""
    with _service(url) as nas:
        job = nas.job(job_id)
        job.wait()
    _print(json, job.info.model_dump(mode="json"), lambda: f"{job.id} {job.info.status}")


@jobs.command()
def cancel(job_id: Annotated[str, typer.Argument(help="Of the job.")], url: Url = None) -> None:
    """Stops a job, with all its parts."""
    with _service(url) as nas:
        job = nas.job(job_id)
        job.cancel()
    typer.echo(f"{job.id} {job.info.status}")


@jobs.command()
def retry(job_id: Annotated[str, typer.Argument(help="Of the job.")], url: Url = None) -> None:
    """Lets a failed or cancelled job go on."""
    with _service(url) as nas:
        job = nas.job(job_id)
        job.retry()
    typer.echo(f"{job.id} {job.info.status}")


@contextmanager
def _service(url: str | None) -> Iterator[Any]:
    """The service; what goes wrong is said in a line, and the exit code is 1."""
    from vgae_nas_client.errors import NasError
    from vgae_nas_client.sync.client import Client

    try:
        with Client(url) as nas:
            yield nas
    except (NasError, FileNotFoundError, TimeoutError) as error:
        typer.echo(f"{error}", err=True)
        raise typer.Exit(1) from None


def _dataset(nas: Any, images: str, image_size: int | None) -> Any:
    """The data set of a name, or of a folder or archive, which is sent first."""
    from vgae_nas_client.errors import Conflict
    from vgae_nas_client.folders import name_of

    path = Path(images)
    if not path.exists():
        return nas.dataset(images)
    try:
        return nas.upload(path, image_size=image_size)
    except Conflict:
        name = name_of(path)
        typer.echo(f"the images sent before as {name!r} are taken; rename the folder for others", err=True)
        return nas.dataset(name)


def _last(nas: Any, dataset: Any) -> Any:
    found = nas.request("GET", "/v1/proposals", params={"dataset": dataset.id, "limit": 1})["items"]
    if not found:
        raise typer.BadParameter(f"nothing was proposed for {dataset.name!r}; see `vgae-nas propose`")
    return nas.proposal(found[0]["id"])


def _told(warnings: list[str]) -> None:
    for warning in warnings:
        typer.echo(f"note: {warning}", err=True)


def _print(as_json: bool, value: Any, text: Callable[[], str]) -> None:
    typer.echo(jsons.dumps(value, indent=1, ensure_ascii=False) if as_json else text())


def _with_others() -> typer.Typer:
    """The commands with those that other packages bring."""
    for point in entry_points(group=GROUP):
        other: typer.Typer = point.load()
        cli.registered_commands += other.registered_commands
        cli.registered_groups += other.registered_groups
    return cli


def main() -> None:
    """The entry point of the `vgae-nas` script."""
    sys.exit(_with_others()())
