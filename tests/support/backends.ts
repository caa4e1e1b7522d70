/**
 * Servers, tools and rights that tests need and a machine may lack. If one is missing, its tests are skipped and a line says so. If
 * REQUIRE_BACKENDS names it (names separated by commas, or `1` for all), its tests fail instead.
 */
import { describe, it } from 'vitest'

/** Every backend, with the way to install it. */
const howToGet = {
  'cfn-lint': 'pip install cfn-lint, and put it on the PATH or its path into CFN_LINT',
  chromium: 'apt-get install chromium, or put the path of a Chromium into CHROMIUM',
  'g++': 'apt-get install g++',
  influxdb: 'set INFLUXDB_URL and INFLUXDB_TOKEN to an InfluxDB 2',
  moto: 'pip install "moto[server]", and put moto_server on the PATH or its path into MOTO_SERVER',
  mosquitto: 'apt-get install mosquitto',
  mount: 'run as root, who may mount a file system',
  openssl: 'apt-get install openssl',
  paho: 'pip install paho-mqtt requests, and put the path of this Python into PAHO_PYTHON',
  promtool: 'apt-get install prometheus, or put promtool on the PATH or its path into PROMTOOL',
  redis: 'apt-get install redis-server',
  schemathesis: 'pip install schemathesis, and put it on the PATH or its path into SCHEMATHESIS',
  sqld: 'put the libSQL server on the PATH or its path into SQLD',
  strace: 'apt-get install strace',
} as const

export type Backend = keyof typeof howToGet

const isBackend = (name: string): name is Backend => Object.hasOwn(howToGet, name)

/** @throws {Error} for an unknown name: a misspelt one would require nothing. */
export function requiredBackends(setting: string): ReadonlySet<Backend> {
  if (setting === '' || setting === '0') return new Set()
  const names = setting === '1' ? Object.keys(howToGet) : setting.split(',').map((name) => name.trim())
  return new Set(
    names.map((name) => {
      if (isBackend(name)) return name
      throw new Error(`REQUIRE_BACKENDS knows no ${name}: it takes 1 or ${Object.keys(howToGet).join(', ')}.`)
    }),
  )
}

const required = requiredBackends(process.env.REQUIRE_BACKENDS ?? '')

/** True when tests that need this backend must fail without it. */
export const mayNotMiss = (backend: Backend): boolean => required.has(backend)

/** A `describe` for tests that need these backends. @param needs whether each of them is installed. */
export function describeWith(needs: Partial<Record<Backend, boolean>>, name: string, body: () => void): void {
  const missing = (Object.keys(needs) as Backend[]).filter((backend) => !needs[backend])
  if (missing.length === 0) {
    describe(name, body)
    return
  }
  describe.skip(name, body)
  const sentence = missing.map((backend) => `There is no ${backend}: ${howToGet[backend]}.`).join(' ')
  if (!missing.some(mayNotMiss)) {
    console.warn(`LEFT OUT: ${name}. ${sentence}`)
    return
  }
  it(`${name}: its backends are installed`, () => {
    throw new Error(sentence)
  })
}
