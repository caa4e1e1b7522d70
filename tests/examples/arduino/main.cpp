// Runs the sketch for two and a half minutes of its own clock.
#include "Arduino.h"
#include SKETCH

int main() {
  setup();
  while (millis() < 150000) loop();
}
