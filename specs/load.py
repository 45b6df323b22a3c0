"""Loads spec files: YAML -> models, with every error of a file at its line and column."""

from __future__ import annotations

import types
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Final, Generic, TypeVar, Union, cast, get_args, get_origin

from pydantic import BaseModel, Discriminator, Tag, ValidationError

from specs.application import Application
from specs.base import Spec
from specs.catalogue import digest_with_entries, resolve
from specs.changes import Change, changed
from specs.clusters import Clusters
from specs.digest import digest_file, digest_value
from specs.errors import InputError, Issue, Place
from specs.infrastructure import Infrastructure
from specs.kinds import another_kind, kind_of
from specs.nearest import SIMILAR, near
from specs.quantities import currency_of
from specs.refusal import problem
from specs.yamlfile import YamlFile, read_yaml

MOST_ISSUES: Final = 50
"""Told of one file; the rest is counted."""

_CONSTRAINT: Final = "as in {from: SOURCE, to: SINK, p99: 500 ms} or {cost: '<= 90 USD/month'}"

S = TypeVar("S", bound=Spec)


@dataclass(frozen=True, slots=True)
class Document(Generic[S]):
    """A loaded spec: its `value`, the file it came from with places, and the file's digest.

    `changes` are what-ifs that the file does not say; they count in the digest.
    """

    value: S
    yaml: YamlFile
    digest: str
    changes: tuple[str, ...] = ()

    @property
    def file(self) -> str:
        return self.yaml.file

    @property
    def folder(self) -> Path:
        """The folder of the file, which paths in it are relative to."""
        return Path(self.yaml.file).resolve().parent

    def place(self, *path: str | int) -> Place:
        return self.yaml.place(*path)


def load_application(file: str | Path, changes: Sequence[Change] = ()) -> Document[Application]:
    """The application, with `changes` made. Raises InputError with every issue found in the file or in them."""
    document = Document(_valid(read := read_yaml(file), Application), read, digest_file(file))
    return with_changes(document, changes)


def load_infrastructure(file: str | Path, changes: Sequence[Change] = ()) -> Document[Infrastructure]:
    """The infrastructure, with what the catalogue says of the classes that use it, and with `changes` made.

    Raises InputError with every issue found in the file or in them, prices in another currency included.
    """
    value = _whole(read := read_yaml(file), Infrastructure)
    return with_changes(Document(value, read, digest_with_entries(digest_file(file), value)), changes)


def load_clusters(file: str | Path, infra: Infrastructure) -> Document[Clusters]:
    """The clusters for `infra`. Raises InputError with every issue found in the file: also a site that the
    infrastructure has not, one that two clusters have, and one that none has.
    """
    read = read_yaml(file)
    document = Document(_valid(read, Clusters), read, digest_file(file))
    issues: list[Issue] = []
    owners: dict[str, str] = {}
    for name, cluster in document.value.clusters.items():
        for index, site in enumerate(cluster.sites):
            place = document.place("clusters", name, "sites", index)
            if site not in infra.sites:
                issues.append(Issue(f"there is no site {site!r}", place, near(site, infra.sites)))
            elif site in owners:
                issues.append(Issue(f"the site {site!r} is in the cluster {owners[site]} already", place))
            owners.setdefault(site, name)
    if missing := [site for site in infra.sites if site not in owners]:
        issues.append(Issue(f"no cluster has the site {missing[0]!r}", document.place("clusters")))
    if issues:
        raise InputError(*issues)
    return document


def with_changes(document: Document[S], changes: Sequence[Change]) -> Document[S]:
    """`document` with `changes` made. What stands in the file keeps its place.

    Raises InputError for a change that names nothing, or gives what is not valid, naming it.
    """
    if not changes:
        return document
    model = type(document.value)
    read = changed(document.yaml, changes, lambda path: _keys(model, path))
    value = _whole(read, model)
    said = tuple(change.text for change in changes)
    kept = YamlFile(read.value, document.yaml.places, document.file)
    digest = digest_value([document.digest, *said])
    if isinstance(value, Infrastructure):
        digest = digest_with_entries(digest, value)
    return Document(value, kept, digest, (*document.changes, *said))


def _whole(read: YamlFile, model: type[S]) -> S:
    """What `read` says and, of an infrastructure, what the catalogue adds. Raises InputError as its callers do."""
    value = _valid(read, model)
    if not isinstance(value, Infrastructure):
        return value
    _one_currency(read, value)
    return cast(S, resolve(value, read))


def _valid(read: YamlFile, model: type[S]) -> S:
    if other := another_kind(read.value, kind_of(model), read.place("schema")):
        raise InputError(other)
    try:
        return model.model_validate(read.value)
    except ValidationError as error:
        errors = _without_misspelt(error.errors(), read, model)
        issues = {str(i): i for i in (_issue(e, read, model) for e in errors[:MOST_ISSUES])}
        ordered = sorted(issues.values(), key=lambda i: (i.place.line, i.place.column) if i.place else (0, 0))
        if (more := len(errors) - MOST_ISSUES) > 0:
            ordered.append(Issue(f"and {more:,} more issues in this file", Place(read.file)))
        raise InputError(*ordered) from error


def _without_misspelt(errors: list[Any], read: YamlFile, model: type[BaseModel]) -> list[Any]:
    """Without the keys that are missing because they stand there under a name that is nearly theirs."""
    meant: set[tuple[str | int, ...]] = set()
    for error in errors[:MOST_ISSUES]:  # of more, none is told one by one
        if error["type"] == "extra_forbidden":
            path, kinds = _found(error["loc"], read, model)
            known = sorted(set(_keys_of(kinds)) - {str(path[-1])})
            close = get_close_matches(str(path[-1]), known, n=1, cutoff=SIMILAR)
            meant |= {(*error["loc"][:-1], key) for key in close}
    return [e for e in errors if e["type"] != "missing" or tuple(e["loc"]) not in meant]


def _one_currency(read: YamlFile, infra: Infrastructure) -> None:
    issues = _other_currencies(read, infra.currency)
    if issues:
        raise InputError(*issues)


def _issue(error: Any, read: YamlFile, model: type[BaseModel]) -> Issue:
    """One pydantic error in our words, at the place of the innermost value that stands in the file."""
    path, kinds = _found(error["loc"], read, model)
    name = ".".join(map(str, path)) or "the file"
    kind = error["type"]
    if kind == "extra_forbidden":
        known = sorted(set(_keys_of(kinds)) - {str(path[-1])})
        return Issue(f"unknown key {path[-1]!r}", read.place(*path), _nearest(str(path[-1]), known))
    if kind == "missing":
        return Issue(f"{name}: the key {error['loc'][-1]!r} is missing", read.place(*path))
    if kind in ("literal_error", "union_tag_invalid", "union_tag_not_found"):
        given = error.get("input")
        expected = error.get("ctx", {}).get("expected", "")
        if kind != "literal_error":
            return Issue(f"{name}: not a constraint that is known, got {given!r}", read.place(*path), _CONSTRAINT)
        words = [w.strip(" '") for w in expected.replace(" or ", ",").split(",")]
        return Issue(f"{name}: expected {expected}, got {given!r}", read.place(*path), _nearest(str(given), words, ""))
    hint = _keys_wanted(path, kinds) if kind in ("dict_type", "model_type", "model_attributes_type") else ""
    if kind == "list_type" and isinstance(given := error.get("input"), str):
        hint = f"as in {path[-1]}: [{given}]"
    return Issue(f"{name}: {problem(error)}", read.place(*path), hint)


def _keys_wanted(path: Sequence[str | int], around: list[Any]) -> str:
    """Which keys the mapping at `path` has, of which something else stands there; `around` is what holds it."""
    if not path:
        return ""
    if path[-1] in ("at", "only_at"):
        return f"as in {path[-1]}: {{tier: edge}}"
    known = sorted(_keys_of([inner for kind in around for inner in _step(kind, path[-1])]))
    return f"known keys: {', '.join(known)}" if known else ""


def _found(loc: Sequence[Any], read: YamlFile, model: type[BaseModel]) -> tuple[tuple[str | int, ...], list[Any]]:
    """The path in the file that pydantic's `loc` means, and what the mapping around its last key may be.

    A `loc` also holds the tag of the member of a union that was tried, which may be the name of a key as well.
    """
    path: tuple[str | int, ...] = ()
    kinds: list[Any] = [model]
    around: list[Any] = kinds
    for step in loc:
        members = [member for kind in kinds for member in _tagged(kind, step)]
        if members:
            kinds = members
        elif (*path, step) in read.places:
            path = (*path, step)
            around, kinds = kinds, [inner for kind in kinds for inner in _step(kind, step)]
    return path, around


def _tagged(annotation: Any, tag: Any) -> list[Any]:
    """The members of a union of tagged types that carry `tag`."""
    if get_origin(annotation) is not Annotated:
        return []
    inner, *marks = get_args(annotation)
    if not any(isinstance(mark, Discriminator) for mark in marks):
        return []
    members = ((member, get_args(member)[1:]) for member in get_args(inner))
    return [member for member, own in members if any(isinstance(m, Tag) and m.tag == tag for m in own)]


def _nearest(word: str, known: list[str], otherwise: str | None = None) -> str:
    near = get_close_matches(word, [k for k in known if k != word], n=1, cutoff=SIMILAR)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"known keys: {', '.join(known)}" if otherwise is None and known else otherwise or ""


def _keys(model: type[BaseModel], path: tuple[str | int, ...]) -> set[str]:
    """The keys that a mapping at `path` of `model` may have."""
    annotations: list[Any] = [model]
    for step in path:
        annotations = [inner for outer in annotations for inner in _step(outer, step)]
    return _keys_of(annotations)


def _keys_of(annotations: Sequence[Any]) -> set[str]:
    models = [m for a in annotations for m in _plain_types(a) if _is_model(m)]
    return {field.alias or name for m in models for name, field in m.model_fields.items()}


def _step(annotation: Any, step: str | int) -> list[Any]:
    """What the value `step` of a value of type `annotation` may be."""
    found: list[Any] = []
    for kind in _plain_types(annotation):
        if _is_model(kind):
            found += [field.annotation for name, field in kind.model_fields.items() if (field.alias or name) == step]
        elif get_origin(kind) is dict:
            found.append(get_args(kind)[1])
        elif get_origin(kind) in (list, tuple):
            found += [arg for arg in get_args(kind) if arg is not Ellipsis]
    return found


def _is_model(kind: Any) -> bool:
    return get_origin(kind) is None and isinstance(kind, type) and issubclass(kind, BaseModel)


def _plain_types(annotation: Any) -> list[Any]:
    """The members of a union, without what `Annotated` adds."""
    if get_origin(annotation) is Annotated:
        return _plain_types(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [kind for arg in get_args(annotation) for kind in _plain_types(arg)]
    return [annotation]


def _other_currencies(read: YamlFile, currency: str) -> list[Issue]:
    issues: list[Issue] = []

    def walk(value: Any, path: tuple[str | int, ...]) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                walk(item, (*path, key))
        elif isinstance(value, list):
            for index, item in enumerate(value):
                walk(item, (*path, index))
        else:
            other = currency_of(value)
            if other is not None and other != currency and path[-1] in ("price", "egress", "electricity", "cost"):
                issues.append(Issue(f"{value!r} is in {other}; expected {currency}", read.place(*path)))

    walk(read.value, ())
    return issues
