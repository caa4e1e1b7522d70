#!/bin/sh
# A device that needs nothing but curl: it sends the load of this computer.
#
#   sh examples/curl/device.sh NAME [SECONDS BETWEEN READINGS] [NUMBER OF READINGS]
#
# IOTFLOW_URL names the server; ENROLLMENT_KEY is needed where not everybody may register.
set -eu
url=${IOTFLOW_URL:-http://localhost:5000}
name=$1 interval=${2:-10} count=${3:-0}

# Other users of this computer see the arguments of a process: curl reads the header with the key from a file.
headers=$name.headers
umask 077
if [ ! -s "$headers" ]; then
  answer=$(curl --fail-with-body -sS "$url/api/v1/devices/register" \
    -H "X-Enrollment-Key: ${ENROLLMENT_KEY:-}" -H 'Content-Type: application/json' \
    -d "{\"name\":\"$name\",\"device_type\":\"computer\"}") || { echo "$answer" >&2; exit 1; }
  # The key is shown once: it has to be kept.
  echo "$answer" | sed -E 's/.*"api_key":"([^"]+)".*/X-API-Key: \1/' > "$headers"
fi

sent=0
while [ "$count" -eq 0 ] || [ "$sent" -lt "$count" ]; do
  sent=$((sent + 1))
  load=$(LC_ALL=C uptime | sed -E 's/.*averages?: *([0-9.]+).*/\1/')
  # curl repeats a request that failed, and waits as long as the server says; the message_id lets the server see that it is a repetition.
  curl --fail-with-body -sS --retry 10 --retry-connrefused "$url/api/v1/devices/telemetry" \
    -H @"$headers" -H 'Content-Type: application/json' \
    -d "{\"load\":$load,\"message_id\":\"$(date +%s)-$$-$sent\"}"
  echo
  [ "$sent" -eq "$count" ] || sleep "$interval"
done
