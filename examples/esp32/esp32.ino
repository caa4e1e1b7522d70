/*
 * An ESP32 that sends a reading every minute over MQTT with TLS, and says whether it is online.
 *
 * Board: esp32 by Espressif. Library: PubSubClient by Nick O'Leary.
 *
 * PubSubClient publishes with QoS 0, without an acknowledgement: a reading is lost when the connection breaks at that moment.
 * Where no reading may be lost, use a library that publishes with QoS 1, such as MQTT by Joël Gähwiler, or HTTP.
 */
#include <PubSubClient.h>
#include <WiFi.h>
#include <WiFiClientSecure.h>
#include <time.h>

// Your network.
const char *const WIFI_NAME = "my-network";
const char *const WIFI_PASSWORD = "my-password";

// Your server, and what `iotflow device create greenhouse-3 --type greenhouse` printed.
const char *const MQTT_HOST = "iotflow.example";
const int MQTT_TLS_PORT = 8883;
const char *const DEVICE_ID = "7";
const char *const API_KEY = "the-key-of-the-device";

// The certificate of the authority that signed the one of your server.
const char *const CA_CERTIFICATE = R"(
-----BEGIN CERTIFICATE-----
-----END CERTIFICATE-----
)";

const unsigned long INTERVAL_MS = 60000;
// Before this time the clock of the chip is not set.
const time_t CLOCK_IS_SET = 1700000000;

WiFiClientSecure network;
PubSubClient broker(network);
unsigned long sentAt = 0;

// The topic of this device that ends so.
const char *topic(const char *end) {
  static char text[64];
  snprintf(text, sizeof(text), "iotflow/devices/%s/%s", DEVICE_ID, end);
  return text;
}

// Replace this by your sensor.
float measureTemperature() { return temperatureRead(); }

bool connectToBroker() {
  // When the connection breaks, the broker publishes this for the device.
  const bool connected =
      broker.connect(DEVICE_ID, DEVICE_ID, API_KEY, topic("status/offline"), 1, true, "{\"status\":\"offline\"}");
  if (connected) broker.publish(topic("status/online"), "{\"status\":\"online\"}", true);
  else Serial.printf("The broker refuses, or does not answer: %d\n", broker.state());
  return connected;
}

bool sendReading() {
  char text[128];
  const time_t now = time(nullptr);
  int length = snprintf(text, sizeof(text), "{\"temperature\":%.2f,\"rssi\":%d", measureTemperature(), WiFi.RSSI());
  // Without a time the server takes the time of arrival.
  if (now > CLOCK_IS_SET)
    length += snprintf(text + length, sizeof(text) - length, ",\"ts\":%ld", static_cast<long>(now));
  snprintf(text + length, sizeof(text) - length, "}");
  return broker.publish(topic("telemetry"), text);
}

void setup() {
  Serial.begin(115200);
  WiFi.begin(WIFI_NAME, WIFI_PASSWORD);
  while (WiFi.status() != WL_CONNECTED) delay(500);
  // Certificates are checked against the clock.
  configTime(0, 0, "pool.ntp.org");
  network.setCACert(CA_CERTIFICATE);
  broker.setServer(MQTT_HOST, MQTT_TLS_PORT);
}

void loop() {
  if (!broker.connected() && !connectToBroker()) {
    delay(5000);
    return;
  }
  broker.loop();
  if (sentAt == 0 || millis() - sentAt >= INTERVAL_MS) {
    if (sendReading()) sentAt = millis();
    else Serial.println("A reading was not sent.");
  }
  delay(100);
}
