#!/bin/sh
# Orders the deployment of a file from ESC and waits until it is up: orchestrate.sh MY_DEPLOYMENT_ID deployment.xml
# ESC and RECEIVER say where they are; ends with 0 deployed, 1 failed, 3 still under way after TIMEOUT seconds, 4 never heard of.
set -eu
: "${ESC:=http://127.0.0.1:8080}" "${RECEIVER:=http://127.0.0.1:9010}" "${TIMEOUT:=900}"
answer=$(curl -fsS -o /dev/null -D - "$ESC/ESCManager/v0/deployments/$1" -H "Content-Type: application/xml" --data-binary "@$2" \
    -H "Callback: $RECEIVER/esc/default/callback?ref=$1" -H "Callback-ESC-Events: $RECEIVER/esc/default/events")
transaction=$(echo "$answer" | tr -d '\r' | sed -n 's/^esc-transaction-id: *//Ip')
status=0 && esc-receiver operations --url "$RECEIVER" --wait "$transaction" --timeout "$TIMEOUT" || status=$?
case $status in 0) echo "$1 is up" ;; 1) echo "$1 failed" ;; 3) echo "$1 is still under way" ;; 4) echo "ESC never called back about $1" ;; esac
exit $status
