#pragma once
#include "WiFi.h"

struct Client {};
struct WiFiClientSecure : Client {
  void setCACert(const char *) {}
};
