import { defineConfig } from 'vitest/config'

/** Tests that start processes, brokers, databases with threads or whole layers; the others are done in seconds. */
const system = [
  'tests/e2e/**/*.test.ts',
  'tests/lib/devices/{accounts,presence}.test.ts',
  'tests/lib/registry/server.test.ts',
  'tests/lib/telemetry/{embedded,embedded-journal,queue,spool}.test.ts',
  'tests/local/{bridge,broker,copying,leader,mosquitto,stack,telemetry-copy}.test.ts',
  'tests/simulators/**/*.test.ts',
]

export default defineConfig({
  test: {
    testTimeout: 20_000,
    hookTimeout: 30_000,
    projects: [
      {
        extends: true,
        test: { name: 'unit', include: ['tests/**/*.test.ts'], exclude: system },
      },
      { extends: true, test: { name: 'system', include: system, testTimeout: 90_000 } },
    ],
    coverage: { provider: 'v8', include: ['functions/**', 'lib/**', 'local/**', 'simulators/**'] },
  },
})
