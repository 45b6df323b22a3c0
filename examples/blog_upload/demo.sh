#!/usr/bin/env bash
# The whole road on this machine: every command is printed, then run. Results go to demo/ (or the folder given).
set -euo pipefail
cd "$(dirname "$0")/../.."
out=${1:-demo}
app=examples/blog_upload/app.yaml
infra=examples/blog_upload/infra.yaml
mkdir -p "$out"

step() {
    printf '\n$ %s\n' "$*"
    "$@"
}

step python examples/blog_upload/prepare.py
step planner validate $app --infra $infra
step planner profile $app --infra $infra -o "$out/profiles"
step planner solve $app --infra $infra --profiles "$out/profiles" -o "$out/plan.yaml"
step planner verify "$out/plan.yaml" $app --infra $infra --profiles "$out/profiles"
step planner compile "$out/plan.yaml" $app --infra $infra -o "$out/bundle"
# A run that misses a limit answers no (1); the report then shows by how much.
step planner run "$out/bundle" --app $app --profiles "$out/profiles" --requests 300 --members phones=2 --multiplier 180 -o "$out/run.json" || [ $? = 1 ]
step planner report "$out/plan.yaml" --run "$out/run.json" --app $app --infra $infra -o "$out/report.html"

cat <<EOF

Made:
  $out/profiles/     what each component costs on each hardware class, measured on this machine
  $out/plan.yaml     what runs where, and why
  $out/bundle/       the compiled pipeline that ran
  $out/run.json      what was measured beside what was predicted
  $out/report.html   open this one in a browser

Try next, after: source .venv/bin/activate
  set the p99 limit in $app a little below the p99 that solve predicted above, and then lower still.
  (A limit above the prediction changes nothing.) Solve again; its last lines say what moved and what that costs:
    planner solve $app --infra $infra --profiles $out/profiles -o $out/plan.yaml
  what one model costs here, by backend and threads:
    planner profile examples/blog_upload/models/vision_small.onnx
EOF
