"""README.md of an export: what it is, what is left to fill in, how it runs, and what this version cannot do."""

from __future__ import annotations

from typing import Final

from planner.cli.export.image import instruction_sets
from planner.cli.export.kubernetes import door_secret, functions_secret, node_label
from planner.cli.export.shape import RAY_CORES, RAY_MEMORY, Shape, in_words

FILES: Final = (
    ("image/Dockerfile", "the runtime and the bundle; the same image serves every site"),
    (
        "image/requirements.txt",
        "every package that it takes, at the version that was installed where this was exported",
    ),
    ("image/requirements-more.txt", "yours to fill in, see below"),
    ("image/entrypoint.sh", "what becomes of a container: `ray start`, and on the head `planner deploy`"),
    ("image/bundle/", "what was compiled, byte for byte; every host checks all digests when it opens it"),
    ("monitoring/grafana.json", "a dashboard: measured, with what the plan predicts beside it"),
    ("monitoring/alerts.yaml", "alert rules for Prometheus: limits missed, drift from the plan and its cause"),
    ("export.json", "digests of all files here"),
)
WRITTEN: Final = {
    "compose": (("compose.yaml", "a service for each member of a site"),),
    "kubernetes": (
        ("kustomization.yaml", "names the manifests, and the image"),
        ("site-*.yaml", "a StatefulSet for each site: its pods are the site's members, numbered as the runtime does"),
        ("config.yaml", "what all pods are told; nothing secret"),
        ("state.yaml", "the volume in which hosts find one another, and the key of their messages; all pods mount it"),
        ("network.yaml", "Services: names of pods, and a door for each member where requests enter; a NetworkPolicy"),
    ),
}  # fmt: skip


def limits_of(shape: Shape, to: str) -> tuple[str, ...]:
    """What this version cannot do, in sentences."""
    one = (
        "Containers on several machines are untried: what hosts need comes to them from the head's container, but "
        "these files are made for one machine."
    )
    if to == "kubernetes":
        one += (
            " The pods have an affinity to one another; label one node for all sites, or take it out and give the "
            "claim in state.yaml accessModes: [ReadWriteMany]."
        )
    plan = shape.bundle.plan
    counts = {s.site: shape.bundle.infra.value.members(s.site) for s in shape.sites}
    part = ", ".join(f"{s.members} of {counts[s.site]:,} {s.site}" for s in shape.sites if s.members < counts[s.site])
    found = [
        one,
        "Links and processors are as they are: nothing is slowed as infra.yaml says, so that times are those of this "
        "machine, not those that the plan predicts for its sites.",
        "Containers of one network trust one another: Ray's ports ask for no tokens and do not encrypt.",
        "Where a container is lost, the head starts all hosts anew once it is back: requests under way then fail, and "
        "those that come meanwhile are refused. Nothing scales by itself; the plan says how many of what.",
    ]
    idle = sorted({s.site for s in shape.sites if any(a.standby and a.site == s.site for a in plan.assignments)})
    if idle:
        found.append(
            f"Standbys at {', '.join(idle)} run in the container of their member: they take over when its process "
            "dies, not when the container does."
        )
    if part:
        found.append(f"These are {part}: planner export --members SITE=N takes more.")
    return tuple(found)


def fill_in_of(shape: Shape, to: str) -> tuple[str, ...]:
    """What is left to whoever runs it, in sentences."""
    needed = ", ".join(instruction_sets(shape))
    found = []
    if not shape.insecure:
        where = "the files secrets/tokens, secrets/tls.crt and secrets/tls.key" if to == "compose" else (
            f"the Secret {door_secret(shape)}"
        )  # fmt: skip
        found.append(f"Tokens and a certificate for the doors: {where} (commands below).")
    if shape.function_secrets:
        where = "files of these names in secrets/functions" if to == "compose" else (
            f"the Secret {functions_secret(shape)}"
        )  # fmt: skip
        found.append(f"Secrets of functions ({', '.join(shape.function_secrets)}): {where}.")
    if to == "compose":
        if not shape.insecure or shape.function_secrets:
            found.append("TIERPLAN_UID in .env: the user whose files the secrets are, which containers run as.")
    else:
        labels = ", ".join(node_label(site) for site in shape.sites)
        found.append(f"The label of the node that stands for each site: {labels}.")
        found.append("Where the image is pulled from: newName in kustomization.yaml.")
    if any(a.backend == "python" for a in shape.bundle.plan.assignments):
        found.append("Packages that functions import without naming them under `requirements`: requirements-more.txt.")
    if needed:
        found.append(f"Machines whose processors have {needed}: that is what the models are compiled for.")
    return tuple(found)


def readme(shape: Shape, to: str) -> str:
    """The page."""
    plan = shape.bundle.plan
    written = [f"| `{name}` | {what} |" for name, what in (*WRITTEN[to], *FILES)]
    rows = []
    for s in shape.sites:
        memory = "as it is" if s.size.memory is None else f"{s.size.memory / 2**20:,.0f} MiB"
        doors = f"HTTP {s.http}, gRPC {s.grpc}" + (" and up" if s.members > 1 else "") if s.http else ""
        cores = f"{s.size.reserved:g} to {s.size.cores:g}"
        rows.append(f"| {in_words([s])} | {', '.join(s.stages) or 'none'} | {cores} | {memory} | {doors} |")
    parts = [
        f"# {shape.name}: {shape.bundle.manifest.application} in containers",
        f"Written by `planner export --to {to}` from plan `{plan.digest[:16]}`. Equal bundles give equal files; do not "
        "edit them, export again: what is to be filled in has a place of its own.",
        "\n".join(["| file | what it is |", "| --- | --- |", *written]),
        "## Members",
        "\n".join(["| member | stages | cores | memory | door |", "| --- | --- | --- | --- | --- |", *rows]),
        "Cores: those that stages use at a time, to those of the devices that the plan bought; memory is that of these "
        f"devices. For the processes of Ray, {RAY_CORES:g} cores and {RAY_MEMORY / 2**20:,.0f} MiB are added. The head "
        f"is {shape.head}: it deploys the bundle, and looks every 15 seconds whether all hosts are whole.",
        "## To be filled in",
        "\n".join(f"- {text}" for text in fill_in_of(shape, to)),
        "## Run",
        _compose_commands(shape) if to == "compose" else _kubernetes_commands(shape),
        "## What this cannot do",
        "\n".join(f"- {text}" for text in limits_of(shape, to)),
    ]
    return "\n\n".join(parts) + "\n"


def _secrets(folder: str) -> list[str]:
    return [
        f"mkdir -p -m 700 {folder}",
        f"openssl rand -hex 24 > {folder}/tokens",
        "openssl req -x509 -newkey rsa:2048 -nodes -days 365 -subj /CN=localhost \\",
        f"    -addext subjectAltName=DNS:localhost -keyout {folder}/tls.key -out {folder}/tls.crt",
        f"chmod 600 {folder}/*",
    ]


def _ask(shape: Shape) -> list[str]:
    if shape.insecure:
        return [f"curl -s localhost:{shape.http_port}/v2/models/{shape.bundle.manifest.application}"]
    return [
        'curl -s --cacert secrets/tls.crt -H "Authorization: Bearer $(cat secrets/tokens)" \\',
        f"    https://localhost:{shape.http_port}/v2/models/{shape.bundle.manifest.application}",
    ]


def _block(lines: list[str]) -> str:
    return "\n".join(f"    {line}" for line in lines)


def _compose_commands(shape: Shape) -> str:
    first = [] if shape.insecure else _secrets("secrets")
    if shape.function_secrets:
        first.append("mkdir -p -m 700 secrets/functions")
        first += [f'printf %s "${name}" > secrets/functions/{name}' for name in shape.function_secrets]
    if first:
        first.append('echo "TIERPLAN_UID=$(id -u)" > .env')
    head = next(s for s in shape.sites if s.site == shape.head.site)
    lines = [*first, "docker compose up --build --detach --wait", *_ask(shape)]
    look = f"docker compose exec {head.dns}-{shape.head.index} python -m planner.cli.entry status {shape.name}"
    log = f"docker compose logs {head.dns}-{shape.head.index}"
    text = "It serves when all services are healthy. What it does, and why it does not:"
    anew = "A new plan: export again into this folder, and `docker compose up --build --detach --wait`."
    return "\n\n".join([_block(lines), text, _block([look, log, "docker compose down"]), anew])


def _kubernetes_commands(shape: Shape) -> str:
    head = next(s for s in shape.sites if s.site == shape.head.site)
    pod = f"{shape.dns}-{head.dns}-{shape.head.index}"
    door = next(f"{shape.dns}-{s.dns}-0" for s in shape.sites if s.http)
    labels = " ".join(f"{node_label(site)}=true" for site in shape.sites)
    secret = [] if shape.insecure else [
        *_secrets("secrets"),
        f"kubectl create secret generic {door_secret(shape)} --from-file=secrets/tokens --from-file=secrets/tls.crt \\",
        "    --from-file=secrets/tls.key",
    ]  # fmt: skip
    if shape.function_secrets:
        given = " ".join(f'--from-literal={name}="${name}"' for name in shape.function_secrets)
        secret.append(f"kubectl create secret generic {functions_secret(shape)} {given}")
    lines = [
        f"docker build --tag {shape.image} image      # push it to where newName in kustomization.yaml says",
        f"kubectl label node NODE {labels}",
        *secret,
        "kubectl apply --kustomize .",
        f"kubectl port-forward service/{door} {shape.http_port} &",
        *_ask(shape),
    ]
    look = [
        f"kubectl exec {pod} -- python -m planner.cli.entry status {shape.name}",
        f"kubectl logs {pod}",
        "kubectl delete --kustomize .",
    ]
    serves = "It serves when all pods are ready. What it does, and why it does not:"
    anew = (
        "A new plan: export again, build and apply, then let all pods go at once, for none can serve beside old ones:"
    )
    every = f"kubectl delete pod --selector app.kubernetes.io/name={shape.dns}"
    return "\n\n".join([_block(lines), serves, _block(look), anew, _block([every])])
