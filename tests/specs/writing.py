"""Writes small applications and infrastructures for tests, with one thing changed at a time."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from specs.application import Application
from specs.check import Signatures, check
from specs.errors import Issue
from specs.infrastructure import Infrastructure
from specs.load import Document, load_application, load_infrastructure

APP = """\
schema: tierplan.app/v1
name: small
sources:
  ask:
    at: {tier: edge}
    rate: 1/s
    values:
      text: {type: string, size: 80 B}
components:
  split:
    function: steps:split
    inputs: {text: ask.text}
    outputs: {ids: "i64[16]", short: bool}
  embed:
    when: not split.short
    function: steps:embed
    inputs: {ids: split.ids}
    outputs: {vector: "f32[8]"}
  decide:
    function: steps:decide
    inputs:
      ids: split.ids
      vector: {from: embed.vector, if_skipped: 0}
    outputs: {verdict: "i64[1]"}
sinks:
  answer: {at: origin, inputs: {verdict: decide.verdict}}
constraints:
  answer_time: {from: ask, to: answer, p99: 200 ms}
objective: [cost, {latency: answer_time}]
"""

INFRA = """\
schema: tierplan.infra/v1
hardware:
  phone: {cores: 1, sharing: time, emulate: {cpu: 0.2}}
  server: {cores: 2, price: 0.1/h, emulate: {cpu: 1}}
sites:
  phones:
    tier: edge
    count: 10 per bases
    pools: {soc: {hardware: phone, devices: 1, owned: true}}
  bases:
    tier: base_station
    count: 2
    labels: {region: eu}
    pools: {rack: {hardware: server, devices: 0..2}}
  cloud:
    tier: cloud
    labels: {region: us}
    pools: {vm: {hardware: server, devices: 0..9}}
links:
  radio: {between: [phones, bases], delay: 5 ms, rate: 10 Mbit/s}
  fibre: {between: [bases, cloud], delay: 20 ms, rate: 1 Gbit/s}
"""

STEPS = "def split(text): ...\n\ndef embed(ids): ...\n\ndef decide(ids, vector): ...\n"


def changed(text: str, *changes: tuple[str, str]) -> str:
    """`text` with each first occurrence replaced; a change that changes nothing is a mistake of the test."""
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    return text


def write(folder: Path, app: str = APP, infra: str = INFRA) -> tuple[Path, Path]:
    """The two files in `folder`, with the functions that the application names."""
    files = folder / "app.yaml", folder / "infra.yaml"
    for file, text in zip(files, (app, infra), strict=True):
        file.write_text(text, "utf-8")
    (folder / "steps.py").write_text(STEPS, "utf-8")
    return files


def load(folder: Path, app: str = APP, infra: str = INFRA) -> tuple[Document[Application], Document[Infrastructure]]:
    files = write(folder, app, infra)
    return load_application(files[0]), load_infrastructure(files[1])


def lines(issues: Iterable[Issue]) -> list[str]:
    """Issues as shown, with the file's name alone."""
    return [str(i).replace(f"{Path(i.place.file).parent}/", "") if i.place else str(i) for i in issues]


def problems(folder: Path, app: str = APP, infra: str = INFRA, signatures: Signatures | None = None) -> list[str]:
    return lines(check(*load(folder, app, infra), signatures))
