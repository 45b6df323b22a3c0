"""Manifests for Kubernetes: a StatefulSet for each class of sites, whose pods are its members."""

from __future__ import annotations

import json
from typing import Any, Final

from planner.cli.export.image import machine
from planner.cli.export.shape import NODE_PORT, RAY_PORT, SECRETS_MOUNT, STATE_MOUNT, Shape, SiteShape
from runtime.stages.secrets import FOLDER
from specs.yamlfile import yaml_text

DOMAIN: Final = "tierplan.dev"
USER: Final = 10001


def kubernetes_files(shape: Shape) -> dict[str, bytes]:
    """By their names in the exported folder."""
    found: dict[str, list[dict[str, Any]]] = {
        "config.yaml": [_config(shape)],
        "state.yaml": [_state(shape)],
        "network.yaml": [_nodes(shape), *_doors(shape), _policy(shape)],
    }
    for site in shape.sites:
        found[f"site-{site.dns}.yaml"] = [_stateful_set(shape, site)]
    files = {name: "---\n".join(map(_text, values)).encode() for name, values in found.items()}
    image, _, tag = shape.image.partition(":")
    customised = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": list(found),
        "images": [{"name": image, "newName": image, "newTag": tag}],
    }
    return files | {"kustomization.yaml": yaml_text(customised).encode()}


def _text(value: dict[str, Any]) -> str:
    """As YAML without anchors, which parts that are written twice would otherwise get."""
    return yaml_text(json.loads(json.dumps(value)))


def door_secret(shape: Shape) -> str:
    """Of the Secret that holds tokens, certificate and key; it is made by whoever runs the deployment."""
    return f"{shape.dns}-door"


def functions_secret(shape: Shape) -> str:
    """Of the Secret that holds the secrets of functions, by their names."""
    return f"{shape.dns}-functions"


def node_label(site: SiteShape) -> str:
    """Of nodes that stand for a site. A key for each site: one node may stand for several."""
    return f"site.{DOMAIN}/{site.dns}"


def _labels(shape: Shape) -> dict[str, str]:
    return {"app.kubernetes.io/name": shape.dns, "app.kubernetes.io/managed-by": "tierplan"}


def _metadata(shape: Shape, name: str, **more: str) -> dict[str, Any]:
    return {"name": name, "labels": _labels(shape) | more, "annotations": shape.annotations}


def _pod_name(site: SiteShape, shape: Shape, index: int) -> str:
    return f"{_set_name(site, shape)}-{index}"


def _set_name(site: SiteShape, shape: Shape) -> str:
    return f"{shape.dns}-{site.dns}"


def _config(shape: Shape) -> dict[str, Any]:
    """What all pods are told alike."""
    head = next(s for s in shape.sites if s.site == shape.head.site)
    host = f"{_pod_name(head, shape, shape.head.index)}.{shape.dns}-nodes"
    alike = ("TIERPLAN_HEAD", "TIERPLAN_HEAD_ADDRESS", "TIERPLAN_DEPLOY", "TIERPLAN_DOORS")
    settings = shape.settings(head, host)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(shape, f"{shape.dns}-settings"),
        "data": {key: settings[key] for key in alike},
    }


def _nodes(shape: Shape) -> dict[str, Any]:
    """Gives pods names, before they are ready: the head is only when all nodes have joined it."""
    ports = [{"name": "ray", "port": RAY_PORT}, {"name": "node", "port": NODE_PORT}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(shape, f"{shape.dns}-nodes"),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": _labels(shape),
            "ports": ports,
        },
    }


def _doors(shape: Shape) -> list[dict[str, Any]]:
    """A Service for each member where requests enter: who asks belongs to one."""
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": _metadata(shape, _pod_name(site, shape, i)),
            "spec": {
                "selector": {"statefulset.kubernetes.io/pod-name": _pod_name(site, shape, i)},
                "ports": [
                    {"name": "http", "port": shape.http_port, "targetPort": site.http + i},
                    {"name": "grpc", "port": shape.grpc_port, "targetPort": site.grpc + i},
                ],
            },
        }
        for site in shape.sites
        if site.http
        for i in range(site.members)
    ]


def _policy(shape: Shape) -> dict[str, Any]:
    """Pods reach one another; others reach doors alone: nothing else asks who they are."""
    doors = [p + i for s in shape.sites if s.http for i in range(s.members) for p in (s.http, s.grpc)]
    own = {"podSelector": {"matchLabels": _labels(shape)}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": _metadata(shape, f"{shape.dns}-nodes"),
        "spec": {
            "podSelector": {"matchLabels": _labels(shape)},
            "policyTypes": ["Ingress"],
            "ingress": [{"from": [own]}, {"ports": [{"port": port} for port in doors]}],
        },
    }


def _stateful_set(shape: Shape, site: SiteShape) -> dict[str, Any]:
    labels = _labels(shape) | {f"{DOMAIN}/site": site.dns}
    name = _set_name(site, shape)
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": _metadata(shape, name, **{f"{DOMAIN}/site": site.dns}),
        "spec": {
            "serviceName": f"{shape.dns}-nodes",
            "replicas": site.members,
            # One is ready only when all are there, and of one plan: none waits for another to be ready.
            "podManagementPolicy": "Parallel",
            "updateStrategy": {"type": "OnDelete"},
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels, "annotations": shape.annotations},
                "spec": _pod(shape, site),
            },
        },
    }


def _pod(shape: Shape, site: SiteShape) -> dict[str, Any]:
    own = {"labelSelector": {"matchLabels": _labels(shape)}, "topologyKey": "kubernetes.io/hostname"}
    volumes: list[dict[str, Any]] = [
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "256Mi"}},
        {"name": "tmp", "emptyDir": {}},
        {"name": "state", "persistentVolumeClaim": {"claimName": _claim(shape)}},
    ]
    if not shape.insecure:
        volumes.append({"name": "door", "secret": {"secretName": door_secret(shape), "defaultMode": 0o440}})
    if _holds_secrets(shape, site):
        volumes.append({"name": "functions", "secret": {"secretName": functions_secret(shape), "defaultMode": 0o440}})
    return {
        "nodeSelector": {"kubernetes.io/arch": machine(shape), node_label(site): "true"},
        # The runtime takes hosts on several machines; these manifests are untried there.
        "affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [own]}},
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationGracePeriodSeconds": 20,
        "containers": [_container(shape, site)],
        "volumes": volumes,
    }


def _claim(shape: Shape) -> str:
    return f"{shape.dns}-state"


def _state(shape: Shape) -> dict[str, Any]:
    """The volume in which hosts find one another, and the key of their messages."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": _metadata(shape, _claim(shape)),
        # By one node, where all pods are.
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }


def _holds_secrets(shape: Shape, site: SiteShape) -> bool:
    """Of functions: the head hands them out. Pods of one set are alike, so that all members of its site hold them."""
    return bool(shape.function_secrets) and site.site == shape.head.site


def _container(shape: Shape, site: SiteShape) -> dict[str, Any]:
    size = site.size
    memory = {} if size.memory is None else {"memory": f"{-(-size.memory // 2**20)}Mi"}
    own = {"TIERPLAN_SITE": site.site, "TIERPLAN_TIER": site.tier}
    if site.http:
        own["TIERPLAN_HTTP"] = str(site.http)
    ready = ["sh", "/srv/entrypoint.sh", "ready"]
    mounts: list[dict[str, Any]] = [
        {"name": "shm", "mountPath": "/dev/shm"},
        {"name": "tmp", "mountPath": "/tmp"},
        {"name": "state", "mountPath": STATE_MOUNT},
    ]
    if not shape.insecure:
        mounts.append({"name": "door", "mountPath": "/run/secrets/door", "readOnly": True})
    if _holds_secrets(shape, site):
        own[FOLDER] = SECRETS_MOUNT
        mounts.append({"name": "functions", "mountPath": SECRETS_MOUNT, "readOnly": True})
    return {
        "name": "node",
        "image": shape.image.partition(":")[0],
        "envFrom": [{"configMapRef": {"name": f"{shape.dns}-settings"}}],
        "env": [
            *({"name": key, "value": value} for key, value in own.items()),
            {"name": "TIERPLAN_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        ],
        "ports": [{"name": "node", "containerPort": NODE_PORT}],
        "resources": {
            "requests": {"cpu": _cpu(size.reserved), **memory},
            "limits": {"cpu": _cpu(size.cores), **memory},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "startupProbe": {"tcpSocket": {"port": NODE_PORT}, "periodSeconds": 5, "failureThreshold": 36},
        "livenessProbe": {"tcpSocket": {"port": NODE_PORT}, "periodSeconds": 15, "failureThreshold": 4},
        "readinessProbe": {"exec": {"command": ready}, "periodSeconds": 15, "timeoutSeconds": 10},
        "volumeMounts": mounts,
    }


def _cpu(cores: float) -> str:
    return f"{round(cores * 1000)}m"
