import { pbkdf2Sync } from 'node:crypto'
import { readFile, rm, stat, writeFile } from 'node:fs/promises'
import { parseEnv } from 'node:util'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { loadConfig } from '../../../lib/config.ts'
import { devSettings, parseUp, serverSettings } from '../../../local/stack/stack.ts'
import { type Ended, healthy, type StackTree, stackTree } from '../../support/docker.ts'

const servers = healthy('influxdb', 'mosquitto', 'redis')
const basic = [
  'INFLUXDB_TOKEN',
  'INFLUXDB_PASSWORD',
  'MQTT_PASSWORD',
  'REDIS_PASSWORD',
  'GRAFANA_PASSWORD',
  'METRICS_TOKEN',
  'LIBSQL_TOKEN',
  'LIBSQL_PUBLIC_KEY',
]

let tree: StackTree
beforeEach(async () => {
  tree = await stackTree()
})
afterEach(() => tree.remove())

const envText = () => readFile(`${tree.path}/.env`, 'utf8')
const env = async () => parseEnv(await envText()) as Record<string, string>
/** The words of the last call. */
const last = ({ calls }: Ended) => calls.at(-1)?.args.join(' ') ?? ''
const called = ({ calls }: Ended, word: string) => calls.find(({ args }) => args.includes(word))

describe('npm run stack -- up', () => {
  it('makes the secrets once, tells their names only, and gives them to nobody by argument', async () => {
    await writeFile(`${tree.path}/.env`, 'RETENTION_DAYS=7\nREDIS_PASSWORD=mine-since-long', { mode: 0o644 })
    const first = await tree.stack(['up'], { services: servers })
    expect(first.err).toBe('')
    expect(first.code).toBe(0)
    const made = await env()
    expect(made).toMatchObject({ RETENTION_DAYS: '7', REDIS_PASSWORD: 'mine-since-long' })
    expect(Object.keys(made).sort()).toEqual([...basic, 'RETENTION_DAYS'].sort())
    expect((await stat(`${tree.path}/.env`)).mode & 0o777).toBe(0o600)
    expect(first.out).toContain('INFLUXDB_TOKEN')
    expect(first.out).not.toContain('REDIS_PASSWORD')
    const secrets = basic.map((name) => made[name] ?? '')
    for (const secret of secrets) {
      expect(secret.length).toBeGreaterThan(14)
      expect(first.out).not.toContain(secret)
      expect(first.calls.flatMap(({ args }) => args).join(' ')).not.toContain(secret)
    }
    expect(called(first, 'up')?.env).toMatchObject(made)

    const text = await envText()
    const second = await tree.stack(['up'], { services: servers, volumes: ['iotflow_influxdb-data'] })
    expect(second.code).toBe(0)
    expect(await envText()).toBe(text)
    expect(second.out).not.toContain('Made')
  })

  it('hands a password of Redis on as an address has it', async () => {
    await writeFile(`${tree.path}/.env`, 'REDIS_PASSWORD=a/b@c:d%e\n')
    const ended = await tree.stack(['up'], { services: servers })
    expect(called(ended, 'up')?.env.STACK_REDIS_PASSWORD).toBe('a%2Fb%40c%3Ad%25e')
  })

  it('waits until all are healthy and says where they are', async () => {
    const ended = await tree.stack(
      ['up', '--profile', 'grafana'],
      { services: [...servers, ...healthy('grafana')] },
      { REDIS_PORT: '16379' },
    )
    expect(called(ended, 'up')?.args.join(' ')).toMatch(
      /^compose --project-name iotflow --file \S+\/local\/stack\/compose\.yaml --profile grafana up --detach --wait --wait-timeout \d+$/,
    )
    expect(ended.out).toMatch(/^ {2}influxdb +healthy +http:\/\/127\.0\.0\.1:8086$/m)
    expect(ended.out).toMatch(/^ {2}redis +healthy +redis:\/\/127\.0\.0\.1:16379$/m)
    expect(ended.out).toMatch(/^ {2}grafana +healthy +http:\/\/127\.0\.0\.1:3000 /m)
  })

  it('builds the IoTFlow server, starts the number of instances asked for, and makes the secrets of its clients', async () => {
    const ended = await tree.stack(['up', '--profile', 'app', '--instances', '3'], { services: servers })
    expect(called(ended, 'up')?.args.join(' ')).toContain(
      '--profile app up --detach --build --scale server=3',
    )
    const { ADMIN_TOKEN = '', ENROLLMENT_KEY = '' } = await env()
    expect(loadConfig({ ADMIN_TOKEN, ENROLLMENT_KEY })).toMatchObject({
      adminToken: ADMIN_TOKEN,
      enrollmentKeys: [ENROLLMENT_KEY],
    })
  })

  it('gives Mosquitto its files, with the account of IoTFlow and no password in clear', async () => {
    await writeFile(`${tree.path}/cert.pem`, 'a certificate')
    await writeFile(`${tree.path}/key.pem`, 'a key')
    const folder = `${tree.path}/.iotflow/stack/mosquitto`
    const plain = await tree.stack(['up'], { services: servers })
    const accounts = await readFile(`${folder}/dynamic-security.json`, 'utf8')
    const { MQTT_PASSWORD = '' } = await env()
    expect(accounts).not.toContain(MQTT_PASSWORD)
    const [account] = (JSON.parse(accounts) as { clients: Record<string, string & number>[] }).clients
    expect(account?.username).toBe('iotflow')
    const salt = Buffer.from(account?.salt ?? '', 'base64')
    const hash = pbkdf2Sync(MQTT_PASSWORD, salt, account?.iterations ?? 0, 64, 'sha512')
    expect(account?.password).toBe(hash.toString('base64'))
    expect(await readFile(`${folder}/mosquitto.conf`, 'utf8')).not.toContain('8883')

    const tls = await tree.stack(
      ['up'],
      { services: servers },
      { TLS_CERT: 'cert.pem', TLS_KEY: 'key.pem', MOSQUITTO_SAFE: 'true' },
    )
    expect(tls.err).toBe('')
    const configuration = await readFile(`${folder}/mosquitto.conf`, 'utf8')
    for (const line of [
      'user mosquitto',
      'listener 1884 0.0.0.0',
      'listener 8883 0.0.0.0',
      'certfile /mosquitto/data/cert.pem',
      'plugin_opt_config_file /mosquitto/data/dynamic-security.json',
      'autosave_on_changes true',
    ])
      expect(configuration).toContain(`${line}\n`)
    expect(await readFile(`${folder}/key.pem`, 'utf8')).toBe('a key')
    // Another configuration is another container.
    const marks = [plain, tls].map((ended) => called(ended, 'up')?.env.STACK_MOSQUITTO)
    expect(marks[0]).toMatch(/^[0-9a-f]{16}$/)
    expect(marks[1]).not.toBe(marks[0])
    expect(called(tls, 'up')?.env.STACK_TLS_PORT).toBe('8883')
  })

  it('names the services that are not healthy', async () => {
    const services = [...healthy('influxdb', 'redis'), { Service: 'mosquitto', State: 'exited', Health: '' }]
    const ended = await tree.stack(['up'], { code: 1, services })
    expect(ended.code).toBe(1)
    expect(ended.err).toBe('Not healthy: mosquitto (exited). Its log: npm run stack -- logs mosquitto\n')
  })

  it('points to what Docker said when nothing was started', async () => {
    const ended = await tree.stack(['up'], { code: 1 })
    expect(ended).toMatchObject({
      code: 1,
      err: 'The stack was not started: the output of Docker above says why.\n',
    })
  })

  it('makes no new secret for a server that has its own already', async () => {
    const volumes = ['iotflow_influxdb-data', 'other_mosquitto-data']
    const ended = await tree.stack(['up'], { volumes })
    expect(ended.code).toBe(1)
    expect(ended.err).toMatch(/^INFLUXDB_TOKEN, INFLUXDB_PASSWORD of an earlier stack .* reset\.\n$/)
    expect(await envText()).toBe('')
    expect(called(ended, 'up')).toBeUndefined()
  })
})

describe('without Docker', () => {
  it.each([
    ['the program', { installed: false }, 'Docker is not installed;'],
    ['Compose', { plugin: false }, 'Docker is here without its Compose plugin;'],
    [
      'an engine that runs',
      { refuses: 'Cannot connect to the Docker daemon at unix:///var/run/docker.sock.' },
      'Docker is installed but does not run;',
    ],
    [
      'the right to use it',
      { refuses: 'permission denied while trying to connect to the docker API' },
      'This user may not use Docker;',
    ],
  ])('names npm start in one sentence: %s is missing', async (_, docker, sentence) => {
    const { code, out, err } = await tree.stack(['up'], docker)
    expect({ code, out, err }).toEqual({
      code: 3,
      out: '',
      err: `${sentence} \`npm start\` needs none: broker and stores are embedded.\n`,
    })
    await expect(stat(`${tree.path}/.env`)).rejects.toThrow()
  })
})

describe('npm run stack', () => {
  it('tells what runs, and by its exit code whether all are well', async () => {
    expect(await tree.stack(['status'], { services: servers })).toMatchObject({ code: 0 })
    const ill = await tree.stack(['status'], {
      services: [...healthy('influxdb'), { Service: 'redis', State: 'running', Health: 'unhealthy' }],
    })
    expect(ill).toMatchObject({ code: 1, err: '' })
    expect(ill.out).toMatch(/^ {2}redis +unhealthy/m)
    const none = await tree.stack(['status'])
    expect(none).toMatchObject({ code: 1, out: expect.stringContaining('npm run stack -- up') })
  })

  it('ends everything and keeps or deletes the data', async () => {
    const down = await tree.stack(['down'])
    expect(last(down)).toMatch(/--profile app --profile grafana --profile prometheus down --remove-orphans$/)
    const asked = await tree.stack(['reset'])
    expect(asked).toMatchObject({ code: 2, calls: [], err: expect.stringContaining('--yes') })
    const reset = await tree.stack(['reset', '--yes'])
    expect(reset.code).toBe(0)
    expect(last(reset)).toMatch(/ down --remove-orphans --volumes$/)
    // Also with an .env that is lost: Compose wants every name.
    for (const name of basic) expect(reset.calls.at(-1)?.env[name]).toBeTruthy()
    await rm(`${tree.path}/.env`)
    expect(await tree.stack(['down'], { code: 17 })).toMatchObject({ code: 1 })
  })

  it('hands on what logs and shell are asked', async () => {
    const logs = await tree.stack(['logs', 'mosquitto', '--tail', '5'])
    expect(last(logs)).toMatch(/ logs mosquitto --tail 5$/)
    expect(last(await tree.stack(['shell', 'redis'], { code: 7 }))).toMatch(/ exec -T redis sh$/)
  })

  it('refuses what it does not know, and helps', async () => {
    for (const args of [[], ['start'], ['down', 'now'], ['shell'], ['up', '--profile', 'all']]) {
      const ended = await tree.stack(args)
      expect(ended, args.join(' ')).toMatchObject({ code: 2, out: '', calls: [] })
      expect(ended.err).toMatch(/^[^\n]+\.\n$/)
    }
    const help = await tree.stack(['--help'], { installed: false })
    expect(help).toMatchObject({ code: 0, err: '' })
    for (const word of ['up', 'down', 'status', 'logs', 'shell', 'reset', '--profile'])
      expect(help.out).toContain(word)
  })
})

it('knows its arguments', () => {
  expect(parseUp([])).toEqual({ profiles: [], instances: undefined })
  expect(parseUp(['--profile', 'app', '--profile', 'app', '--instances', '12'])).toEqual({
    profiles: ['app'],
    instances: 12,
  })
  for (const args of [['--instances', '2'], ['--profile', 'app', '--instances', '0'], ['--fast'], ['now']])
    expect(() => parseUp(args), args.join(' ')).toThrow()
})

it('gives a server on this machine settings that it accepts', () => {
  const secrets = { INFLUXDB_TOKEN: 'a', REDIS_PASSWORD: 'b/c', MQTT_PASSWORD: 'd' }
  expect(loadConfig(serverSettings(secrets))).toMatchObject({
    influx: { url: 'http://127.0.0.1:8086', token: 'a' },
    redisUrl: 'redis://:b%2Fc@127.0.0.1:6379',
    mqtt: { url: 'mqtt://127.0.0.1:1884', username: 'iotflow', password: 'd' },
    ports: { mqtt: 1883, mqttTls: undefined },
  })
  const tls = { TLS_CERT: 'cert.pem', TLS_KEY: 'key.pem', MQTT_TLS_PORT: '18883', MQTT_LAYER_PORT: '11884' }
  expect(serverSettings({ ...secrets, ...tls })).toMatchObject({
    MQTT_TLS_PORT: '18883',
    MQTT_URL: 'mqtt://127.0.0.1:11884',
  })
})

it('opens the containers with HOST and TLS, not the functions under serverless-offline', () => {
  const opened = {
    INFLUXDB_TOKEN: 'a',
    MQTT_PASSWORD: 'd',
    HOST: '0.0.0.0',
    TLS_CERT: 'cert.pem',
    TLS_KEY: 'key.pem',
  }
  const settings = devSettings(opened)
  expect(loadConfig({ ...opened, ...settings })).toMatchObject({
    host: '127.0.0.1',
    tls: undefined,
    ports: { mqttTls: 8883 },
  })
})
