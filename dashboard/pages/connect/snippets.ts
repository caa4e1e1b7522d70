/** Programs that send a first reading: complete, with the address, the id and the key of the device in them. */
import { isLoopback } from '../../../lib/loopback.ts'

export interface SnippetValues {
  /** `http://localhost:5000`, without a slash at the end. */
  readonly origin: string
  readonly deviceId: number
  readonly apiKey: string
  /** Undefined where the server has no broker that a device can reach without TLS. */
  readonly mqtt:
    | { readonly host: string; readonly port: number; readonly clientId: string; readonly topic: string }
    | undefined
}

export interface Snippet {
  readonly id: string
  /** On the tab. */
  readonly name: string
  /** What is needed, and what to do with it. */
  readonly how: string
  /** A command that installs what it needs. */
  readonly install?: string
  readonly text: string
}

/** Stands where a board needs an address that this page does not know. */
export const needsAddress = 'ADDRESS-OF-THIS-COMPUTER'

/** A text in the quotes of JSON, which Python, C++ and JavaScript read too. */
const quoted = (text: string) => JSON.stringify(text)

const curl = ({ origin, apiKey }: SnippetValues): Snippet => ({
  id: 'curl',
  name: 'curl',
  how: 'In a terminal.',
  // The answer has no line break at its end, and the prompt would follow it on the same line.
  text: `curl -w '\\n' -X POST ${origin}/api/v1/devices/telemetry \\
  -H 'X-API-Key: ${apiKey}' \\
  -H 'Content-Type: application/json' \\
  -d '{"data":{"temperature":21.5,"humidity":48}}'
`,
})

const pythonHttp = ({ origin, apiKey }: SnippetValues): Snippet => ({
  id: 'python-http',
  name: 'Python',
  how: 'Python 3, nothing to install. It sends every 5 s; Ctrl-C ends it.',
  text: `import json
import random
import time
import urllib.request

while True:
    reading = {"temperature": round(random.gauss(21, 0.5), 2), "humidity": round(random.gauss(48, 2), 1)}
    request = urllib.request.Request(
        ${quoted(`${origin}/api/v1/devices/telemetry`)},
        data=json.dumps({"data": reading}).encode(),
        headers={"X-API-Key": ${quoted(apiKey)}, "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        print(answer.status, reading, flush=True)
    time.sleep(5)
`,
})

const pythonMqtt = (
  { deviceId, apiKey }: SnippetValues,
  mqtt: NonNullable<SnippetValues['mqtt']>,
): Snippet => ({
  id: 'python-mqtt',
  name: 'MQTT',
  how: 'Python 3. It sends every 5 s; Ctrl-C ends it. It needs a package:',
  install: 'pip install "paho-mqtt>=2"',
  text: `import json
import random
import time

import paho.mqtt.client as mqtt

client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=${quoted(mqtt.clientId)})
client.username_pw_set(${quoted(String(deviceId))}, ${quoted(apiKey)})
client.connect(${quoted(mqtt.host)}, ${mqtt.port})
client.loop_start()
while True:
    reading = {"temperature": round(random.gauss(21, 0.5), 2), "humidity": round(random.gauss(48, 2), 1)}
    client.publish(${quoted(mqtt.topic)}, json.dumps(reading), qos=1).wait_for_publish()
    print(reading, flush=True)
    time.sleep(5)
`,
})

const esp32 = ({ deviceId, apiKey }: SnippetValues, mqtt: NonNullable<SnippetValues['mqtt']>): Snippet => ({
  id: 'esp32',
  name: 'ESP32',
  how: 'Arduino, with the library PubSubClient. Put the name and the password of your network in.',
  text: `#include <WiFi.h>
#include <PubSubClient.h>

WiFiClient network;
PubSubClient mqtt(network);

void setup() {
  Serial.begin(115200);
  WiFi.begin("your-network", "your-password");
  while (WiFi.status() != WL_CONNECTED) delay(200);
  mqtt.setServer(${quoted(isLoopback(mqtt.host) ? needsAddress : mqtt.host)}, ${mqtt.port});
}

void loop() {
  while (!mqtt.connected()) {
    if (!mqtt.connect(${quoted(mqtt.clientId)}, ${quoted(String(deviceId))}, ${quoted(apiKey)})) delay(2000);
  }
  char reading[64];
  snprintf(reading, sizeof reading, "{\\"temperature\\":%.1f}", temperatureRead());
  mqtt.publish(${quoted(mqtt.topic)}, reading);
  mqtt.loop();
  delay(5000);
}
`,
})

const iotflow = ({ origin, deviceId, apiKey }: SnippetValues): Snippet => ({
  id: 'iotflow',
  name: 'iotflow',
  how: 'In the folder of the project, in bash or zsh. It leaves no file with the key.',
  text: `npx iotflow --url ${origin} telemetry import \\
  <(printf 'device_id,temperature,humidity\\n${deviceId},21.5,48\\n') \\
  --keys <(printf 'id,api_key\\n${deviceId},${apiKey}\\n')
`,
})

/** The snippets that work with this server, the simplest first. */
export function snippetsFor(values: SnippetValues): Snippet[] {
  const { mqtt } = values
  return [
    curl(values),
    pythonHttp(values),
    ...(mqtt === undefined ? [] : [pythonMqtt(values, mqtt), esp32(values, mqtt)]),
    iotflow(values),
  ]
}
