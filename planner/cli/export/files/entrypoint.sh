#!/bin/sh
# Becomes the Ray node of one member of a site; `entrypoint.sh ready` says whether it serves.
#
#   TIERPLAN_SITE, TIERPLAN_TIER   labels of the node; the member's number is TIERPLAN_INDEX, or what ends the host's name
#   TIERPLAN_HEAD                  the member whose node is the cluster's head; it also deploys the bundle
#   TIERPLAN_HEAD_ADDRESS          HOST:PORT of that node
#   TIERPLAN_DEPLOY                options of planner deploy
#   TIERPLAN_DOORS                 secure: tokens and TLS from /run/secrets/door; insecure: neither
#   TIERPLAN_FUNCTION_SECRETS      on the head: folder with a file for each secret of functions, where there are any
#   TIERPLAN_HTTP                  port of the door of the site's member 0, where it has one
set -eu
home=$(cd "$(dirname "$0")" && pwd)
host=$(hostname)
index=${TIERPLAN_INDEX:-${host##*-}}
member=$TIERPLAN_SITE-$index
address=${TIERPLAN_IP:-$(hostname -i | cut -d' ' -f1)}
node_port=6380

if [ "${1:-}" = ready ]; then
    port=${TIERPLAN_HTTP:+$((TIERPLAN_HTTP + index))}
    exec python "$home/ready.py" "$address" "${port:-$node_port}" "${port:+$TIERPLAN_DOORS}"
fi

if [ "$TIERPLAN_DOORS" = secure ]; then
    # Doors refuse a file of tokens that others may read; who mounts it may not be able to say so.
    door=${TMPDIR:-/tmp}/door
    mkdir -p -m 700 "$door"
    for file in tokens tls.crt tls.key; do
        install -m 600 "${TIERPLAN_SECRETS:-/run/secrets/door}/$file" "$door/$file"
    done
    doors="--token-file $door/tokens --tls-cert $door/tls.crt --tls-key $door/tls.key"
else
    doors=--insecure
fi

start="ray start --node-ip-address=$address --node-manager-port=$node_port --num-cpus=0 --num-gpus=0
    --object-store-memory=80000000 --include-log-monitor=false --disable-usage-stats
    --labels=site=$member,tier=$TIERPLAN_TIER"
port=${TIERPLAN_HEAD_ADDRESS##*:}
if [ "$member" != "$TIERPLAN_HEAD" ]; then
    # The head's address may be another one each time; Ray itself would look for a head that is not there for a minute.
    until head=$(getent hosts "${TIERPLAN_HEAD_ADDRESS%:*}" | cut -d' ' -f1) && [ -n "$head" ] &&
        python "$home/ready.py" "$head" "$port" "" 2>/dev/null; do
        sleep 2
    done
    exec $start --address="$head:$port" --block
fi

head=$address:$port
# A head that begins knows of no host: what an earlier one kept here is of a cluster that is gone, at another address.
if [ -n "${TIERPLAN_STATE:-}" ]; then
    find "$TIERPLAN_STATE" -mindepth 1 -delete
fi
$start --head --port="$port" --include-dashboard=false
trap 'ray stop --force >/dev/null; exit 0' TERM INT
# Deploying again does nothing where all hosts are whole, and starts them anew where one was lost.
while :; do
    code=0
    python -m planner.cli.entry deploy "$home/bundle" --address "$head" --no-shape --listen 0.0.0.0 $doors $TIERPLAN_DEPLOY \
        >/dev/null || code=$?
    case $code in
        0) ;;
        3) ray health-check --address "$head" || exit 3 ;; # members that are not there yet, or a head that died
        *) exit $code ;;
    esac
    sleep "${TIERPLAN_AGAIN:-15}" &
    wait $!
done
