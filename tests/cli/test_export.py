"""`planner export`: what is written is what the runtime takes, the same for equal bundles, and without secrets."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from planner.cli.export.requirements import pinned
from planner.cli.export.shape import Shape, dns_name, shape_of
from planner.cli.main import main
from runtime.bundle import open_bundle
from runtime.cluster.settings import SETTINGS
from specs.digest import digest_file
from specs.errors import InputError
from specs.export import ExportResult
from specs.schema import json_schema
from tests.cli.calling import Called, planner

FOLDERS = ("compose", "kubernetes")


def export(folder: Path, to: str, *more: str, output: str = "out") -> Called:
    return planner("export", "bundle", "--to", to, "-o", output, *more, folder=folder)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


def documents(folder: Path) -> list[dict[str, Any]]:
    found = []
    for file in sorted(folder.glob("*.yaml")):
        found += [value for value in yaml.safe_load_all(file.read_text("utf-8")) if value["kind"] != "Kustomization"]
    return found


def of_kind(folder: Path, kind: str) -> dict[str, dict[str, Any]]:
    return {d["metadata"]["name"]: d for d in documents(folder) if d["kind"] == kind}


@pytest.fixture(scope="module")
def exported(solved_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both exports, of two phones. Not to be changed."""
    folder = tmp_path_factory.mktemp("exported")
    shutil.copytree(solved_once / "bundle", folder / "bundle")
    for to in FOLDERS:
        called = export(folder, to, "--members", "phones=2", output=to)
        assert called.code == 0, called.err
        assert called.err == ""
    return folder


@pytest.fixture
def shape(solved_once: Path) -> Shape:
    return shape_of(open_bundle(solved_once / "bundle"), "tiny", {"phones": 2}, 8000, 9000, False)


def test_equal_bundles_give_equal_files(exported: Path, tmp_path: Path) -> None:
    shutil.copytree(exported / "bundle", tmp_path / "bundle")
    for to in FOLDERS:
        assert export(tmp_path, to, "--members", "phones=2", output=to).code == 0
        assert contents(tmp_path / to) == contents(exported / to)


def test_the_answer_names_every_file_with_its_digest(exported: Path, tmp_path: Path) -> None:
    shutil.copytree(exported / "bundle", tmp_path / "bundle")
    called = export(tmp_path, "compose", "--format", "json")
    value = json.loads(called.out)
    jsonschema.validate(value, json_schema(ExportResult))
    written = {name for name in contents(tmp_path / "out") if name != "export.json"}
    assert set(value["files"]) == written
    assert all(digest_file(tmp_path / "out" / name) == digest for name, digest in value["files"].items())
    assert json.loads((tmp_path / "out" / "export.json").read_text("utf-8")) == value
    assert [m["member"] for m in value["members"] if m["head"]] == [
        "cloud-0" if len(value["members"]) > 1 else "phones-0"
    ]


def test_no_secret_and_no_path_of_this_machine_is_in_it(exported: Path) -> None:
    for to in FOLDERS:
        for name, data in contents(exported / to).items():
            if not name.startswith("image/"):
                assert str(exported).encode() not in data
                assert b"PRIVATE KEY" not in data
    assert not of_kind(exported / "kubernetes", "Secret")


def test_the_bundle_in_the_image_is_whole(exported: Path) -> None:
    for to in FOLDERS:
        bundle = open_bundle(exported / to / "image" / "bundle")
        assert contents(bundle.folder) == contents(exported / "bundle")
        image = exported / to / "image"
        copied = {
            name for name in contents(image) if name not in ("requirements-more.txt", ".dockerignore", "Dockerfile")
        }
        named = re.findall(r"^COPY (.+) \S+$", (image / "Dockerfile").read_text("utf-8"), re.MULTILINE)
        sources = {word for line in named for word in line.split()}
        assert {name.split("/")[0] for name in copied} <= sources
        assert all((image / source).exists() for source in sources)


def test_the_image_runs_the_command_with_nothing_but_what_is_in_it(exported: Path) -> None:
    """All that `planner deploy` imports is there, and no compiler."""
    image = exported / "compose" / "image"
    assert not (image / "tierplan" / "compiler").exists()
    code = (
        "import sys, planner.cli.main as m; m.application(['deploy']);"
        "import runtime.deployment.deploy, runtime.cluster.hosts, planner; print(planner.__file__);"
        "assert not any(n.split('.')[0] == 'compiler' for n in sys.modules);"
        "from importlib.metadata import version; print(version('tierplan'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd="/",
        env={"PYTHONPATH": str(image / "tierplan")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(image))


def test_every_package_is_pinned(exported: Path, shape: Shape) -> None:
    lines = (exported / "compose" / "image" / "requirements.txt").read_text("utf-8").splitlines()
    assert lines == pinned(shape.bundle)
    assert all(re.fullmatch(r"[a-z0-9-]+==\S+", line) for line in lines)
    names = {line.split("==")[0] for line in lines}
    assert {"ray", "aiohttp", "grpcio", "onnxruntime", "numpy", "typer"} <= names
    assert not names & {"tierplan", "apache-tvm", "ortools", "onnx", "ruff"}


def test_a_bundle_of_another_version_of_a_library_is_refused(exported: Path, shape: Shape) -> None:
    versions = {**shape.bundle.manifest.versions, "onnxruntime": "0.0.1"}
    other = shape.bundle.manifest.model_copy(update={"versions": versions})
    with pytest.raises(InputError, match=r"compiled with onnxruntime 0\.0\.1; here is"):
        pinned(replace(shape.bundle, manifest=other))


@pytest.mark.parametrize(
    ("requirement", "said"),
    [
        ("no-such-package-here", "measure requires no-such-package-here, which is not installed here"),
        ("numpy<0.1", "measure: expected numpy<0.1, found numpy "),
        ("numpy==", "measure: "),
    ],
)
def test_a_requirement_of_a_function_that_cannot_be_pinned_is_refused(
    shape: Shape, requirement: str, said: str
) -> None:
    app = shape.bundle.app
    measure = app.value.components["measure"].model_copy(update={"requirements": [requirement]})
    changed = app.value.model_copy(update={"components": {**app.value.components, "measure": measure}})
    with pytest.raises(InputError, match=re.escape(said)):
        pinned(replace(shape.bundle, app=replace(app, value=changed)))


def test_a_service_for_each_member_says_what_the_entrypoint_asks(exported: Path) -> None:
    value = yaml.safe_load((exported / "compose" / "compose.yaml").read_text("utf-8"))
    script = (exported / "compose" / "image" / "entrypoint.sh").read_text("utf-8")
    services = value["services"]
    assert {"phones-0", "phones-1"} <= set(services)
    needed = {
        "TIERPLAN_SITE",
        "TIERPLAN_TIER",
        "TIERPLAN_HEAD",
        "TIERPLAN_HEAD_ADDRESS",
        "TIERPLAN_DEPLOY",
        "TIERPLAN_DOORS",
    }
    for name, service in services.items():
        said = service["environment"]
        assert needed <= set(said) <= set(re.findall(r"TIERPLAN_[A-Z_]+", script))
        assert f"{said['TIERPLAN_SITE']}-{said['TIERPLAN_INDEX']}" == name
        assert said["TIERPLAN_HEAD"] in services
        assert said["TIERPLAN_HEAD_ADDRESS"].split(":")[0] in services
        assert len(service["labels"]["tierplan.dev/plan"]) == 64
        assert {s["source"] for s in service["secrets"]} == set(value["secrets"])
    assert services["phones-1"]["ports"] == ["127.0.0.1:8001:8001", "127.0.0.1:9001:9001"]
    limits = services["phones-0"]["deploy"]["resources"]["limits"]
    assert limits == {"cpus": "1.5", "memory": f"{-(-(512_000_000 + (1 << 30)) // 2**20)}M"}


def test_the_head_deploys_with_options_that_deploy_has(exported: Path, shape: Shape, capsys: Any) -> None:
    assert main(["deploy", "--help"]) == 0
    known = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    script = (exported / "compose" / "image" / "entrypoint.sh").read_text("utf-8")
    called = script.split("planner.cli.entry deploy")[1].split("|| code")[0]
    doors = "".join(re.findall(r"doors=.*", script))
    assert set(re.findall(r"--[a-z-]+", f"{called} {doors} {shape.deploy_options}")) <= known
    assert main(["deploy", "nowhere", *shape.deploy_options.split()]) == 2


def test_the_image_sets_what_ray_must_be_told(exported: Path) -> None:
    text = (exported / "compose" / "image" / "Dockerfile").read_text("utf-8")
    assert all(f'{key}="{value}"' in text for key, value in SETTINGS.items())
    assert re.search(r"^USER \d+$", text, re.MULTILINE)


def test_the_scripts_are_right_for_a_plain_shell(exported: Path) -> None:
    script = exported / "compose" / "image" / "entrypoint.sh"
    assert subprocess.run(["sh", "-n", str(script)], check=False).returncode == 0
    said = {"TIERPLAN_SITE": "cloud", "TIERPLAN_INDEX": "0", "TIERPLAN_DOORS": "secure", "TIERPLAN_IP": "127.0.0.1"}
    path = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
    done = subprocess.run(["sh", str(script), "ready"], env=said | path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "not ready" in done.stderr


def test_a_stateful_set_for_each_site_whose_pods_are_its_members(exported: Path) -> None:
    folder = exported / "kubernetes"
    sets = of_kind(folder, "StatefulSet")
    config = of_kind(folder, "ConfigMap")["tiny-settings"]["data"]
    (phones,) = (s for name, s in sets.items() if name == "tiny-phones")
    assert phones["spec"]["replicas"] == 2
    assert (phones["spec"]["podManagementPolicy"], phones["spec"]["updateStrategy"]["type"]) == ("Parallel", "OnDelete")
    for found in sets.values():
        pod = found["spec"]["template"]
        site = found["metadata"]["labels"]["tierplan.dev/site"]
        assert found["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
        assert pod["spec"]["nodeSelector"][f"site.tierplan.dev/{site}"] == "true"
        (container,) = pod["spec"]["containers"]
        assert {"startupProbe", "livenessProbe", "readinessProbe"} <= set(container)
        assert set(container["resources"]) == {"requests", "limits"}
        assert container["envFrom"] == [{"configMapRef": {"name": "tiny-settings"}}]
        assert {m["name"] for m in container["volumeMounts"]} == {v["name"] for v in pod["spec"]["volumes"]}
        for annotated in (found["metadata"], pod["metadata"]):
            assert set(annotated["annotations"]) == {"tierplan.dev/plan", "tierplan.dev/bundle"}
    head, _, port = config["TIERPLAN_HEAD_ADDRESS"].rpartition(":")
    pod_name, _, service = head.partition(".")
    assert pod_name.rpartition("-")[0] in sets
    assert service in of_kind(folder, "Service")
    assert port == "6379"


def test_each_member_where_requests_enter_has_a_service_to_its_own_port(exported: Path) -> None:
    services = of_kind(exported / "kubernetes", "Service")
    for index in (0, 1):
        door = services[f"tiny-phones-{index}"]["spec"]
        assert door["selector"] == {"statefulset.kubernetes.io/pod-name": f"tiny-phones-{index}"}
        assert [(p["port"], p["targetPort"]) for p in door["ports"]] == [(8000, 8000 + index), (9000, 9000 + index)]
    (policy,) = of_kind(exported / "kubernetes", "NetworkPolicy").values()
    assert [p["port"] for p in policy["spec"]["ingress"][1]["ports"]] == [8000, 9000, 8001, 9001]


def test_kustomization_names_every_manifest(exported: Path) -> None:
    folder = exported / "kubernetes"
    value = yaml.safe_load((folder / "kustomization.yaml").read_text("utf-8"))
    assert set(value["resources"]) == {f.name for f in folder.glob("*.yaml")} - {"kustomization.yaml"}
    kubectl = shutil.which("kubectl")
    if kubectl is not None:
        done = subprocess.run([kubectl, "kustomize", str(folder)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert len(list(yaml.safe_load_all(done.stdout))) == len(documents(folder))


def test_what_cannot_be_done_is_said_plainly(exported: Path) -> None:
    for to in FOLDERS:
        text = (exported / to / "README.md").read_text("utf-8")
        assert "Containers on several machines are untried" in text
        assert "2 of 4 phones" in text
        for title in ("## To be filled in", "## Run", "## What this cannot do"):
            assert title in text


def test_doors_without_tokens_are_asked_for(exported: Path, tmp_path: Path) -> None:
    shutil.copytree(exported / "bundle", tmp_path / "bundle")
    for to in FOLDERS:
        assert export(tmp_path, to, "--insecure", output=to).code == 0
    text = (tmp_path / "compose" / "compose.yaml").read_text("utf-8")
    assert "secrets" not in yaml.safe_load(text)
    assert "/run/secrets" not in text
    assert "door" not in {
        v["name"]
        for s in of_kind(tmp_path / "kubernetes", "StatefulSet").values()
        for v in s["spec"]["template"]["spec"]["volumes"]
    }


def test_an_export_is_replaced_but_nothing_else_and_nothing_that_was_filled_in(exported: Path, tmp_path: Path) -> None:
    shutil.copytree(exported / "bundle", tmp_path / "bundle")
    assert export(tmp_path, "compose").code == 0
    more = tmp_path / "out" / "image" / "requirements-more.txt"
    more.write_text("some-package==1.0\n", "utf-8")
    (tmp_path / "out" / "secrets").mkdir()
    (tmp_path / "out" / "secrets" / "tokens").write_text("0123456789abcdef", "utf-8")
    assert export(tmp_path, "compose").code == 0
    assert more.read_text("utf-8") == "some-package==1.0\n"
    assert (tmp_path / "out" / "secrets" / "tokens").exists()
    (tmp_path / "out" / "compose.yaml").write_text("services: {}\n", "utf-8")
    called = export(tmp_path, "compose")
    assert called.code == 2
    assert "out/compose.yaml: the file was changed since it was exported" in called.err
    (tmp_path / "out" / "export.json").write_text("{}", "utf-8")
    assert "out/export.json: not what an export says of itself" in export(tmp_path, "compose").err
    called = export(tmp_path, "compose", output="bundle/inside")
    assert (called.code, called.out) == (2, "")
    assert "the folder is in the bundle" in called.err
    called = export(tmp_path, "compose", output="bundle")
    assert (called.code, called.out) == (2, "")
    assert "bundle: the folder is there and is no export" in called.err


def test_what_is_no_bundle_or_no_site_is_refused(exported: Path, tmp_path: Path) -> None:
    called = planner("export", ".", "--to", "compose", folder=tmp_path)
    assert (called.code, called.out) == (2, "")
    assert "not a bundle" in called.err
    called = planner(
        "export", "bundle", "--to", "compose", "--members", "phones=9", "-o", str(tmp_path / "x"), folder=exported
    )
    assert called.code == 2
    assert "the slice asks for 9 members of phones, which has 4" in called.err
    assert planner("export", "bundle", "--to", "nomad", folder=exported).code == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [("phones", "phones"), ("base-station-1", "base-station-1")],
)
def test_names_that_hosts_may_have_stay(text: str, expected: str) -> None:
    assert dns_name(text) == expected


def test_other_names_are_changed_and_kept_apart() -> None:
    names = ["Phones", "phones_", "_", "a" * 63, "a" * 62, "é", "x-"]
    found = [dns_name(name) for name in names]
    assert len(set(found)) == len(names)
    assert all(re.fullmatch(r"[a-z][a-z0-9-]{0,20}[a-z0-9]", name) for name in found), found


def test_all_members_share_the_folder_of_the_deployments_state(exported: Path) -> None:
    compose = yaml.safe_load((exported / "compose" / "compose.yaml").read_text("utf-8"))
    dockerfile = (exported / "compose" / "image" / "Dockerfile").read_text("utf-8")
    (state,) = set(re.findall(r'TIERPLAN_STATE="([^"]+)"', dockerfile))
    assert f"chmod 1777 {state}" in dockerfile
    shared = [{"type": "volume", "source": "state", "target": state}]
    assert len(compose["services"]) > 1
    assert all(service["volumes"] == shared for service in compose["services"].values())
    assert set(compose["volumes"]) == {"state"}
    (claim,) = of_kind(exported / "kubernetes", "PersistentVolumeClaim")
    for found in of_kind(exported / "kubernetes", "StatefulSet").values():
        pod = found["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert {"name": "state", "persistentVolumeClaim": {"claimName": claim}} in pod["volumes"]
        assert {"name": "state", "mountPath": state} in container["volumeMounts"]
