import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'
import { bundle } from './scripts/bundle.mjs'

/** Tests that start processes, brokers, databases with threads or whole servers; the others are done in seconds. */
const system = [
  'tests/benchmarks/queue.test.ts',
  'tests/cli/**/*.test.ts',
  'tests/cloud/plugin/deployment.test.ts',
  'tests/dashboard/**/*.browser.test.ts',
  'tests/e2e/**/*.test.ts',
  'tests/lib/alerts/judging.test.ts',
  'tests/lib/broker/mosquitto-accounts.test.ts',
  'tests/lib/devices/presence.test.ts',
  'tests/lib/libsql/server.test.ts',
  'tests/lib/telemetry/embedded/{store,journal}.test.ts',
  'tests/lib/telemetry/intake/{sqs,store-writer,spool-drain}.test.ts',
  'tests/lib/webhooks/{dispatcher,waker}.test.ts',
  'tests/local/backup/**/*.test.ts',
  'tests/local/mqtt/embedded/**/*.test.ts',
  'tests/local/mqtt/mosquitto/{bridge,leader,mosquitto}.test.ts',
  'tests/local/stack/stack.test.ts',
  'tests/scripts/run.test.ts',
  'tests/scripts/telemetry-copy/{copying,telemetry-copy}.test.ts',
  'tests/simulators/{enrolment,fleet,simulate,view}.test.ts',
]

/** Tests of the functions in this process: each file opens the services, and closes them at its end. */
const functions = ['tests/functions/**/*.test.ts']

/** The longest of these, longest first: they start first, so that no worker has one left when the others are done. */
const longest = [
  'e2e/schemathesis',
  'e2e/faults',
  'e2e/downlink',
  'e2e/journey',
  'e2e/life',
  'cli/documents',
  'local/backup/restore',
  'e2e/fleet-commands',
  'e2e/rights',
  'e2e/hostile-http',
  'e2e/hostile-mqtt',
  'e2e/queue',
  'e2e/dev',
  'dashboard/device.browser',
  'cli/device',
]
const place = (file: string) => longest.findIndex((name) => file.endsWith(`tests/${name}.test.ts`))

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const others = await super.sort(files)
    const last = longest.length
    const at = ({ moduleId }: TestSpecification) => (place(moduleId) + last + 1) % (last + 1)
    return others.sort((one, other) => at(one) - at(other))
  }
}

/** The deployment: `npm run test:deploy`. */
const deploy = ['tests/deploy/**/*.test.ts', 'tests/e2e/package.test.ts']

// Node 20 cannot start a thread from TypeScript.
const programs = await bundle('local/start.ts')

export default defineConfig({
  define: {
    embeddedWorkerFile: JSON.stringify(`${programs}/embedded-worker.mjs`),
    // The first test file that needs the bundles of the cloud builds them.
    testRunStartedAt: String(Date.now()),
  },
  test: {
    // No test is about speed: each bound is far beyond what a busy machine takes.
    testTimeout: 90_000,
    hookTimeout: 120_000,
    sequence: { sequencer: LongestFirst },
    expect: { poll: { timeout: 60_000 } },
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          include: ['tests/**/*.test.ts'],
          exclude: [...functions, ...system, ...deploy],
          maxWorkers: '100%',
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          name: 'functions',
          include: functions,
          maxWorkers: '100%',
          // Each of these files needs nearly all of the sources, which takes longer to load than the tests take.
          isolate: false,
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          name: 'system',
          include: system,
          exclude: deploy,
          testTimeout: 180_000,
          maxWorkers: '100%',
          sequence: { groupOrder: 1 },
        },
      },
      {
        extends: true,
        test: {
          name: 'deploy',
          include: deploy,
          globalSetup: 'tests/deploy/setup.ts',
          testTimeout: 600_000,
          hookTimeout: 600_000,
          maxWorkers: '100%',
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
