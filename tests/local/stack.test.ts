import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { chmod, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseEnv } from 'node:util'
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { parse } from 'yaml'
import { settingNames } from '../../lib/config.ts'
import { addSecrets, stackSettings } from '../../local/stack.ts'
import { temporaryFolder } from '../support/temporary.ts'

interface Service {
  readonly image?: string
  readonly build?: unknown
  readonly ports?: readonly string[]
  readonly environment?: Readonly<Record<string, string>>
  readonly healthcheck?: unknown
  readonly profiles?: readonly string[]
  readonly volumes?: readonly string[]
  readonly depends_on?: readonly string[] | Readonly<Record<string, unknown>>
}
const text = readFileSync('local/compose.yaml', 'utf8')
const { services, volumes } = parse(text) as {
  services: Record<string, Service>
  volumes: Record<string, unknown>
}

describe('the containers', () => {
  it.each(Object.entries(services))(
    '%s is pinned, watched, and reached from this machine only',
    (name, service) => {
      if (service.build === undefined) expect(service.image).toMatch(/:v?\d+\.\d+\.\d+(-[a-z]+)?$/)
      // The layer's own image says how it is watched.
      if (name !== 'app') expect(service.healthcheck).toBeDefined()
      for (const port of service.ports ?? []) expect(port).toMatch(/^127\.0\.0\.1:\d+:\d+$/)
      for (const [volume] of (service.volumes ?? []).map((one) => one.split(':')))
        if (!volume?.startsWith('.')) expect(Object.keys(volumes)).toContain(volume)
      const needed = Array.isArray(service.depends_on)
        ? service.depends_on
        : Object.keys(service.depends_on ?? {})
      for (const other of needed) expect(Object.keys(services)).toContain(other)
    },
  )

  it('have no secret of their own: each comes from the environment, or nothing starts', () => {
    const used = [...text.matchAll(/\$\{(\w+)(:?[?-][^}]*)?\}/g)]
    expect(used.length).toBeGreaterThan(5)
    for (const [, , rule] of used) expect(rule).toMatch(/^:\?/)
  })

  it('start without a profile what the functions need, and the rest by name', () => {
    const plain = Object.keys(services).filter((name) => services[name]?.profiles === undefined)
    expect(plain).toEqual(['influxdb', 'mosquitto', 'redis'])
  })

  it('give the layer settings that it knows', () => {
    for (const name of Object.keys(services.app?.environment ?? {})) expect(settingNames).toContain(name)
    for (const name of Object.keys(stackSettings({}))) expect(settingNames).toContain(name)
  })

  it('are built of files that there are', () => {
    const dockerfile = readFileSync('Dockerfile', 'utf8')
    const copied = [...dockerfile.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(([, files = '']) =>
      files.split(' '),
    )
    expect(copied.length).toBeGreaterThan(5)
    const let_in = readFileSync('.dockerignore', 'utf8')
    for (const file of copied) {
      const name = file.replace('./', '')
      expect(existsSync(name), name).toBe(true)
      expect(let_in).toContain(`!${name}`)
    }
  })
})

describe('npm run stack', () => {
  let folder: Awaited<ReturnType<typeof temporaryFolder>>
  beforeAll(async () => {
    folder = await temporaryFolder()
    // What cannot be had here is Docker: this one writes down what it was asked.
    await mkdir(join(folder.path, 'bin'))
    await writeFile(
      join(folder.path, 'bin/docker'),
      `#!/bin/sh\necho "$@" >> "${folder.path}/asked"\n[ "$FAKE_DOCKER" = ill ] && [ "$2" = --file ] && exit 1\nexit 0\n`,
    )
    await chmod(join(folder.path, 'bin/docker'), 0o755)
  })
  afterAll(() => folder.remove())

  const run = (args: readonly string[], env: Record<string, string> = {}) => {
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      ['--import', 'tsx', 'local/stack.ts', ...args],
      {
        encoding: 'utf8',
        env: { PATH: `${folder.path}/bin:${process.env.PATH}`, HOME: folder.path, ...env },
      },
    )
    return { status, text: `${stdout}${stderr}` }
  }

  it('makes each secret once, in a file for its owner only', async () => {
    // What the tests themselves are told of an InfluxDB is none of this.
    vi.stubEnv('INFLUXDB_TOKEN', '')
    onTestFinished(() => {
      vi.unstubAllEnvs()
    })
    const file = join(folder.path, '.env')
    await writeFile(file, 'MQTT_PASSWORD=mine\n', { mode: 0o644 })
    const made = addSecrets(file)
    expect(made).toContain('INFLUXDB_TOKEN')
    expect(made).not.toContain('MQTT_PASSWORD')
    const first = parseEnv(readFileSync(file, 'utf8'))
    expect(first.MQTT_PASSWORD).toBe('mine')
    expect(first.INFLUXDB_TOKEN?.length).toBeGreaterThan(30)
    expect(statSync(file).mode & 0o777).toBe(0o600)
    expect(addSecrets(file)).toEqual([])
    expect(parseEnv(readFileSync(file, 'utf8'))).toEqual(first)
  })

  it('hands commands to Compose, without a secret among its words', () => {
    expect(run(['status']).status).toBe(0)
    expect(run(['reset', '--yes']).status).toBe(0)
    const asked = readFileSync(join(folder.path, 'asked'), 'utf8')
    expect(asked).toMatch(/^compose --file \S+local\/compose\.yaml .*ps --all$/m)
    expect(asked).toMatch(/down --volumes$/m)
    expect(asked).not.toMatch(/password|token/i)
  })

  it('tells what Compose ended with', () => {
    expect(run(['status'], { FAKE_DOCKER: 'ill' }).status).toBe(1)
  })

  it.each([
    [['fly'], 'There is no fly'],
    [['shell'], 'needs the name of a service'],
    [['up', '--profile', 'none'], '--profile must be'],
  ])('says what is wrong with %j', (args, words) => {
    const { status, text: said } = run(args)
    expect(status).toBe(1)
    expect(said).toContain(words)
  })

  it('names what works without Docker where there is none', () => {
    const { status, text: said } = run(['up'], { PATH: '/nowhere' })
    expect(status).toBe(1)
    expect(said.trim()).toBe(
      'Docker is not installed. Without it npm start and npm run dev have everything embedded.',
    )
  })
})
