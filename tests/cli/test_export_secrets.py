"""`planner export` of functions with secrets: containers are told their names, and files say nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.calling import planner
from tests.runtime.sample import copy_project, make_bundle, make_plan

OWN = "function: pictures.steps:decide"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("secrets")
    project = copy_project(root, app=(OWN, f"{OWN}\n    environment: {{MODE: x}}\n    secrets: [API_KEY]"))
    make_bundle(root, make_plan(project), project)
    for to in ("compose", "kubernetes"):
        called = planner("export", "bundle", "--to", to, "-o", to, "--insecure", folder=root)
        assert called.code == 0, called.err
        assert "API_KEY" in called.out
    return root


def test_compose_mounts_them_at_the_head_alone(folder: Path) -> None:
    value: dict[str, Any] = yaml.safe_load((folder / "compose" / "compose.yaml").read_text("utf-8"))
    assert value["secrets"] == {"function_API_KEY": {"file": "./secrets/functions/API_KEY"}}
    mounted = {name: s["secrets"] for name, s in value["services"].items() if "secrets" in s}
    (head,) = mounted
    assert mounted[head] == [{"source": "function_API_KEY", "target": "/run/secrets/functions/API_KEY"}]
    told = value["services"][head]["environment"]
    assert told["TIERPLAN_FUNCTION_SECRETS"] == "/run/secrets/functions"
    assert head.rpartition("-")[0] in told["TIERPLAN_HEAD"]


def test_kubernetes_mounts_a_secret_that_it_does_not_hold(folder: Path) -> None:
    documents = [
        d for f in sorted((folder / "kubernetes").glob("*.yaml")) for d in yaml.safe_load_all(f.read_text("utf-8"))
    ]
    assert not [d for d in documents if d["kind"] == "Secret"]
    pods = [d["spec"]["template"]["spec"] for d in documents if d["kind"] == "StatefulSet"]
    holding = [p for p in pods if any("secret" in v for v in p["volumes"])]
    (pod,) = holding
    (secret,) = [v["secret"]["secretName"] for v in pod["volumes"] if "secret" in v]
    (container,) = pod["containers"]
    assert {"name": "TIERPLAN_FUNCTION_SECRETS", "value": "/run/secrets/functions"} in container["env"]
    assert {"name": "functions", "mountPath": "/run/secrets/functions", "readOnly": True} in container["volumeMounts"]
    assert f"kubectl create secret generic {secret} " in (folder / "kubernetes" / "README.md").read_text("utf-8")


def test_the_token_of_a_hosted_api_is_mounted_like_them(tmp_path: Path) -> None:
    api = "api: {url: 'https://api.example.com', model: m, price: 1 USD/call, token: API_TOKEN}"
    project = copy_project(tmp_path, app=(OWN, api))
    make_bundle(tmp_path, make_plan(project), project)
    called = planner("export", "bundle", "--to", "compose", "-o", "compose", "--insecure", folder=tmp_path)
    assert called.code == 0, called.err
    value: dict[str, Any] = yaml.safe_load((tmp_path / "compose" / "compose.yaml").read_text("utf-8"))
    assert value["secrets"] == {"function_API_TOKEN": {"file": "./secrets/functions/API_TOKEN"}}
