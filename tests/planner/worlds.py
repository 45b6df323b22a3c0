"""Random small worlds: an application, an infrastructure and facts about them, made from a seed without any file."""

from __future__ import annotations

import random
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import yaml

from planner.situation import Situation, situation_of
from specs.application import Application
from specs.behaviour import Accuracy, Behaviour, BranchPattern, PayloadSize
from specs.codec import encoded_name
from specs.digest import digest_bytes
from specs.graph import Graph
from specs.infrastructure import Infrastructure
from specs.load import Document
from specs.mixture import mixture
from specs.profile import BucketTimes, Distribution, HopOverhead, Record
from specs.yamlfile import parse_yaml

WHEN = "2026-01-01T00:00:00Z"
LEVELS = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1.0)


def document(value: Mapping[str, Any], model: type[Any], name: str) -> Document[Any]:
    """`value` as if it had been read from the file `name`."""
    text = yaml.safe_dump(dict(value), sort_keys=False)
    read = parse_yaml(text, name)
    return Document(model.model_validate(read.value), read, digest_bytes(text.encode()))


def spread(mean: float, cv: float, n: int = 400) -> Distribution:
    """A gamma-like distribution of this mean and coefficient of variation, with its quantiles."""
    draw = random.Random(f"{mean:.9g} {cv:.9g}")
    shape = 1 / cv**2
    sample = sorted(draw.gammavariate(shape, 1.0) for _ in range(n))
    factor = mean * n / sum(sample)
    sample = [x * factor for x in sample]
    at = {str(p): sample[min(n - 1, round(p * (n - 1)))] for p in LEVELS}
    moments = [sum(x**k for x in sample) / n for k in (1, 2, 3)]
    return Distribution(mean=moments[0], second=moments[1], third=moments[2], quantiles=at, n=n, spread=mean * 0.01)


def payload(mean: float, cv: float) -> PayloadSize:
    of = spread(mean, cv)
    return PayloadSize(mean=of.mean, second=of.second, third=of.third, quantiles=of.quantiles)


def record(
    source: str,
    hardware: str,
    mean: float,
    *,
    segment: str = "..",
    threads: int = 1,
    backend: str = "onnxruntime",
    memory: float = 5e7,
    cv: float = 0.2,
) -> Record:
    return Record(
        source=source,
        segment=segment,
        backend=backend,
        threads=threads,
        hardware=hardware,
        provenance="measured",
        method="timer",
        host="test",
        latency=spread(mean, cv),
        memory=memory,
        artefact=digest_bytes(f"{source}{segment}{backend}{threads}".encode()),
        measured_at=WHEN,
    )


def hops() -> list[HopOverhead]:
    return [
        HopOverhead(channel="c", bytes=size, latency=spread(mean, 0.2), host="test", measured_at=WHEN)
        for size, mean in ((100, 3e-4), (100_000, 6e-4), (1_000_000, 2e-3))
    ]


@lru_cache(200)
def world(seed: int) -> Situation:
    """One application of 2 to 5 components on 2 to 4 sites. Small enough for brute force over its Problem."""
    draw = random.Random(seed)
    infra = _infrastructure(draw)
    app = _application(draw, infra)
    return facts(document(app, Application, "app.yaml"), document(infra, Infrastructure, "infra.yaml"), draw)


def batching(seed: int, most: tuple[int, ...] = (4, 16), waits: tuple[str, ...] = (), loose: float = 4.0) -> Situation:
    """A world of several times the rate and `loose` limits in which some models take up to so many requests at once, of
    which the oldest `waits` for others.

    A batch takes a share of its requests' own times, between a little more than one alone and all of them.
    """
    draw = random.Random(seed)
    infra = _infrastructure(draw)
    app = _application(draw, infra)
    more = random.Random(f"batch {seed}")
    for spec in infra["hardware"].values():
        spec["sharing"] = more.choice([spec.get("sharing", "cores"), "cores"])
    peak = float(app["sources"]["src"]["rate"]["peak"].split("/")[0]) * more.choice([1, 4, 15])
    app["sources"]["src"]["rate"] = {"mean": f"{peak / 4}/s", "peak": f"{peak}/s"}
    _loosen(app, loose)
    app["constraints"].pop("budget", None)
    for spec in app["components"].values():
        if not spec.get("function") and more.random() < 0.7:
            spec["batch"] = {"max": more.choice(most)}
            if waits:
                spec["batch"]["wait"] = random.Random(f"wait {seed}").choice(waits)
    given = facts(document(app, Application, "app.yaml"), document(infra, Infrastructure, "infra.yaml"), draw)
    return _in_batches(given, more)


def together(seed: int, most: tuple[int, ...] = (2,)) -> Situation:
    """A world with several at once of: batches, items, loss, shares, throughput, energy, memory, standbys, pairings."""
    draw = random.Random(seed)
    infra = _infrastructure(draw)
    app = _application(draw, infra)
    more = random.Random(f"mixed {seed}")
    for name, power in (("small", "0..3 W"), ("large", more.choice(["30..90 W", "5..60 W"]))):
        infra["hardware"][name]["power"] = power
    for spec in infra["hardware"].values():
        spec["sharing"] = more.choice([spec.get("sharing", "cores"), "cores"])
    (source,) = app["sources"].values()
    if "cloud" in infra["sites"] and more.random() < 0.7:
        infra["sites"]["cloud"]["pools"]["vm"]["devices"] = "0..1"
    peak = float(source["rate"]["peak"].split("/")[0]) * more.choice([1, 1, 4, 15])
    source["rate"] = {"mean": f"{peak / 4}/s", "peak": f"{peak}/s"}
    constraints = app["constraints"]
    _loosen(app, more.choice([2, 3, 6]))
    if more.random() < 0.9:
        constraints.pop("budget", None)
    if more.random() < 0.6:
        for link in infra["links"].values():
            link["loss"] = f"{more.choice([0.1, 0.5, 1, 2])} %"
    if more.random() < 0.5:
        constraints["answered"] = {"from": "src", "to": "out", "share": f">= {more.choice([90, 99, 99.9])} %"}
    throughput, idle = more.random() < 0.5, random.Random(f"standby {seed}")
    if throughput:
        if more.random() < 0.7:
            constraints["crowd"] = {"throughput": f">= {peak * more.choice([1.1, 1.2, 1.5, 2.0])}/s"}
        if more.random() < 0.5:
            orders = [["throughput", "cost"], ["cost", "throughput"], ["throughput"], ["energy", "throughput"]]
            app["objective"] = more.choice(orders)
    if more.random() < 0.3:
        constraints["power"] = {"energy": f"<= {more.choice([12, 30, 80, 200])} kWh/month"}
    if more.random() < 0.3:
        constraints["room"] = {"memory": f"<= {more.choice([60, 80, 110, 160])} MB"}
    for spec in app["components"].values():
        if not spec.get("function") and more.random() < 0.7:
            spec["batch"] = {"max": more.choice(most)}
        if not throughput and more.random() < 0.3:
            spec["standby"] = more.choice([1, 2])
        if throughput and idle.random() < 0.2:
            spec["standby"] = 1
    if more.random() < 0.3:
        a, b = more.sample(list(app["components"]), 2)
        app["components"][a][more.choice(["with", "apart_from"])] = [b]
    items = random.Random(f"items {seed}")
    if items.random() < 0.4:
        _fan_out(app["components"], items)
    wait = items.choice(["0 ms", "0 ms", "5 ms"])
    for spec in app["components"].values():
        if "batch" in spec:
            spec["batch"]["wait"] = wait
    given = facts(document(app, Application, "app.yaml"), document(infra, Infrastructure, "infra.yaml"), draw)
    return _in_batches(given, more)


def _in_batches(given: Situation, more: random.Random) -> Situation:
    """With records of batches: each takes a share of its requests' own times."""
    found: list[Record] = []
    components = given.app.value.components
    sources = {given.digests[f"{c}/{v}"]: spec for c, spec in components.items() for v in spec.realisations}
    for one in given.records:
        saved = more.choice([0.1, 0.5, 0.9])
        for size in sources[one.source].batch_sizes[1:]:
            latency = spread(one.latency.mean * (1 + saved * (size - 1)), more.choice([0.1, 0.3]))
            artefact = digest_bytes(f"{one.artefact} {size}".encode())
            found.append(one.model_copy(update={"batch": size, "latency": latency, "artefact": artefact}))
    records = [*given.records, *found]
    return situation_of(given.app, given.infra, records, given.behaviours, given.hops, dict(given.digests))


def lengthy(seed: int) -> Situation:
    """A world whose models have buckets of lengths: of some the mix is declared, of others the data say how long."""
    draw = random.Random(seed)
    infra = _infrastructure(draw)
    app = _application(draw, infra)
    given = facts(document(app, Application, "app.yaml"), document(infra, Infrastructure, "infra.yaml"), draw)
    more = random.Random(f"lengths {seed}")
    for spec in app["components"].values():
        if not spec.get("split") and more.random() < 0.8:
            sizes = more.choice([[16], [16, 64], [8, 32, 128]])
            mix = [f"{p} %" for p in {1: (100,), 2: (70, 30), 3: (60, 35, 5)}[len(sizes)]]
            spec["dims"] = {"T": more.choice([sizes, {"buckets": sizes, "mix": mix}])}
    changed = document(app, Application, "app.yaml")
    dims = {name: spec.dims["T"].buckets for name, spec in changed.value.components.items() if spec.dims}
    behaviours = [
        b.model_copy(update={"lengths": {name: _some_lengths(more, sizes) for name, sizes in dims.items()}})
        for b in given.behaviours
    ]
    records = _in_buckets(given, dims, more)
    return situation_of(changed, given.infra, records, behaviours, given.hops, dict(given.digests))


def _some_lengths(draw: random.Random, sizes: list[int]) -> dict[str, float]:
    """Shares of up to six lengths that the buckets hold."""
    lengths = draw.sample(range(1, sizes[-1] + 1), draw.randint(1, 6))
    weights = [draw.choice([1, 2, 5, 20]) for _ in lengths]
    return {str(n): w / sum(weights) for n, w in sorted(zip(lengths, weights, strict=True))}


def _in_buckets(given: Situation, dims: Mapping[str, list[int]], draw: random.Random) -> list[Record]:
    """Times that grow with the bucket, between as the root of its size and as its square; mixed in equal parts."""
    sources = {given.digests[f"{c}/{v}"]: c for c, s in given.app.value.components.items() for v in s.realisations}
    found: list[Record] = []
    for one in given.records:
        sizes = dims.get(sources[one.source], [])
        power = draw.choice([0.5, 1, 2])
        buckets = tuple(
            BucketTimes(
                size=size,
                share=1 / len(sizes),
                latency=spread(one.latency.mean * (size / sizes[-1]) ** power * 2, draw.choice([0.05, 0.3])),
            )
            for size in sizes
        )
        if buckets:
            one = one.model_copy(update={"buckets": buckets, "latency": mixture(buckets)})
        found.append(one)
    return found


def thrifty(seed: int) -> Situation:
    """A world with a limit of its energy, or energy among its objectives, or both."""
    draw = random.Random(seed)
    infra = _infrastructure(draw)
    app = _application(draw, infra)
    more = random.Random(f"energy {seed}")
    for name, power in (("small", "0..3 W"), ("large", more.choice(["30..90 W", "5..60 W"]))):
        infra["hardware"][name]["power"] = power
    if more.random() < 0.35:
        app["constraints"]["power"] = {"energy": f"<= {more.choice([3, 6, 12, 30, 80, 200])} kWh/month"}
    if more.random() < 0.6:
        app["objective"] = more.choice(
            [["energy"], ["cost", "energy"], ["energy", "cost"], ["energy", {"latency": "time"}]]
        )
    return facts(document(app, Application, "app.yaml"), document(infra, Infrastructure, "infra.yaml"), draw)


def cramped(seed: int) -> Situation:
    """A world with limits of memory at its sites."""
    draw = random.Random(seed)
    infra = _infrastructure(draw)
    app = _application(draw, infra)
    more = random.Random(f"memory {seed}")
    tiers = sorted({site["tier"] for site in infra["sites"].values()})
    app["constraints"]["room"] = {"memory": f"<= {more.choice([60, 80, 110, 160])} MB"}
    if more.random() < 0.7:
        app["constraints"]["room"]["at"] = {"tier": more.choice(tiers)}
    return facts(document(app, Application, "app.yaml"), document(infra, Infrastructure, "infra.yaml"), draw)


def patient(seed: int) -> Situation:
    """A world in which a share of the requests must be answered, and percentiles are hardly limited."""
    draw = random.Random(seed)
    infra = _infrastructure(draw)
    app = _application(draw, infra)
    more = random.Random(f"share {seed}")
    app["constraints"]["time"] = {"from": "src", "to": "out", "p50": f"{more.choice([200, 400])} ms"}
    app["constraints"]["answered"] = {"from": "src", "to": "out", "share": f">= {more.choice([90, 99, 99.9])} %"}
    return facts(document(app, Application, "app.yaml"), document(infra, Infrastructure, "infra.yaml"), draw)


def lossy(seed: int) -> Situation:
    """A world whose links lose packets."""
    draw = random.Random(seed)
    infra = _infrastructure(draw)
    app = _application(draw, infra)
    more = random.Random(f"loss {seed}")
    for link in infra["links"].values():
        link["loss"] = f"{more.choice([0.1, 0.5, 1, 2])} %"
    for name, limit in app["constraints"]["time"].items():
        if name.startswith("p") and more.random() < 0.7:
            app["constraints"]["time"][name] = f"{float(limit[:-3]) + 250} ms"
    return facts(document(app, Application, "app.yaml"), document(infra, Infrastructure, "infra.yaml"), draw)


def busy(seed: int) -> Situation:
    """A world in which a throughput is asked for, or throughput is among its objectives, or both."""
    draw = random.Random(seed)
    infra = _infrastructure(draw)
    app = _application(draw, infra)
    more = random.Random(f"throughput {seed}")
    (source,) = app["sources"].values()
    if "cloud" in infra["sites"]:  # few devices, since replicas are there up to what they hold
        infra["sites"]["cloud"]["pools"]["vm"]["devices"] = "0..1"
    if more.random() < 0.7:
        times = more.choice([1.2, 1.5, 2.0, 4.0])
        app["constraints"]["crowd"] = {"throughput": f">= {float(source['rate']['peak'][:-2]) * times}/s"}
    if more.random() < 0.5:
        app["objective"] = more.choice([["throughput", "cost"], ["cost", "throughput"], ["throughput"]])
    return facts(document(app, Application, "app.yaml"), document(infra, Infrastructure, "infra.yaml"), draw)


def fanned(seed: int) -> Situation:
    """A world in which a component runs per item of what it takes."""
    draw = random.Random(seed)
    infra = _infrastructure(draw)
    app = _application(draw, infra)
    more = random.Random(f"fan-out {seed}")
    _fan_out(app["components"], more)
    _loosen(app, more.choice([1.0, 1.5, 2.5]))
    return facts(document(app, Application, "app.yaml"), document(infra, Infrastructure, "infra.yaml"), draw)


def _loosen(app: dict[str, Any], slack: float) -> None:
    """Make the limits of percentiles `slack` times as long."""
    time = app["constraints"]["time"]
    time |= {name: f"{float(limit[:-3]) * slack} ms" for name, limit in time.items() if name.startswith("p")}


def _fan_out(components: dict[str, Any], draw: random.Random) -> None:
    """Let one of the components run per item of what it takes, where any may."""
    allowed = [c for c in components if _may_fan_out(components, c)]
    if allowed:
        chosen = components[draw.choice(allowed)]
        chosen["per"] = chosen["inputs"]["x"]


def fanned_in_batches(seed: int, most: tuple[int, ...] = (4,)) -> Situation:
    """A busier world with looser limits, of which a component that runs per item takes up to so many items at once."""
    draw = random.Random(seed)
    infra = _infrastructure(draw)
    app = _application(draw, infra)
    more = random.Random(f"batches of items {seed}")
    _fan_out(app["components"], more)
    for spec in infra["hardware"].values():
        spec["sharing"] = more.choice([spec.get("sharing", "cores"), "cores"])
    peak = float(app["sources"]["src"]["rate"]["peak"].split("/")[0]) * more.choice([1, 4])
    app["sources"]["src"]["rate"] = {"mean": f"{peak / 4}/s", "peak": f"{peak}/s"}
    slack, wait = more.choice([1.5, 2.5, 4.0]), more.choice(["0 ms", "0 ms", "5 ms", "20 ms"])
    _loosen(app, slack)
    for spec in app["components"].values():
        if "per" in spec or more.random() < 0.2:
            spec["batch"] = {"max": more.choice(most), "wait": wait}
    given = facts(document(app, Application, "app.yaml"), document(infra, Infrastructure, "infra.yaml"), draw)
    return _in_batches(given, more)


def fanned_and_cut(seed: int) -> Situation:
    """A world of loose limits in which a model that runs per item is slow and large whole: plans cut it."""
    draw = random.Random(seed)
    infra = _infrastructure(draw)
    app = _application(draw, infra)
    more = random.Random(f"cut items {seed}")
    components = app["components"]
    _fan_out(components, more)
    per = [c for c, spec in components.items() if "per" in spec]
    for c in per:
        components[c]["split"] = {
            "at": ["cut_a"] if "model" in components[c] else [{"small": "cut_a", "large": "cut_a"}]
        }
        components[c].pop("at", None)
    _loosen(app, more.choice([2, 3, 5]))
    given = facts(document(app, Application, "app.yaml"), document(infra, Infrastructure, "infra.yaml"), draw)
    return _slow_whole(given, per)


def fanned_behind_a_gate(seed: int) -> Situation | None:
    """A world in which a gated component runs per item and another gathers; None where that seed has no gate."""
    draw = random.Random(seed)
    infra = _infrastructure(draw)
    app = _application(draw, infra)
    names = list(app["components"])
    gated = next((name for name in names if "when" in app["components"][name]), None)
    if gated is None:
        return None
    chosen, after = app["components"][gated], app["components"][names[names.index(gated) + 1]]
    chosen["per"] = chosen["inputs"]["x"]
    gather = {"model": "gather.onnx", "inputs": {"x": f"{gated}.out"}, "outputs": {"out": "f32[8]", "sure": "bool"}}
    app["components"]["gather"] = gather
    after["inputs"]["x"] = {"from": "gather.out", "if_skipped": 0}
    return facts(document(app, Application, "app.yaml"), document(infra, Infrastructure, "infra.yaml"), draw)


def encoded(seed: int) -> Situation:
    """A world in which one model, gated or of several variants where there is such a one, is cut with codecs between;
    of some, standbys are asked for."""
    draw = random.Random(seed)
    infra = _infrastructure(draw)
    app = _application(draw, infra)
    more = random.Random(f"codec {seed}")
    components = app["components"]
    for spec in components.values():
        spec.pop("split", None)
    gated, varied = ([c for c in components if key in components[c]] for key in ("when", "variants"))
    name = more.choice([*gated, *varied] or list(components))
    chosen = components[name]
    codec = more.choice([["none", "zlib"], ["none", "int8"], ["none", "zlib", "int8"], ["zlib"]])
    chosen["split"] = {"at": ["cut_a"], "codec": codec}
    chosen.pop("at", None)
    if more.random() < 0.4:
        chosen["standby"] = 1
    _loosen(app, more.choice([1.5, 3.0, 5.0]))
    app["constraints"].pop("budget", None)
    given = facts(document(app, Application, "app.yaml"), document(infra, Infrastructure, "infra.yaml"), draw)
    if more.random() < 0.5:
        return given
    return _slow_whole(given, [name])


def _slow_whole(given: Situation, components: list[str]) -> Situation:
    """With models that are slow and large whole, so that plans cut them."""
    sources = {given.digests[key] for key in given.digests if key.partition("/")[0] in components}
    whole = {"latency": spread(2.0, 0.1), "memory": 5e9}
    slow = [r.source in sources and r.segment == ".." for r in given.records]
    records = [r.model_copy(update=whole) if s else r for r, s in zip(given.records, slow, strict=True)]
    return situation_of(given.app, given.infra, records, given.behaviours, given.hops, dict(given.digests))


def forked(seed: int) -> Situation:
    """A world whose requests branch and join again, mostly on devices that share their time."""
    draw = random.Random(seed)
    infra = _infrastructure(draw)
    app = _application(draw, infra)
    more = random.Random(f"fork {seed}")
    for name, spec in infra["hardware"].items():
        spec["sharing"] = "time" if name == "small" else more.choice(["time", "time", "cores"])
    for site in infra["sites"].values():
        for pool in site["pools"].values():
            if infra["hardware"][pool["hardware"]]["sharing"] == "time" and pool["devices"] != 1:
                pool["devices"] = "0..1"
    components = app["components"]
    if not any("when" in spec for spec in components.values()):
        names = list(components)
        for j in more.sample(range(1, len(names)), more.randint(1, min(2, len(names) - 1))):
            components[names[j]]["inputs"]["x"] = components[names[j - 1]]["inputs"]["x"]
            joins = components[names[j + 1]] if j + 1 < len(names) else app["sinks"]["out"]
            joins["inputs"]["w"] = f"{names[j - 1]}.out"
    _loosen(app, more.choice([1.0, 1.0, 1.5, 2.5]))
    return facts(document(app, Application, "app.yaml"), document(infra, Infrastructure, "infra.yaml"), draw)


def serial(seed: int) -> Situation:
    """A busy world whose pools, mostly, are of several devices that share their time."""
    draw = random.Random(seed)
    infra = _infrastructure(draw)
    app = _application(draw, infra)
    more = random.Random(f"serial {seed}")
    for name, power in (("small", "0..3 W"), ("large", more.choice(["30..90 W", "5..60 W"]))):
        infra["hardware"][name] |= {"power": power, "sharing": more.choice(["time", "time", "time", "cores"])}
    infra["hardware"]["micro"]["sharing"] = more.choice(["time", "time", "cores"])
    for site in infra["sites"].values():
        for pool in site["pools"].values():
            pool["devices"] = more.choice(["0..1", "0..2", "0..3", "1..2", "2..3", 2])
    (source,) = app["sources"].values()
    peak = float(source["rate"]["peak"].split("/")[0]) * more.choice([1, 4, 10, 25])
    source["rate"] = {"mean": f"{peak / 4}/s", "peak": f"{peak}/s"}
    constraints = app["constraints"]
    _loosen(app, more.choice([1, 2, 4]))
    if more.random() < 0.7:
        constraints.pop("budget", None)
    if more.random() < 0.3:
        constraints["crowd"] = {"throughput": f">= {peak * more.choice([1.2, 1.5, 2.0])}/s"}
    if more.random() < 0.3:
        orders = [["throughput", "cost"], ["cost", "throughput"], ["throughput"], ["energy", "throughput"]]
        app["objective"] = more.choice(orders)
    if more.random() < 0.3:
        constraints["room"] = {"memory": f"<= {more.choice([120, 200, 300])} MB"}
    return facts(document(app, Application, "app.yaml"), document(infra, Infrastructure, "infra.yaml"), draw)


def twins(seed: int) -> Situation:
    """A world of two regions alike, whose answers go to the base station of their own."""
    draw = random.Random(seed)
    infra = _infrastructure(draw)
    app = _application(draw, infra)
    sites, links = infra["sites"], infra["links"]
    sites["base2"] = dict(sites["base"])
    sites["edge2"] = sites["edge"] | {"count": f"{random.Random(f'twins {seed}').choice([1, 3])} per base2"}
    links["radio2"] = links["radio"] | {"between": ["edge2", "base2"]}
    if "shared" in links["radio"]["up"]:
        up = links["radio"]["up"]
        links["radio2"]["up"] = up | {"shared": up["shared"] | {"by": "base2"}}
    if "back" in links:
        links["back2"] = links["back"] | {"between": ["base2", "cloud"]}
    app["sources"]["src"]["at"] = {"tier": "edge"}
    app["sinks"]["out"]["at"] = {"tier": "base"}
    return facts(document(app, Application, "app.yaml"), document(infra, Infrastructure, "infra.yaml"), draw)


def careful(seed: int) -> Situation:
    """A world with accuracy among its objectives."""
    draw = random.Random(seed)
    infra = _infrastructure(draw)
    app = _application(draw, infra)
    orders = [["accuracy", "cost"], ["cost", "accuracy"], ["accuracy", {"latency": "time"}, "cost"], ["accuracy"]]
    app["objective"] = random.Random(f"accuracy {seed}").choice(orders)
    return facts(document(app, Application, "app.yaml"), document(infra, Infrastructure, "infra.yaml"), draw)


def _infrastructure(draw: random.Random) -> dict[str, Any]:
    fanout = draw.choice([1, 2, 5])
    bases = draw.choice([1, 2])
    time_edge = draw.random() < 0.5
    hardware = {
        "small": {
            "cores": 1,
            "memory": f"{draw.choice([90, 150, 400])} MB",
            "sharing": "time" if time_edge else "cores",
        },
        "micro": {
            "cores": 2,
            "memory": f"{draw.choice([120, 1000])} MB",
            "price": f"{draw.choice([0.01, 0.03])}/h",
            "power": "4..9 W",
        },
        "large": {"cores": draw.choice([2, 4]), "memory": "4 GB", "price": f"{draw.choice([0.04, 0.09])}/h"},
    }
    sites: dict[str, Any] = {
        "edge": {
            "tier": "edge",
            "count": f"{fanout} per base",
            "labels": {"region": "eu"},
            "pools": {"soc": {"hardware": "small", "devices": draw.choice([1, "0..1"]), "owned": True}},
        },
        "base": {
            "tier": "base",
            "count": bases,
            "electricity": "0.25/kWh",
            "labels": {"region": "eu"},
            "pools": {"rack": {"hardware": "micro", "devices": draw.choice(["0..1", "0..2"])}},
        },
    }
    link = {"delay": {"mean": f"{draw.choice([3, 8])} ms", "jitter": f"{draw.choice([0, 1])} ms"}}
    rate = draw.choice([4, 10, 40])
    links: dict[str, Any] = {
        "radio": {"between": ["edge", "base"], **link, "up": {"rate": f"{rate} Mbit/s"}, "down": {"rate": "40 Mbit/s"}},
    }
    if draw.random() < 0.4:
        links["radio"]["up"]["shared"] = {"by": "base", "rate": f"{draw.choice([10, 40])} Mbit/s"}
    if draw.random() < 0.7:
        sites["cloud"] = {
            "tier": "cloud",
            "labels": {"region": draw.choice(["eu", "us"])},
            "pools": {"vm": {"hardware": "large", "devices": "0..3"}},
        }
        egress = f"{draw.choice([0, 0.05])}/GB"
        links["back"] = {"between": ["base", "cloud"], "delay": "12 ms", "rate": "100 Mbit/s", "egress": egress}
    return {"schema": "tierplan.infra/v1", "currency": "USD", "hardware": hardware, "sites": sites, "links": links}


def _application(draw: random.Random, infra: dict[str, Any]) -> dict[str, Any]:
    """A chain, perhaps with a gated middle, perhaps cut, perhaps with two variants of one component."""
    n = draw.choice([2, 2, 3, 3, 3, 4, 5] if "cloud" not in infra["sites"] else [2, 2, 3, 3, 4])
    names = [f"c{i}" for i in range(n)]
    components: dict[str, Any] = {}
    for i, name in enumerate(names):
        source = "src.photo" if i == 0 else f"{names[i - 1]}.out"
        components[name] = {
            "model": f"{name}.onnx",
            "inputs": {"x": source},
            "outputs": {"out": "f32[8]", "sure": "bool"},
        }
    if n >= 3 and draw.random() < 0.5:
        gated = draw.randrange(1, n - 1)
        components[names[gated]]["when"] = f"not {names[gated - 1]}.sure"
        last = components[names[gated + 1]]["inputs"]
        last["x"] = {"from": f"{names[gated]}.out", "if_skipped": 0}
        last["y"] = f"{names[gated - 1]}.out"
    if n >= 3 and draw.random() < 0.3:
        components[names[-1]]["inputs"]["z"] = "src.note"
    if draw.random() < 0.5:
        chosen = draw.choice(names)
        del components[chosen]["model"]
        components[chosen]["variants"] = {v: {"model": f"{chosen}_{v}.onnx"} for v in ("small", "large")}
    if n <= 3 and draw.random() < 0.35:
        components[draw.choice(names)]["split"] = {"at": ["cut_a"]}
    if draw.random() < 0.2:
        components[draw.choice(names)]["at"] = {"tier": draw.choice([s["tier"] for s in infra["sites"].values()])}
    slow = draw.choice([30, 45, 70, 110, 180, 300])
    limits = {
        f"p{q}": f"{limit} ms"
        for q, limit in draw.choice(
            [
                ((99, slow * 1.3),),
                ((95, slow),),
                ((50, slow * 0.6), (99, slow * 1.4)),
                ((99, slow * 1.2),),
            ]
        )
    }
    over: Any = "all"
    gated_names = [c for c, spec in components.items() if "when" in spec]
    if gated_names and draw.random() < 0.2:
        over = {"when": gated_names[0]}
    constraints: dict[str, Any] = {"time": {"from": "src", "to": "out", **limits, "over": over}}
    if draw.random() < 0.5:
        constraints["budget"] = {"cost": f"<= {draw.choice([16, 30, 50, 90, 150])} USD/month"}
    if draw.random() < 0.4:
        constraints["quality"] = {"accuracy": f">= {draw.choice([0.6, 0.8, 0.9, 0.94])}", "on": "held_out"}
    if draw.random() < 0.25:
        constraints["privacy"] = {"value": "src.photo", "only_at": {"region": "eu"}}
    at: dict[str, str] = {"tier": "edge"}
    if n == 2 and draw.random() < 0.3:
        at = {"region": "eu"}
    objective: list[Any] = draw.choice([["cost"], ["cost", {"latency": "time"}], [{"latency": "time"}, "cost"]])
    peak = draw.choice([0.5, 2, 4, 8])
    return {
        "schema": "tierplan.app/v1",
        "name": "random",
        "sources": {
            "src": {
                "at": at,
                "rate": {"mean": f"{peak / 4}/s", "peak": f"{peak}/s"},
                "values": {
                    "photo": {"type": "jpeg", "size": {"p50": "10 kB", "p99": "30 kB"}},
                    "note": {"type": "string", "size": "60 B"},
                },
            }
        },
        "components": components,
        "sinks": {"out": {"at": "origin", "inputs": {"y": f"{names[-1]}.out"}}},
        "data": {"held_out": {"file": "held_out.jsonl", "label": "y"}},
        "constraints": constraints,
        "objective": objective,
    }


def facts(app: Document[Application], infra: Document[Infrastructure], draw: random.Random) -> Situation:
    """Records, behaviours and hop overheads for `app` on `infra`, drawn at random."""
    digests = {"data:held_out": "d0"}
    records: list[Record] = []
    pace = {"small": draw.choice([2.0, 4.0]), "micro": 1.0, "large": draw.choice([0.3, 0.6])}
    for name, component in app.value.components.items():
        for variant in component.realisations:
            source = digests[f"{name}/{variant}"] = digest_bytes(f"{name}/{variant}".encode())
            work = draw.choice([1, 3, 8, 20]) * 1e-3 * (2.5 if variant == "large" else 1.0)
            parts = {"..": 1.0}
            if component.split:
                parts |= {"..cut_a": 0.45, "cut_a..": 0.6}
            for hardware, factor in pace.items():
                for segment, share in parts.items():
                    memory = draw.choice([2e7, 6e7, 8e7])
                    mean = work * factor * share
                    records.append(
                        record(source, hardware, mean, segment=segment, memory=memory, cv=draw.choice([0.1, 0.3, 0.6]))
                    )
                    if hardware == "large" and draw.random() < 0.3:
                        records.append(record(source, hardware, mean * 0.6, segment=segment, threads=2, memory=memory))
                    if draw.random() < 0.3:
                        records.append(
                            record(
                                source,
                                hardware,
                                mean * draw.choice([0.8, 1.5]),
                                segment=segment,
                                backend="tvm",
                                memory=memory * 2,
                            )
                        )
    behaviours = _behaviours(app, digests, draw)
    records += _encoding(app, digests, records)
    behaviours += [of for b in behaviours for of in _encoded(app, b)]
    return situation_of(app, infra, records, behaviours, hops(), digests)


_CODED = {"zlib": (0.7, 0.0), "int8": (0.25, 0.1)}
"""Of each codec, the share of the bytes that it leaves, and the share of answers that it makes wrong."""


def _encoding(app: Document[Application], digests: Mapping[str, str], records: list[Record]) -> list[Record]:
    """The parts of cut models with codecs: a little slower than those without."""
    codecs = {
        digests[f"{c}/{v}"]: spec.encodings for c, spec in app.value.components.items() for v in spec.realisations
    }
    found: list[Record] = []
    for one in (r for r in records if "cut_a" in r.segment):
        for codec in codecs[one.source]:
            segment = one.segment.replace("cut_a", encoded_name("cut_a", codec))
            artefact = digest_bytes(f"{one.artefact} {codec}".encode())
            update = {"segment": segment, "latency": one.latency.times(1.1), "artefact": artefact}
            found.append(one.model_copy(update=update))
    return found


def _encoded(app: Document[Application], plain: Behaviour) -> list[Behaviour]:
    """What requests do with each codec at the cut of one component."""
    found: list[Behaviour] = []
    for name, spec in app.value.components.items():
        for codec in spec.encodings:
            left, wrong = _CODED[codec]
            wire, was = encoded_name("cut_a", codec), plain.payloads[f"{name}@cut_a"]
            (known,) = plain.accuracy
            value = known.value - wrong
            accuracy = known.model_copy(update={"value": value, "low": value - 0.02, "high": value + 0.02})
            update = {
                "encoded": {name: (wire,)},
                "payloads": plain.payloads | {f"{name}@{wire}": payload(was.mean * left, 0.05)},
                "accuracy": (accuracy,),
            }
            found.append(plain.model_copy(update=update))
    return found


def _behaviours(app: Document[Application], digests: dict[str, str], draw: random.Random) -> list[Behaviour]:
    components = app.value.components
    chosen = next((c for c, spec in components.items() if spec.variants), None)
    found: list[Behaviour] = []
    sizes = {"src.photo": payload(draw.choice([1e4, 4e4]), 0.4), "src.note": payload(60, 0.1)}
    for name in components:
        sizes[f"{name}.out"] = payload(draw.choice([100, 3e3, 2e4]), draw.choice([0.05, 0.3]))
        sizes[f"{name}.sure"] = payload(40, 0.05)
        sizes[f"{name}@cut_a"] = payload(draw.choice([2e3, 2e4]), 0.05)
    for variant in ("small", "large") if chosen else ("default",):
        variants = {c: (variant if c == chosen else "default") for c in components}
        patterns: list[BranchPattern] = []
        gated = [c for c, spec in components.items() if spec.when]
        p = draw.choice([0.3, 0.8]) if gated else 1.0
        for probability, opened in ((p, True), (1 - p, False)):
            if probability > 0:
                gates = {c: opened != components[c].when.negated for c in gated}  # type: ignore[union-attr]
                runs = Graph(app.value).runs(gates)
                patterns.append(
                    BranchPattern(source="src", runs=runs, probability=probability, count=round(1000 * probability))
                )
        patterns = [_with_items(components, p, n) for p in patterns for n in _counts(components, digests)]
        right = {"default": 0.93, "small": draw.choice([0.7, 0.85]), "large": 0.95}[variant]
        accuracy = Accuracy(data="held_out", value=right, low=right - 0.02, high=right + 0.02, n=1000)
        inputs = {f"{c}/{v}": digests[f"{c}/{v}"] for c, v in variants.items()} | {
            "data:held_out": digests["data:held_out"]
        }
        found.append(
            Behaviour(
                variants=variants,
                patterns=tuple(patterns),
                payloads=sizes,
                accuracy=(accuracy,),
                items=1000,
                inputs=inputs,
                measured_at=WHEN,
            )
        )
    return found


def _may_fan_out(components: Mapping[str, Any], name: str) -> bool:
    """Whether it takes a value whatever the gates, nobody has a number in place of its own, and it decides no gate."""
    spec = components[name]
    if "when" in spec or not isinstance(spec["inputs"]["x"], str):
        return False
    decided = [other.get("when", "") for other in components.values()]
    instead = [
        ref["from"] for other in components.values() for ref in other["inputs"].values() if isinstance(ref, dict)
    ]
    return not any(f"{name}." in text for text in (*decided, *instead))


def _counts(components: Mapping[str, Any], digests: Mapping[str, str]) -> list[tuple[int, float] | None]:
    """How many items there are with which probability; one None where nothing runs per item."""
    if not any(spec.per for spec in components.values()):
        return [None]
    draw = random.Random(f"items {sorted(digests.values())[0]} {len(digests)}")
    counts = draw.sample([0, 1, 2, 3, 5, 8], draw.choice([1, 2, 3]))
    return [(n, 1 / len(counts)) for n in counts]


def _with_items(
    components: Mapping[str, Any], pattern: BranchPattern, count: tuple[int, float] | None
) -> BranchPattern:
    if count is None:
        return pattern
    n, p = count
    items = {c: n for c in pattern.runs if components[c].per}
    return pattern.model_copy(update={"items": items or None, "probability": pattern.probability * p})
