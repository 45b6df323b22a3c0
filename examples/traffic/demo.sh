#!/usr/bin/env bash
# From frames of a road to a plan that runs on this machine. Results go to demo-traffic/ (or the folder given).
set -euo pipefail
cd "$(dirname "$0")/../.."
out=${1:-demo-traffic}
app=examples/traffic/app.yaml
infra=examples/traffic/infra.yaml
mkdir -p "$out"

step() {
    printf '\n$ %s\n' "$*"
    "$@"
}

step python examples/traffic/prepare.py
step planner validate $app --infra $infra
# Also how many vehicles there are in a frame, for each of which `classify` runs once.
step planner profile $app --infra $infra -o "$out/profiles"
step planner solve $app --infra $infra --profiles "$out/profiles" -o "$out/plan.yaml"
step planner verify "$out/plan.yaml" $app --infra $infra --profiles "$out/profiles"
step planner compile "$out/plan.yaml" $app --infra $infra -o "$out/bundle"
# A run that misses a limit answers no (1); it shows by how much.
step planner run "$out/bundle" --app $app --profiles "$out/profiles" --requests 200 --members cameras=2 --multiplier 5 -o "$out/run.json" || [ $? = 1 ]
