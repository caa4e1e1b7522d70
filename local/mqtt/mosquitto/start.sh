#!/bin/sh
# Runs in the container of Mosquitto: copies the files that `npm run stack` wrote into the data folder, and starts Mosquitto.
set -eu
given=${1:-/run/iotflow}
data=${2:-/mosquitto/data}

umask 077
for file in mosquitto.conf cert.pem key.pem; do
  if [ -e "$given/$file" ]; then cp "$given/$file" "$data/$file"; fi
done
# Existing accounts stay: the plugin stores the devices' accounts in this file too.
if [ ! -e "$data/dynamic-security.json" ]; then
  cp "$given/dynamic-security.json" "$data/first.json"
  mv "$data/first.json" "$data/dynamic-security.json"
fi
chown -R mosquitto:mosquitto "$data"
exec mosquitto -c "$data/mosquitto.conf"
