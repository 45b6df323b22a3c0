"""The OpenAPI document of the HTTP paths, with the models' own tensors."""

from __future__ import annotations

from typing import Any

from runtime.open_inference.models import Port, ServedModel
from runtime.open_inference.tensors import datatype, declared_shape

_ERROR: dict[str, Any] = {
    "description": "An error",
    "content": {
        "application/json": {
            "schema": {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
        }
    },
}
_ERRORS = {status: _ERROR for status in ("400", "401", "404", "408", "413", "500", "503", "504")}
_PARAMETERS = {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}}


def openapi(models: tuple[ServedModel, ...], version: str) -> dict[str, Any]:
    """OpenAPI 3.1."""
    paths: dict[str, Any] = {
        "/v2": {"get": _get("Server metadata", {"type": "object"})},
        "/v2/health/live": {"get": {**_get("Is it alive?"), "security": []}},
        "/v2/health/ready": {"get": {**_get("Does it take requests?"), "security": []}},
        "/metrics": {"get": _get("Prometheus metrics")},
    }
    for model in models:
        base = f"/v2/models/{model.name}"
        paths[base] = {"get": _get("What the model takes and gives", {"type": "object"})}
        paths[f"{base}/ready"] = {"get": _get("Does it take requests?")}
        paths[f"{base}/infer"] = {"post": _infer(model)}
    return {
        "openapi": "3.1.0",
        "info": {"title": "tierplan: the Open Inference Protocol, version 2", "version": version},
        "security": [{"token": []}],
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "paths": paths,
    }


def _get(summary: str, schema: dict[str, Any] | None = None) -> dict[str, Any]:
    good: dict[str, Any] = {"description": "Yes"}
    if schema is not None:
        good["content"] = {"application/json": {"schema": schema}}
    return {"summary": summary, "responses": {"200": good, **_ERRORS}}


def _infer(model: ServedModel) -> dict[str, Any]:
    request = {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": "string"},
            "parameters": {
                **_PARAMETERS,
                "properties": {
                    "timeout": {"type": "integer", "minimum": 1, "description": "microseconds"},
                    "stage_times": {"type": "boolean"},
                    "binary_data_output": {"type": "boolean"},
                },
            },
            "inputs": _list([_tensor(port) for port in model.inputs], len(model.inputs)),
            "outputs": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["name"],
                    "properties": {"name": {"enum": [p.name for p in model.outputs]}, "parameters": _PARAMETERS},
                },
            },
        },
    }
    answer = {
        "type": "object",
        "required": ["model_name", "outputs"],
        "properties": {
            "model_name": {"const": model.name},
            "model_version": {"const": model.version},
            "id": {"type": "string"},
            "parameters": _PARAMETERS,
            "outputs": _list([_tensor(port) for port in model.outputs], 0),
        },
    }
    binary = {"description": "the JSON object, then the raw data of binary tensors"}
    header = {
        "name": "Inference-Header-Content-Length",
        "in": "header",
        "schema": {"type": "integer"},
        "description": "length of the JSON object, where raw data follows it",
    }
    return {
        "summary": f"Send a request through {model.name}",
        "parameters": [header],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": request}, "application/octet-stream": {"schema": binary}},
        },
        "responses": {
            "200": {
                "description": "The answer",
                "content": {"application/json": {"schema": answer}, "application/octet-stream": {"schema": binary}},
            },
            **_ERRORS,
        },
    }


def _list(items: list[dict[str, Any]], least: int) -> dict[str, Any]:
    return {"type": "array", "minItems": least, "maxItems": len(items), "items": {"oneOf": items}}


def _tensor(port: Port) -> dict[str, Any]:
    rank = len(declared_shape(port.type))
    return {
        "title": str(port.type),
        "type": "object",
        "required": ["name", "datatype", "shape"],
        "properties": {
            "name": {"const": port.name},
            "datatype": {"const": datatype(port.type)},
            "shape": {
                "type": "array",
                "prefixItems": [{"const": d} if d > 0 else {"type": "integer"} for d in declared_shape(port.type)],
                "minItems": rank,
                "maxItems": rank,
            },
            "data": {"type": "array", "description": "flat or nested; absent where the data is binary"},
            "parameters": _PARAMETERS,
        },
    }
