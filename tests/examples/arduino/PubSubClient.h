// Stands for PubSubClient 2.8: prints what a broker would get, one JSON array for each call.
#pragma once
#include <string>
#include "WiFiClientSecure.h"

inline std::string quoted(const char *text) {
  std::string result = "\"";
  for (const char *at = text; *at != '\0'; ++at) {
    if (*at == '"' || *at == '\\') result += '\\';
    result += *at;
  }
  return result + "\"";
}

class PubSubClient {
  bool open = false;
  const char *host = "";
  int port = 0;

 public:
  explicit PubSubClient(Client &) {}
  PubSubClient &setServer(const char *name, uint16_t number) {
    host = name;
    port = number;
    return *this;
  }
  bool connected() { return open; }
  int state() { return open ? 0 : -2; }
  bool loop() { return open; }
  bool connect(const char *id, const char *user, const char *pass, const char *willTopic, uint8_t willQos, bool willRetain,
               const char *willMessage) {
    open = true;
    std::printf("[\"connect\",%s,%d,%s,%s,%s,%s,%d,%s,%s]\n", quoted(host).c_str(), port, quoted(id).c_str(),
                quoted(user).c_str(), quoted(pass).c_str(), quoted(willTopic).c_str(), willQos,
                willRetain ? "true" : "false", quoted(willMessage).c_str());
    return true;
  }
  bool publish(const char *topic, const char *payload) { return publish(topic, payload, false); }
  bool publish(const char *topic, const char *payload, bool retained) {
    // The buffer of the library: header, topic and payload.
    if (std::string(topic).size() + std::string(payload).size() + 7 > 256) return false;
    std::printf("[\"publish\",%s,%s,%s]\n", quoted(topic).c_str(), quoted(payload).c_str(), retained ? "true" : "false");
    return true;
  }
};
