#!/usr/bin/env python3
"""A device over MQTT 3.1.1 or 5, with Eclipse Paho: telemetry, commands with answers, and configuration.

    pip install 'paho-mqtt>=2.1'
    python3 examples/python/mqtt_device.py --name greenhouse-1 --mqtt-version 5

The first start registers the device and keeps its id and its key in a file, which only its owner can read. Later starts use
that file. Ctrl-C ends it.
"""

import argparse
import json
import os
import random
import ssl
import sys
import threading
import urllib.error
import urllib.request
from collections import OrderedDict

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

# Ids of commands that the device remembers: the server may deliver a command again that it saw no answer to.
REMEMBERED_COMMANDS = 100


def call(method, url, headers=None, body=None):
    """One HTTP request with JSON in both directions."""
    request = urllib.request.Request(url, method=method, headers=dict(headers or {}))
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=15) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        sys.exit(f"{method} {url}: HTTP {error.code} {error.read().decode(errors='replace')}")
    except urllib.error.URLError as error:
        sys.exit(f"{method} {url}: {error.reason}")


def identity(options):
    """Id and key of the device: from its file, or by registration at the first start."""
    if os.path.exists(options.keys):
        with open(options.keys, encoding="utf-8") as file:
            return json.load(file)
    headers = {"X-Enrollment-Key": options.enrollment_key} if options.enrollment_key else {}
    wanted = {"name": options.name, "device_type": options.type}
    device = call("POST", f"{options.url}/api/v1/devices/register", headers, wanted)["device"]
    known = {"id": device["id"], "api_key": device["api_key"]}
    # The key is shown once: it has to be kept, and nobody else may read it.
    with open(os.open(options.keys, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as file:
        json.dump(known, file)
    return known


class Device:
    def __init__(self, options):
        self.options = options
        self.interval_s = options.interval
        self.answers = OrderedDict()
        self.sends_now = threading.Event()
        known = identity(options)
        headers = {"X-API-Key": known["api_key"]}
        # The server says where its broker is and which topics this device has.
        self.at = call("GET", f"{options.url}/api/v1/devices/mqtt-credentials", headers)["credentials"]
        self.topics = self.at["topics"]
        self.client = self.new_client(known["api_key"])

    def new_client(self, api_key):
        version = mqtt.MQTTv5 if self.options.mqtt_version == "5" else mqtt.MQTTv311
        # The broker keeps the session of a device that is away, so it gets its commands when it comes back.
        session = {} if version == mqtt.MQTTv5 else {"clean_session": False}
        client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, client_id=self.at["client_id"], protocol=version, **session
        )
        client.username_pw_set(self.at["username"], api_key)
        client.will_set(self.topics["status_offline"], '{"status":"offline"}', qos=1, retain=True)
        client.on_connect = self.on_connect
        client.on_message = self.on_message
        client.on_connect_fail = lambda *_: print("The broker does not answer.", flush=True)
        client.reconnect_delay_set(1, 60)
        return client

    def connect(self):
        host, port, tls_port = self.at["mqtt_host"], self.at["mqtt_port"], self.at["mqtt_tls_port"]
        if port is None:
            context = ssl.create_default_context()
            if self.at["alpn"]:
                context.set_alpn_protocols([self.at["alpn"]])
            self.client.tls_set_context(context)
        more = {}
        if self.options.mqtt_version == "5":
            more["properties"] = Properties(PacketTypes.CONNECT)
            more["properties"].SessionExpiryInterval = 86_400
            more["clean_start"] = False
        self.client.connect_async(host, port if port is not None else tls_port, keepalive=60, **more)

    def on_connect(self, client, _userdata, _flags, reason, _properties):
        if reason.is_failure:
            print(f"The broker refuses the connection: {reason}.", flush=True)
            return
        commands = self.topics["commands_subscribe"]
        # AWS IoT Core does not count `commands` to `commands/#`: both are named.
        client.subscribe([(commands, 1), (f"{commands}/#", 1), (self.topics["config_subscribe"], 1)])
        client.publish(self.topics["status_online"], '{"status":"online"}', qos=1, retain=True)
        print("connected", flush=True)
        self.sends_now.set()

    def on_message(self, _client, _userdata, message):
        try:
            body = json.loads(message.payload)
        except ValueError:
            return
        if message.topic == self.topics["config_subscribe"]:
            self.configure(body)
        elif isinstance(body, dict) and "command_id" in body:
            self.obey(body, message)

    def configure(self, body):
        """Applies a configuration, and tells the server which version the device has."""
        seconds = body["configuration"].get("sampling_interval")
        if isinstance(seconds, (int, float)) and seconds > 0:
            self.interval_s = seconds
        self.publish(self.topics["config_reported_publish"], {"version": body["version"]})
        print(f"configuration {body['version']}: {json.dumps(body['configuration'])}", flush=True)

    def obey(self, command, message):
        """Runs a command once. One that comes again gets the answer of the first time."""
        command_id = command["command_id"]
        if command_id not in self.answers:
            self.answer(command_id, {"status": "acknowledged"}, message)
            self.answers[command_id] = self.run(command["command"], command.get("params") or {})
            if len(self.answers) > REMEMBERED_COMMANDS:
                self.answers.popitem(last=False)
            print(f"command {command['command']}: {self.answers[command_id]['status']}", flush=True)
        self.answer(command_id, self.answers[command_id], message)

    def run(self, name, params):
        if name == "ping":
            return {"status": "succeeded", "result": {"pong": True}}
        if name == "read_now":
            self.sends_now.set()
            return {"status": "succeeded"}
        if name == "set_interval":
            seconds = params.get("seconds")
            if not isinstance(seconds, (int, float)) or seconds <= 0:
                return {"status": "failed", "result": {"error": "seconds must be a number above 0"}}
            self.interval_s = seconds
            return {"status": "succeeded", "result": {"seconds": seconds}}
        return {"status": "failed", "result": {"error": f"there is no command {name}"}}

    def answer(self, command_id, answer, message):
        """MQTT 5 can name the topic of the answer in the command itself."""
        topic = self.topics["commands_response_publish"]
        properties = None
        asked = getattr(message, "properties", None)
        if asked is not None and hasattr(asked, "ResponseTopic"):
            topic = asked.ResponseTopic
            properties = Properties(PacketTypes.PUBLISH)
            if hasattr(asked, "CorrelationData"):
                properties.CorrelationData = asked.CorrelationData
        self.publish(topic, {"command_id": command_id, **answer}, properties)

    def publish(self, topic, body, properties=None):
        self.client.publish(topic, json.dumps(body), qos=1, properties=properties)

    def run_until_interrupted(self):
        self.connect()
        self.client.loop_start()
        try:
            while True:
                self.sends_now.wait(self.interval_s)
                self.sends_now.clear()
                reading = {"temperature": round(random.gauss(21, 0.5), 2), "humidity": random.randint(40, 60)}
                self.publish(self.topics["telemetry_publish"], reading)
        except KeyboardInterrupt:
            offline = self.client.publish(self.topics["status_offline"], '{"status":"offline"}', qos=1, retain=True)
            offline.wait_for_publish(5)
            self.client.disconnect()
            self.client.loop_stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--url", default="http://127.0.0.1:5000", help="the server")
    parser.add_argument("--name", default="paho-device", help="name of the device")
    parser.add_argument("--type", default="temperature", help="its type")
    parser.add_argument("--mqtt-version", choices=["3.1.1", "5"], default="3.1.1")
    parser.add_argument("--interval", type=float, default=10, help="seconds between two readings")
    parser.add_argument("--keys", help="file that keeps id and key (<name>.json)")
    parser.add_argument("--enrollment-key", default=os.environ.get("ENROLLMENT_KEY"))
    options = parser.parse_args()
    options.url = options.url.rstrip("/")
    options.keys = options.keys or f"{options.name}.json"
    Device(options).run_until_interrupted()


if __name__ == "__main__":
    main()
