#!/usr/bin/env python3
"""The least that a device over MQTT does, with Eclipse Paho: it sends one reading and waits until the server has it.

    pip install 'paho-mqtt>=2.1'
    API_KEY=... python3 examples/python/mqtt_reading.py --id 7 '{"temperature": 21.5}'

mqtt_device.py shows the rest: registration, presence, commands, configuration.
"""

import argparse
import os

import paho.mqtt.client as mqtt

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--host", default="localhost")
parser.add_argument("--port", type=int, default=1883)
parser.add_argument("--id", required=True, help="the id of the device")
parser.add_argument("reading", help="JSON")
options = parser.parse_args()

# The user name and the client id are the id of the device, the password is its key.
client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=options.id)
client.username_pw_set(options.id, os.environ["API_KEY"])
if options.port == 8883:
    client.tls_set()
client.connect(options.host, options.port)
client.loop_start()
# With QoS 1 the acknowledgement means: it is on the disk of the server.
client.publish(f"iotflow/devices/{options.id}/telemetry", options.reading, qos=1).wait_for_publish(15)
client.disconnect()
client.loop_stop()
print("acknowledged")
