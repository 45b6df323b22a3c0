"""compose.yaml: a service for each member, on one machine."""

from __future__ import annotations

import json
from typing import Any, Final

from planner.cli.export.image import machine
from planner.cli.export.shape import SECRETS_MOUNT, STATE_MOUNT, Shape, SiteShape
from specs.yamlfile import yaml_text

SECRETS: Final = {"tokens": "tokens", "tls_crt": "tls.crt", "tls_key": "tls.key"}
"""Compose's name of each secret, and of its file in /run/secrets/door."""


STATE: Final = "state"
"""The volume in which hosts find one another, and the key of their messages."""


def compose_files(shape: Shape) -> dict[str, bytes]:
    """By their names in the exported folder."""
    head = next(s for s in shape.sites if s.site == shape.head.site)
    host = f"{head.dns}-{shape.head.index}"
    services = {f"{s.dns}-{i}": _service(shape, s, i, host) for s in shape.sites for i in range(s.members)}
    value: dict[str, Any] = {
        "name": shape.dns,
        "services": services,
        "networks": {"nodes": {"labels": shape.annotations}},
    }
    value["volumes"] = {STATE: {"labels": shape.annotations}}
    secrets = {} if shape.insecure else {name: {"file": f"./secrets/{file}"} for name, file in SECRETS.items()}
    secrets |= {f"function_{name}": {"file": f"./secrets/functions/{name}"} for name in shape.function_secrets}
    if secrets:
        value["secrets"] = secrets
    return {"compose.yaml": yaml_text(json.loads(json.dumps(value))).encode()}  # without anchors


def _service(shape: Shape, site: SiteShape, index: int, head: str) -> dict[str, Any]:
    name = f"{site.dns}-{index}"
    limits: dict[str, Any] = {"cpus": f"{site.size.cores:g}"}
    if site.size.memory is not None:
        limits["memory"] = f"{-(-site.size.memory // 2**20)}M"
    found: dict[str, Any] = {
        "image": shape.image,
        "build": {"context": "image"},
        "platform": f"linux/{machine(shape)}",
        "hostname": name,
        "init": True,
        "user": "${TIERPLAN_UID:-10001}",
        "environment": shape.settings(site, head) | {"TIERPLAN_INDEX": str(index)},
        "labels": shape.annotations,
        "networks": ["nodes"],
        "volumes": [{"type": "volume", "source": STATE, "target": STATE_MOUNT}],
        "shm_size": "256mb",
        "restart": "unless-stopped",
        "stop_grace_period": "20s",
        "healthcheck": {
            "test": ["CMD", "sh", "/srv/entrypoint.sh", "ready"],
            "interval": "15s",
            "timeout": "10s",
            "retries": 4,
            "start_period": "120s",
        },
        "deploy": {"resources": {"limits": limits, "reservations": {"cpus": f"{site.size.reserved:g}"}}},
    }
    if site.http:
        ports = (site.http + index, site.grpc + index)
        found["ports"] = [f"127.0.0.1:{port}:{port}" for port in ports]
    doors = {} if shape.insecure else SECRETS
    secrets = [{"source": secret, "target": f"/run/secrets/door/{file}"} for secret, file in doors.items()]
    if (site.site, index) == (shape.head.site, shape.head.index):
        names = shape.function_secrets
        secrets += [{"source": f"function_{name}", "target": f"{SECRETS_MOUNT}/{name}"} for name in names]
    if secrets:
        found["secrets"] = secrets
    return found
