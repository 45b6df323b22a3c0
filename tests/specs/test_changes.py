"""What-ifs: a change means what the file would mean, and what is wrong with it is said at the option."""

from __future__ import annotations

from pathlib import Path

import pytest

from specs.changes import Changes, parse_changes
from specs.errors import InputError
from specs.load import load_application, load_infrastructure
from tests.planner.blog import FOLDER

APP, INFRA = FOLDER / "app.yaml", FOLDER / "infra.yaml"


def load(text: str) -> None:
    changes = parse_changes([text])
    load_application(APP, changes.app)
    load_infrastructure(INFRA, changes.infra)


def complaint(text: str) -> str:
    """The one error that loading with this change gives."""
    with pytest.raises(InputError) as caught:
        load(text)
    (issue,) = caught.value.issues
    return str(issue)


def test_a_change_goes_to_its_file_and_is_read_in_its_units() -> None:
    changes = parse_changes(
        [
            "link.lte.delay=80ms",
            "hardware.c2.price=0.1/h",
            "constraint.answer_time.p99=400ms",
            "source.upload.rate=80/h",
        ]
    )
    infra, app = load_infrastructure(INFRA, changes.infra), load_application(APP, changes.app)
    assert (infra.value.links["lte"].delay.mean, infra.value.links["lte"].delay.jitter) == (0.08, 0.0)
    assert infra.value.hardware["c2"].price == 0.1
    assert app.value.constraints["answer_time"].p99 == 0.4  # type: ignore[union-attr]
    assert app.value.sources["upload"].rate.mean == app.value.sources["upload"].rate.peak
    assert app.changes == ("constraint.answer_time.p99=400ms", "source.upload.rate=80/h")


def test_a_change_below_a_value_in_short_keeps_the_rest() -> None:
    short = parse_changes(["link.lte.delay=80ms", "link.lte.delay.jitter=2ms"])
    infra = load_infrastructure(INFRA, short.infra)
    assert (infra.value.links["lte"].delay.mean, infra.value.links["lte"].delay.jitter) == (0.08, 0.002)


def test_a_change_of_one_direction_s_rate_is_as_if_the_file_had_it(tmp_path: Path) -> None:
    text = "schema: tierplan.infra/v1\nhardware: {h: {cores: 1, emulate: {cpu: 1}}}\nsites:\n"
    text += "".join(
        f"  {s}: {{tier: {s}, pools: {{p: {{hardware: h, devices: 1, owned: true}}}}}}\n" for s in ("edge", "cloud")
    )
    for up in ("5 Mbit/s", "{rate: 5 Mbit/s}"):
        file = tmp_path / "infra.yaml"
        file.write_text(f"{text}links: {{l: {{between: [edge, cloud], up: {up}, down: 9 Mbit/s}}}}\n", "utf-8")
        infra = load_infrastructure(file, parse_changes(["link.l.up.rate=10 Mbit/s"]).infra)
        link = infra.value.links["l"]
        assert link.up is not None
        assert link.down is not None
        assert (link.up.rate, link.down.rate) == (10e6 / 8, 9e6 / 8)


def test_the_digest_tells_what_ifs_apart_from_the_file() -> None:
    plain = load_infrastructure(INFRA)
    one, other = (load_infrastructure(INFRA, parse_changes([f"hardware.c2.price={p}/h"]).infra) for p in (1, 2))
    assert len({plain.digest, one.digest, other.digest}) == 3
    assert load_infrastructure(INFRA, Changes().infra).digest == plain.digest


def test_lines_of_the_file_stay_where_they_are() -> None:
    plain = load_application(APP)
    changed = load_application(APP, parse_changes(["constraint.answer_time.p99=1 s"]).app)
    path = ("constraints", "answer_time", "p99")
    assert changed.place(*path) == plain.place(*path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lnk.lte.delay=80ms", "unknown word 'lnk' (did you mean 'link'?)"),
        ("link.let.delay=80ms", "links: unknown word 'let' (did you mean 'lte'?)"),
        ("hardware.c2.prise=1/h", "hardware.c2: unknown word 'prise' (did you mean 'price'?)"),
        ("constraint.answer_time.p9=1 s", "(did you mean 'p99'?)"),
        ("constraint.answer_time.p99=1 mss", "did you mean 'ms'?"),
        ("link.lte.up.rate=0", "links.lte.up: expected a rate above zero"),
        ("hardware.c2.price=1 EUR/h", "'1 EUR/h' is in EUR; expected USD"),
        ("hardware.c2.price.x=1", "price is one value"),
        ("link.backhaul.up.shared.rate=1 Mbit/s", "'shared' is not in the file"),
        ("component.vision.split.at.7=x", "expected an index below 1"),
        ("link.lte.delay", "expected PATH=VALUE"),
        ("link..delay=1ms", "expected PATH=VALUE"),
        ("link.lte.delay=", "expected PATH=VALUE"),
        ("link.lte.delay={a", "not valid YAML"),
        ("link.lte.delay=!!python/object:os.system x", "YAML tags are refused"),
    ],
)
def test_what_is_wrong_is_said_at_the_option_with_the_nearest_word(text: str, said: str) -> None:
    message = complaint(text)
    assert message.startswith(f"--set {text}: ")
    assert said in message
