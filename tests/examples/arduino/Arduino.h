// Stands for the Arduino core of an ESP32: the clock jumps with delay(), and the serial port is standard error.
#pragma once
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <ctime>

inline unsigned long now_ms = 0;
inline unsigned long millis() { return now_ms; }
inline void delay(unsigned long ms) { now_ms += ms; }
inline float temperatureRead() { return 21.5f; }
inline void configTime(long, int, const char *) {}

struct SerialPort {
  void begin(unsigned long) {}
  void println(const char *text) { std::fprintf(stderr, "%s\n", text); }
  int printf(const char *format, ...) {
    va_list values;
    va_start(values, format);
    const int written = std::vfprintf(stderr, format, values);
    va_end(values);
    return written;
  }
};
inline SerialPort Serial;
