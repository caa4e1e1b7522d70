/**
 * Servers, tools and rights that tests need and a machine may lack. A missing one leaves its tests out and says so; named by
 * REQUIRE_BACKENDS (`1` for all, or names with commas between them) it fails them instead.
 */
import { describe, it } from 'vitest'

/** What the tests know, each with how to get it. */
const howToGet = {
  influxdb: 'set INFLUXDB_URL and INFLUXDB_TOKEN to an InfluxDB 2',
  moto: 'pip install "moto[server]", and put moto_server on the PATH or its path into MOTO_SERVER',
  mosquitto: 'apt-get install mosquitto',
  mount: 'run as root, who may mount a file system',
  openssl: 'apt-get install openssl',
  redis: 'apt-get install redis-server',
  schemathesis: 'pip install schemathesis, and put it on the PATH or its path into SCHEMATHESIS',
  sqld: 'put the libSQL server on the PATH or its path into SQLD',
  strace: 'apt-get install strace',
} as const

export type Backend = keyof typeof howToGet

const isBackend = (name: string): name is Backend => Object.hasOwn(howToGet, name)

/** @throws {Error} for a name that is none: a misspelt one would require nothing. */
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

/** Whether a test that cannot be done without this backend has to fail. */
export const mayNotMiss = (backend: Backend): boolean => required.has(backend)

/** A `describe` for what needs these backends. @param needs whether each of them is here. */
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
  it(`${name}: has what it needs`, () => {
    throw new Error(sentence)
  })
}
