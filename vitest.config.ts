import { defineConfig } from 'vitest/config'
import { bundle } from './scripts/bundle.mjs'

/** Tests that start processes, brokers, databases with threads or whole servers; the others are done in seconds. */
const system = [
  'tests/cli/**/*.test.ts',
  'tests/cloud/plugin/deployment.test.ts',
  'tests/dashboard/**/*.browser.test.ts',
  'tests/e2e/**/*.test.ts',
  'tests/lib/broker/mosquitto-accounts.test.ts',
  'tests/lib/devices/presence.test.ts',
  'tests/lib/libsql/server.test.ts',
  'tests/lib/telemetry/embedded/{store,journal}.test.ts',
  'tests/lib/telemetry/intake/{sqs,store-writer,spool-drain}.test.ts',
  'tests/local/backup/**/*.test.ts',
  'tests/local/mqtt/embedded/**/*.test.ts',
  'tests/local/mqtt/mosquitto/{bridge,leader,mosquitto}.test.ts',
  'tests/local/stack/stack.test.ts',
  'tests/scripts/run.test.ts',
  'tests/scripts/telemetry-copy/{copying,telemetry-copy}.test.ts',
  'tests/simulators/{enrolment,fleet,simulate,view}.test.ts',
]

/** Of these, the ones that load the machine fully, or measure what a server does under load: nothing else runs beside them. */
const alone = ['tests/e2e/{dev,durability,faults,hostile-http,hostile-mqtt,schemathesis}.test.ts']

// Node 20 cannot start a thread from TypeScript.
const programs = await bundle('local/start.ts')

export default defineConfig({
  define: { embeddedWorkerFile: JSON.stringify(`${programs}/embedded-worker.mjs`) },
  test: {
    testTimeout: 20_000,
    hookTimeout: 30_000,
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          include: ['tests/**/*.test.ts'],
          exclude: system,
          maxWorkers: '100%',
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          name: 'system',
          include: system,
          exclude: alone,
          testTimeout: 90_000,
          maxWorkers: '100%',
          sequence: { groupOrder: 1 },
        },
      },
      {
        extends: true,
        test: {
          name: 'alone',
          include: alone,
          testTimeout: 90_000,
          maxWorkers: 1,
          sequence: { groupOrder: 2 },
        },
      },
    ],
    coverage: {
      provider: 'v8',
      include: ['cli/**', 'cloud/**', 'functions/**', 'lib/**', 'local/**', 'scripts/**', 'simulators/**'],
    },
  },
})
