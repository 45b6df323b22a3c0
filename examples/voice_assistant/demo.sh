#!/usr/bin/env bash
# From a model to a plan that cuts it, run on this machine. Results go to demo-voice/ (or the folder given).
set -euo pipefail
cd "$(dirname "$0")/../.."
out=${1:-demo-voice}
app=examples/voice_assistant/app.yaml
infra=examples/voice_assistant/infra.yaml
mkdir -p "$out"

step() {
    printf '\n$ %s\n' "$*"
    "$@"
}

step python examples/voice_assistant/prepare.py
step planner validate $app --infra $infra
# Times the operators, finds the cuts, measures the parts that the best plan would use.
step planner profile $app --infra $infra -o "$out/profiles"
# Its last lines say what the best plan without a cut would be.
step planner solve $app --infra $infra --profiles "$out/profiles" -o "$out/plan.yaml"
step planner verify "$out/plan.yaml" $app --infra $infra --profiles "$out/profiles"
step planner compile "$out/plan.yaml" $app --infra $infra -o "$out/bundle"
# A run that misses a limit answers no (1); it shows by how much.
step planner run "$out/bundle" --app $app --profiles "$out/profiles" --requests 200 --members watches=2 --multiplier 30 -o "$out/run.json" || [ $? = 1 ]
