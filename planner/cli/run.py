"""`planner run`: a bundle runs, and what is measured stands beside what was predicted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from planner.cli.ends import ends
from planner.cli.options import PROFILES, Multiplier, ProfilesFolder, Seed
from planner.cli.output import Format, FormatOption, Progress, emit, number, table
from specs.errors import AnswerIsNo, InputError, Issue, Place

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from runtime.reference.items import Item
    from specs.application import Application
    from specs.load import Document
    from specs.plan import Percentiles
    from specs.run_result import MeasuredAccuracy, MeasuredPath, MeasuredShare, RunResult

SAME_PACE: Final = 0.1
"""Services that take so much more or less than their profiles, relative to them, are no drift of the machine."""

LONG_RUN: Final = 120.0
"""Seconds of sending after which a run is said to be long, with the options that make it shorter."""


def run(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder that `planner compile` made.")],
    app: Annotated[
        Path, typer.Option("--app", "-a", metavar="APP", help="The application, whose data gives the requests.")
    ] = Path("app.yaml"),
    profiles: ProfilesFolder = PROFILES,
    requests: Annotated[
        int, typer.Option("--requests", "-n", metavar="N", min=1, max=1_000_000, help="How many.")
    ] = 300,
    members: Annotated[
        list[str] | None,
        typer.Option("--members", "-m", metavar="SITE=N", help="How many of a class of sites take part; default 1."),
    ] = None,
    multiplier: Multiplier = 1.0,
    seed: Seed = 1,
    address: Annotated[
        str | None,
        typer.Option("--address", metavar="HOST:PORT", help="A Ray cluster whose nodes carry the label site=MEMBER."),
    ] = None,
    clusters: Annotated[
        Path | None,
        typer.Option("--clusters", metavar="FILE", help="Several Ray clusters, and which sites are in which."),
    ] = None,
    network: Annotated[
        Literal["auto", "emulated", "shaped"],
        typer.Option(
            "--network",
            help="Links emulated below the application (Linux, root or user namespaces), or shaped inside it.",
        ),
    ] = "auto",
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The result.")] = Path("run.json"),
    fmt: FormatOption = Format.table,
) -> None:
    """Run a slice of the plan on Ray, one node a site, with links and slower machines as the infrastructure says.

    The prediction for exactly that slice is saved, beside the result, before the first request. Exit code 1 where an
    answer is wrong or missing, or a latency limit is missed. When interrupted, what was measured so far is written.

    Example: planner run bundle --app app.yaml --requests 300 --members phones=2 --multiplier 150 -o run.json
    """
    chosen = parse_members(members or [])

    from datetime import UTC, datetime

    from planner import default_slice, load_situation, predict
    from planner.cli.files import check_output, prediction_file, write_json
    from runtime.bundle import open_bundle
    from runtime.running.run import Progress as State
    from runtime.running.run import execute
    from runtime.stages.secrets import take_secrets
    from specs.digest import digest_value
    from specs.load import load_application, load_clusters

    if address and clusters:
        raise InputError(Issue("there is one cluster or several", None, "--address or --clusters, not both"))
    check_output(output, app)
    check_output(prediction_file(output), app, output)
    with Progress() as progress:
        opened = open_bundle(bundle)
        several = load_clusters(clusters, opened.infra.value).value.clusters if clusters else {}
        document = load_application(app)
        if document.digest != opened.plan.inputs.app:
            raise InputError(
                Issue("not the application that the bundle was made from", Place(str(app)), "compile again")
            )
        secrets = take_secrets(document)
        here = None if address or several else this_host()
        situation = load_situation(app, opened.infra.file, profiles, here)
        part = default_slice(situation, opened.plan, chosen, multiplier, requests, seed)
        prediction = predict(situation, opened.plan, part)
        saved = prediction_file(output)
        write_json(saved, prediction)
        progress.say(f"plan {opened.plan.digest}")
        progress.say(f"prediction {digest_value(prediction.dump())} in {saved}")

        def tell(state: State) -> None:
            if state.method is not None:
                progress.say(f"network: {state.method.text}")
            if state.lasts is not None and state.lasts >= LONG_RUN:
                progress.say(long_text(state.requests, state.lasts))
            counts = ", ".join(f"{n} {status}" for status, n in sorted(state.counts.items()) if n)
            progress.step(f"{state.phase}: {counts} of {state.requests}" if counts else state.phase)

        items = some_items(document, requests, seed)
        for name, component in document.value.components.items():
            if component.api is not None:
                where, price = component.api.endpoint, component.api.price
                progress.say(f"{name}: calls {where} for requests, warm-up, background and reference; {price:g} a call")
        done = execute(
            opened,
            part,
            items,
            prediction,
            address=address,
            clusters=several,
            network=network,
            secrets=secrets,
            recordings=situation.recordings,
            on_progress=tell,
        )
        progress.say(f"the hosts were open after {done.started:.1f} s")
        for (start, end), seconds in sorted(done.round_trips.items()):
            progress.say(f"{start} - {end}: {seconds * 1e3:.2f} ms and back; one way is not known, for clocks differ")
        for reason, count in done.reasons.most_common(5):
            progress.say(f"{count} {reason}")
    ended = datetime.now(UTC).isoformat(timespec="seconds")
    result = done.result.model_copy(update={"host": this_host(), "ended_at": ended})
    write_json(output, result)
    emit(result.dump(), fmt, lambda out: _show(result, out, output))
    if done.interrupted:
        raise KeyboardInterrupt
    missed = shortcomings(result)
    if missed:
        raise AnswerIsNo("; ".join(missed))


def long_text(requests: int, seconds: float) -> str:
    """For how long a run sends its requests, and how to have it shorter."""
    return (
        f"sending {requests:,} requests at these rates takes {number(seconds / 60)} min; fewer --requests, more "
        "--members or a higher --multiplier make it shorter"
    )


def this_host() -> str:
    """This machine as profiles name it: what was emulated on another one does not hold here."""
    from compiler.host import host

    return str(host())


def parse_members(texts: list[str]) -> dict[str, int]:
    """``phones=2`` -> {"phones": 2}. Raises InputError for anything else."""
    found: dict[str, int] = {}
    for text in texts:
        site, _, count = text.partition("=")
        if not site or not count.isdecimal() or len(count) > 7 or int(count) < 1:
            raise InputError(Issue(f"expected SITE=N with N at least 1, got {text!r}", None, "--members phones=2"))
        found[site] = int(count)
    return found


def some_items(app: Document[Application], most: int, seed: int) -> list[Item]:
    """At most `most` items of the application's data, drawn at random with `seed`, in the order of the data."""
    import random

    from runtime.reference.items import read_items

    refs = [ref for data in app.value.data for ref in read_items(app.value, data, app.folder)]
    if not refs:
        raise InputError(Issue("the application names no data to make requests of", app.place("data"), "add data:"))
    drawn = sorted(random.Random(seed).sample(range(len(refs)), min(most, len(refs))))
    return [refs[i].read() for i in drawn]


def shortcomings(result: RunResult) -> list[str]:
    """What a run missed, in words: requests without a right answer, and limits."""
    r = result.requests
    counts: Mapping[str, int] = {
        "wrong (not what the reference answers)": r.wrong,
        "lost": r.lost,
        "failed": r.failed,
        "refused": r.refused,
    }
    if sum(s.n for s in result.shares) >= r.sent:  # shares say how many of all requests may end so
        counts = {what: n for what, n in counts.items() if what not in ("failed", "refused")}
    found = [f"{count} of {r.sent} requests {what}" for what, count in counts.items() if count]
    for path in result.paths:
        for name, value, limit in _limited(path):
            if value > limit:
                way = f"{ends(path, result.paths)} over {path.over}"
                found.append(f"{name} of {way} is {number(value)} ms, limit {number(limit)} ms")
    found += [accuracy_text(a) for a in result.accuracies if a.verdict == "missed"]
    found += [share_text(s) for s in result.shares if s.verdict == "missed"]
    return found


def _limited(path: MeasuredPath) -> list[tuple[str, float, float]]:
    """Of each limit of `path`: which percentile it is about, what was measured, and the limit, in ms."""
    return [(name, getattr(path.measured, f"{name}_ms"), limit) for name, limit in path.limit_ms.items()]


def limit_texts(result: RunResult) -> list[str]:
    """Whether each limit on latency was kept, where any request took that way."""
    found: list[str] = []
    for path in result.paths:
        for name, value, limit in _limited(path) if path.n else ():
            text = f"{name} of {ends(path, result.paths)} over {path.over}: {number(value)} ms measured"
            found.append(f"{text}, limit {number(limit)} ms: {'kept' if value <= limit else 'missed'}")
    return found


def accuracy_text(a: MeasuredAccuracy) -> str:
    """Measured beside planned and limit, and whether so many answers can tell that the limit is kept."""
    text = f"accuracy on {a.data}: {a.value:.4f} measured ({a.low:.3f} to {a.high:.3f} at 95 %)"
    if a.planned is not None:
        text += f", {a.planned:.4f} planned"
    if a.limit is None:
        return text
    said = {
        "kept": "kept",
        "missed": "missed: the whole interval lies below",
        "not certain": f"not certain: the interval straddles it, {a.n:,} answers are too few to tell",
    }
    return f"{text}, limit {a.limit:g}: {said[a.verdict]}"


def share_text(s: MeasuredShare) -> str:
    """The share answered beside what is asked, and whether so many requests can tell."""
    said = {"missed": "missed: the whole interval lies below", "kept": "kept"}.get(s.verdict, "not certain")
    between = f"{s.low:.4%} to {s.high:.4%} at 95 %"
    return f"share answered, {s.name}: {s.value:.4%} of {s.n:,} ({between}), at least {s.limit:.4%} asked: {said}"


def pace_text(result: RunResult) -> str | None:
    """What may explain times that all differ from their prediction alike; None where nothing does."""
    pace = result.pace
    if pace is None or abs(pace - 1) <= SAME_PACE:
        return None
    now = "slower, or busier beside them," if pace > 1 else "faster"
    said = f"services took {number(pace)} times as long as their profiles say"
    return (
        f"{said}: this machine was {now} than when it was measured; if that lasts, profile again into an empty folder"
    )


def _show(result: RunResult, out: Console, file: Path) -> None:
    columns = ["", "site", "n", "p50", "measured", "p95", "measured", "p99", "measured"]

    def figures(predicted: Percentiles, measured: Percentiles) -> list[str]:
        return [number(getattr(p, key)) for key in ("p50_ms", "p95_ms", "p99_ms") for p in (predicted, measured)]

    rows = [
        [
            f"{ends(p, result.paths)} ({p.over})",
            "end to end",
            str(p.n),
            *figures(p.predicted, p.measured),
        ]
        for p in result.paths
    ]
    for s in result.stages:
        if s.n:
            rows.append([s.name, s.site, str(s.n), *figures(s.service_predicted, s.service_measured)])
            if s.wait_predicted.p99_ms >= 0.05 or s.wait_measured.p99_ms >= 0.05:
                rows.append(["  waiting", "", "", *figures(s.wait_predicted, s.wait_measured)])
    out.print(table(columns, rows, title="predicted and measured, ms", right=columns[2:]))
    r = result.requests
    out.print(
        f"requests: {r.sent} sent, {r.answered} answered, {r.refused} refused, {r.failed} failed, {r.lost} lost, "
        f"{r.wrong} wrong; {number(result.throughput)} a second"
    )
    if (pace := pace_text(result)) is not None:
        out.print(pace)
    for text in limit_texts(result):
        out.print(text)
    for accuracy in result.accuracies:
        out.print(accuracy_text(accuracy))
    for share in result.shares:
        out.print(share_text(share))
    out.print(f"network and slower machines: {result.shaping}")
    out.print(f"plan {result.plan[:16]}, prediction {result.prediction[:16]}; in {file}")
