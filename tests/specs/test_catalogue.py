"""The catalogue: complete, dated, sourced; and what a class takes from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from specs.catalogue import LIFE_HOURS, PREFIX, catalogue
from specs.errors import InputError
from specs.load import load_infrastructure
from tests.specs.writing import INFRA, changed

PHONE = "phone: {cores: 1, sharing: time, emulate: {cpu: 0.2}}"


def load(folder: Path, phone: str, currency: str = "USD") -> object:
    file = folder / "infra.yaml"
    file.write_text(changed(INFRA, (PHONE, phone), ("hardware:", f"currency: {currency}\nhardware:")), "utf-8")
    return load_infrastructure(file).value.hardware["phone"]


def test_there_are_at_least_sixty_entries_over_all_kinds_and_three_clouds() -> None:
    entries = catalogue().entries.values()
    priced = [e for e in entries if e.per_hour is not None]
    assert len(priced) >= 60
    assert {e.kind for e in priced} == {"phone", "single_board", "edge_server", "cloud_cpu", "cloud_gpu"}
    for kind in ("cloud_cpu", "cloud_gpu"):
        assert {e.source for e in entries if e.kind == kind} == {"aws", "azure", "gcp"}


def test_every_entry_that_is_no_generic_class_has_a_price_and_every_gpu_a_name() -> None:
    for name, entry in catalogue().entries.items():
        assert (entry.kind == "generic") == (entry.per_hour is None), name
        assert (entry.gpu is None) == (not entry.gpu_title), name
        assert entry.kind != "cloud_gpu" or entry.gpu is not None, name


def test_a_class_takes_what_it_does_not_say_itself(tmp_path: Path) -> None:
    entry = catalogue().entries["pi-4-4gb"]
    taken = load(tmp_path, "phone: {use: catalog/pi-4-4gb, cores: 2, emulate: {cpu: 0.2}}")
    assert (taken.cores, taken.memory, taken.power) == (2, entry.memory, entry.power)  # type: ignore[attr-defined]
    assert taken.price == pytest.approx(55 / LIFE_HOURS)  # type: ignore[attr-defined]
    own = load(tmp_path, "phone: {use: catalog/pi-4-4gb, price: 0, emulate: {cpu: 0.2}}")
    assert own.price == 0  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "near"),
    [("catalog/pi-4-4g", "catalog/pi-4-4gb"), ("catalogue/pixel-8", "catalog/pixel-8"), ("pixel-8", "catalog/pixel-8")],
)
def test_an_unknown_name_is_refused_at_its_line_with_the_nearest_one(tmp_path: Path, name: str, near: str) -> None:
    with pytest.raises(InputError, match=rf"infra.yaml:4:11: the catalogue has no '{name}' \(did you mean '{near}'"):
        load(tmp_path, f"phone: {{use: {name}}}")


def test_a_price_in_another_currency_is_not_taken_for_ours(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the price of 'catalog/pixel-8' is in USD, not EUR \(give price: here\)"):
        load(tmp_path, "phone: {use: catalog/pixel-8}", "EUR")
    assert load(tmp_path, "phone: {use: catalog/pixel-8, price: 0.1/h}", "EUR").cores == 4  # type: ignore[attr-defined]


def test_the_digest_of_a_file_that_uses_the_catalogue_covers_the_entries(tmp_path: Path) -> None:
    plain, using = tmp_path / "plain.yaml", tmp_path / "using.yaml"
    plain.write_text(INFRA, "utf-8")
    using.write_text(changed(INFRA, (PHONE, f"phone: {{use: {PREFIX}pixel-8}}")), "utf-8")
    from specs.digest import digest_file

    assert load_infrastructure(plain).digest == digest_file(plain)
    assert load_infrastructure(using).digest != digest_file(using)
