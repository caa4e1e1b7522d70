#!/bin/sh
# In the container of Mosquitto: lays what `npm run stack` has written into the data folder, for Mosquitto only, and starts it.
set -eu
given=${1:-/run/iotflow}
data=${2:-/mosquitto/data}

umask 077
for file in mosquitto.conf cert.pem key.pem; do
  if [ -e "$given/$file" ]; then cp "$given/$file" "$data/$file"; fi
done
# Accounts that are there stay: the plugin keeps those of the devices in this file too.
if [ ! -e "$data/dynamic-security.json" ]; then
  cp "$given/dynamic-security.json" "$data/first.json"
  mv "$data/first.json" "$data/dynamic-security.json"
fi
chown -R mosquitto:mosquitto "$data"
exec mosquitto -c "$data/mosquitto.conf"
