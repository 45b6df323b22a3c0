"""`planner deploy` and `undeploy`: a bundle runs until somebody ends it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from planner.cli.options import PROFILES, STORE, Port, ProfilesFolder, Seed, StoreFolder
from planner.cli.output import Format, FormatOption, Progress, emit
from planner.cli.run import parse_members, some_items
from planner.cli.status.verb import look, tell
from specs.errors import InputError, Issue, Place

if TYPE_CHECKING:
    from planner.cli.failover import Alternatives
    from runtime.bundle import Bundle
    from runtime.deployment.record import Record
    from runtime.reference.items import Item

WARM_UP_ITEMS = 8
STEPS: Final = {
    "nodes": "starting nodes",
    "hosts": "starting hosts",
    "doors": "opening doors",
    "the new release": "loading the new plan",
    "traffic": "giving it the requests that come",
    "drain": "waiting for requests under way",
    "state": "handing over what components remember",
}
"""What `runtime.deployment` does, in words; the rest speaks for itself."""


class Log(StrEnum):
    off = "off"
    errors = "errors"
    requests = "requests"


Name = Annotated[str, typer.Argument(metavar="NAME", help="The deployment.")]


def deploy(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder that `planner compile` made.")],
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="Default: the application's.")] = None,
    app: Annotated[
        Path | None, typer.Option("--app", "-a", metavar="APP", help="The application, whose data warms stages up.")
    ] = None,
    members: Annotated[
        list[str] | None,
        typer.Option("--members", "-m", metavar="SITE=N", help="How many of a class of sites; default 1."),
    ] = None,
    address: Annotated[
        str, typer.Option("--address", metavar="HOST:PORT", help="A Ray cluster whose nodes are labelled site=MEMBER.")
    ] = "",
    clusters: Annotated[
        Path | None,
        typer.Option("--clusters", metavar="FILE", help="Several Ray clusters, and which sites are in which."),
    ] = None,
    listen: Annotated[str, typer.Option("--listen", metavar="IP", help="Where the ingress listens.")] = "127.0.0.1",
    http_port: Port = 0,
    grpc_port: Port = 0,
    token_file: Annotated[
        Path | None, typer.Option("--token-file", metavar="FILE", help="Bearer tokens that may ask, one a line.")
    ] = None,
    tls_cert: Annotated[Path | None, typer.Option("--tls-cert", metavar="FILE", help="Certificate, PEM.")] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", metavar="FILE", help="Its key, PEM.")] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Listen at a public address without tokens and TLS.")
    ] = False,
    shape: Annotated[
        bool | None, typer.Option("--shape/--no-shape", help="Slow links and processors; default: without --address.")
    ] = None,
    deadline: Annotated[
        float | None,
        typer.Option(
            "--deadline",
            metavar="SECONDS",
            min=0.001,
            help="Seconds; default ten times the longest limit, or 30; of a move, what it was.",
        ),
    ] = None,
    profiles: ProfilesFolder = PROFILES,
    store: StoreFolder = STORE,
    alternatives: Annotated[
        bool | None,
        typer.Option(
            "--alternatives/--no-alternatives",
            help="Solve without each site as well, for failover; default: where APP and profiles are there.",
        ),
    ] = None,
    time_limit: Annotated[
        float, typer.Option("--time-limit", metavar="SECONDS", min=0.1, help="Of each search for an alternative.")
    ] = 20.0,
    move: Annotated[
        bool, typer.Option("--move", help="Take over from the plan that is deployed under the name, while it serves.")
    ] = False,
    state: Annotated[
        Path | None,
        typer.Option("--state", metavar="DIR", help="Keeps what components remember; stays when it is undeployed."),
    ] = None,
    log: Annotated[
        Log, typer.Option("--log", help="Lines of JSON for requests: none, not answered, or all.")
    ] = Log.requests,
    trace: Annotated[
        str, typer.Option("--trace", metavar="URL", help="OTLP receiver of traces, such as http://localhost:4318.")
    ] = "",
    trace_sample: Annotated[
        float, typer.Option("--trace-sample", metavar="SHARE", min=0, max=1, help="Of requests that are traced.")
    ] = 0.01,
    seed: Seed = 1,
    fmt: FormatOption = Format.table,
) -> None:
    """Start a bundle with an ingress at each site where requests enter, and return.

    What runs already is left as it is; what was broken off is taken up again.

    Example: planner deploy bundle --app app.yaml --http-port 8000 --grpc-port 9000
    """
    chosen = parse_members(members or [])

    from runtime.bundle import open_bundle
    from runtime.deployment.deploy import Wanted, bundle_path
    from runtime.deployment.deploy import deploy as start
    from runtime.deployment.record import Listening, Record, Seeing, check_name, read_record
    from runtime.stages.secrets import take_secrets
    from specs.deadline import deadline_of
    from specs.digest import digest_file
    from specs.load import load_clusters
    from specs.manifest import MANIFEST_FILE

    with Progress() as progress:
        opened = open_bundle(bundle)
        if address and clusters:
            raise InputError(Issue("there is one cluster or several", None, "--address or --clusters, not both"))
        several = load_clusters(clusters, opened.infra.value).value.clusters if clusters else {}
        limits = [ms / 1e3 for path in opened.plan.paths for ms in path.limit_ms.values()]
        others = _alternatives(opened, app, profiles, store, alternatives, time_limit, progress)
        chosen_name = check_name(name or opened.plan.application)
        before = read_record(chosen_name) if move else None
        kept = _kept(opened, chosen_name, state, before)
        record = Record(
            name=chosen_name,
            plan=opened.plan.digest,
            bundle=bundle_path(opened),
            manifest=digest_file(opened.folder / MANIFEST_FILE),
            address=address,
            clusters=several,
            members=chosen,
            shape=not (address or several) if shape is None else shape,
            deadline=deadline or (before.deadline if before else deadline_of(limits)),
            listening=Listening(
                host=listen,
                http_port=http_port,
                grpc_port=grpc_port,
                token_file=_absolute(token_file),
                tls_cert=_absolute(tls_cert),
                tls_key=_absolute(tls_key),
                insecure=insecure,
            ),
            alternatives={site: plan.digest for site, plan in others.plans.items()},
            seeing=Seeing(log=log.value, trace=trace, trace_sample=trace_sample),
            state=kept,
        )
        secrets = take_secrets(opened.app)
        items = _items(app, opened.plan.inputs.app, seed) if app else []
        progress.say(f"plan {opened.plan.digest}")
        wanted = Wanted(opened, record, items, others.plans, others.write, secrets, move)
        new = start(wanted, lambda step: progress.step(STEPS.get(step, step)))
        progress.say(f"{record.name} is deployed" if new else f"{record.name} was deployed already")
    tell(look(record.name), fmt)


def _kept(bundle: Bundle, name: str, folder: Path | None, before: Record | None) -> str:
    """The folder of checkpoints; of a move what it was. Raises InputError where it is missing, or another's."""
    from runtime.deployment.record import names, state_folder, state_of
    from specs.state import stateful

    keeping = sorted(stateful(bundle.app.value))
    if not keeping:
        if folder is not None:
            raise InputError(Issue("--state is given, but no component keeps state"))
        return ""
    if folder is None and before is not None:
        return before.state
    if folder is None:
        hint = "--state DIR; what is in it is gone on from"
        raise InputError(Issue(f"{', '.join(keeping)} keeps state: say which folder is to keep it", None, hint))
    path = str(folder.absolute())
    others = [other for other in names() if other != name and state_of(state_folder(other)) == path]
    if others:
        raise InputError(Issue(f"{folder} keeps what {others[0]} remembers", Place(str(folder)), "give another folder"))
    return path


def _alternatives(
    bundle: Bundle,
    app: Path | None,
    profiles: Path,
    store: Path,
    asked: bool | None,
    time_limit: float,
    progress: Progress,
) -> Alternatives:
    """Those that can be had, unless they are `asked` for, which must be possible, or not wanted."""
    from planner.cli.failover import NONE, find_alternatives

    possible = app is not None and profiles.is_dir()
    if asked and not possible:
        lacking = "--app is missing" if app is None else f"there is no folder {profiles}"
        raise InputError(Issue(f"alternatives cannot be found: {lacking}", None, "--app APP --profiles DIR"))
    if asked is False or not possible or app is None:
        if asked is None:
            lacking = "--app is missing" if app is None else f"there is no folder {profiles} (--profiles DIR)"
            progress.say(f"no plans for when a site is gone: {lacking}")
        return NONE
    return find_alternatives(bundle, app, profiles, store, time_limit, progress)


def _absolute(file: Path | None) -> str:
    return str(file.absolute()) if file else ""


def _items(app: Path, digest: str, seed: int) -> list[Item]:
    from specs.load import load_application

    document = load_application(app)
    if document.digest != digest:
        raise InputError(Issue("not the application that the bundle was made from", Place(str(app)), "compile again"))
    return some_items(document, WARM_UP_ITEMS, seed)


def undeploy(
    name: Name,
    address: Annotated[
        str, typer.Option("--address", metavar="HOST:PORT", help="Its cluster, on a machine that did not deploy it.")
    ] = "",
    fmt: FormatOption = Format.table,
) -> None:
    """End a deployment and remove all that it left. One that is not there is no error.

    Example: planner undeploy blog_upload
    """
    from planner.cli.results import UndeployResult
    from runtime.deployment.record import state_folder, state_of
    from runtime.deployment.undeploy import undeploy as end

    kept = state_of(state_folder(name))
    was = end(name, address)
    emit(
        UndeployResult(name=name, was_deployed=was).dump(),
        fmt,
        lambda out: out.print(
            f"{name} is gone" + (f"; what it remembers stays in {kept}" if kept else "") if was else _not_there(name)
        ),
    )


def _not_there(name: str) -> str:
    from runtime.deployment.record import names

    others = names()
    return f"{name} was not deployed" + (f"; what is: {', '.join(others)}" if others else "")
