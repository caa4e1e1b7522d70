import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { builtinModules } from 'node:module'
import { dirname, join, normalize } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { loadFunctions } from '../local/functions.ts'

const folders = [
  'cli',
  'client',
  'cloud',
  'dashboard',
  'functions',
  'lib',
  'local',
  'scripts',
  'simulators',
  'tests',
  'benchmarks',
  'examples',
].filter((folder) => existsSync(folder))
const files = folders.flatMap((folder) =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.(tsx?|mjs)$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name)),
)
const source = new Map(files.map((file) => [file, readFileSync(file, 'utf8')]))

interface Import {
  readonly file: string
  /** A path from the root, or the name of a package. */
  readonly target: string
  readonly typeOnly: boolean
}

const packageOf = (specifier: string) =>
  specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/')

/** Static imports, imports of values at run time, and what is handed on by `export … from`. */
const imports: Import[] = files.flatMap((file) => {
  const text = source.get(file) ?? ''
  const found = [
    ...text.matchAll(/^(?:import|export)\s+(type\s)?[^'"`;]*?from\s+'([^']+)'/gm),
    ...text.matchAll(/^import()\s+'([^']+)'/gm),
    ...text.matchAll(/\bimport()\('([^']+)'\)/g),
  ]
  return found.map(([, type, specifier = '']) => ({
    file,
    target: specifier.startsWith('.') ? normalize(join(dirname(file), specifier)) : specifier,
    typeOnly: type !== undefined && type !== '',
  }))
})
const ours = imports.filter(({ target }) => folders.some((folder) => target.startsWith(`${folder}/`)))
const shown = ({ file, target }: Import) => `${file} → ${target}`

/** Small files that know no domain and no transport. */
const ground = [
  'lib/counts.ts',
  'lib/csv.ts',
  'lib/errors.ts',
  'lib/histogram.ts',
  'lib/iso-time.ts',
  'lib/json.ts',
  'lib/loopback.ts',
  'lib/memoize-for.ts',
  'lib/parameters.ts',
  'lib/request-id.ts',
  'lib/response-fields.ts',
  'lib/root.ts',
  'lib/services.ts',
  'lib/settings.ts',
  'lib/stages.ts',
  'lib/tally.ts',
  'lib/time-zone.ts',
  'lib/version.ts',
]

const domains = ['alerts', 'devices', 'configuration', 'commands', 'telemetry', 'webhooks']
const foundation = ['registry', 'broker', 'mqtt', 'libsql', 'config', 'log', 'ground']

/** Which part may import which. The first pattern that fits a file says what it is. */
const layers: readonly { name: string; is: RegExp; mayImport: readonly string[] }[] = [
  {
    name: 'runtime',
    is: /^lib\/(runtime|runtime-base|runtime-broker|runtime-embedded|runtime-registry|runtime-telemetry|runtime-webhooks|serve)\.ts$/,
    mayImport: ['dashboard', ...domains, ...foundation, 'http', 'lambda', 'aws'],
  },
  { name: 'dashboard', is: /^lib\/dashboard\//, mayImport: [...domains, ...foundation] },
  { name: 'config', is: /^lib\/config\.ts$/, mayImport: ['aws', 'ground'] },
  { name: 'log', is: /^lib\/log\.ts$/, mayImport: ['config', 'ground'] },
  { name: 'aws', is: /^lib\/lambda\/aws\.ts$/, mayImport: ['ground'] },
  { name: 'lambda', is: /^lib\/lambda\//, mayImport: ['aws', 'http', 'log', 'ground'] },
  { name: 'libsql', is: /^lib\/libsql\//, mayImport: ['ground'] },
  { name: 'registry', is: /^lib\/registry\//, mayImport: ['libsql', 'ground'] },
  { name: 'mqtt', is: /^lib\/mqtt\//, mayImport: ['ground'] },
  {
    name: 'broker',
    is: /^lib\/broker\//,
    mayImport: ['registry', 'mqtt', 'libsql', 'log', 'aws', 'ground'],
  },
  {
    name: 'devices',
    is: /^lib\/devices\//,
    mayImport: ['registry', 'broker', 'mqtt', 'libsql', 'log', 'ground'],
  },
  {
    name: 'telemetry',
    is: /^lib\/telemetry\//,
    mayImport: ['registry', 'mqtt', 'libsql', 'log', 'aws', 'ground'],
  },
  {
    name: 'configuration',
    is: /^lib\/configuration\//,
    mayImport: ['registry', 'broker', 'mqtt', 'libsql', 'log', 'ground'],
  },
  {
    name: 'commands',
    is: /^lib\/commands\//,
    mayImport: ['registry', 'broker', 'mqtt', 'libsql', 'log', 'ground'],
  },
  {
    name: 'alerts',
    is: /^lib\/alerts\//,
    mayImport: ['devices', 'telemetry', 'registry', 'log', 'ground'],
  },
  {
    name: 'webhooks',
    is: /^lib\/webhooks\//,
    mayImport: ['registry', 'libsql', 'log', 'aws', 'ground'],
  },
  { name: 'http', is: /^lib\/http\//, mayImport: ['log', 'ground'] },
  { name: 'ground', is: /^lib\/[a-z-]+\.ts$/, mayImport: ['ground'] },
  {
    name: 'functions',
    is: /^functions\//,
    mayImport: ['runtime', 'dashboard', ...domains, ...foundation, 'http', 'lambda'],
  },
  { name: 'dashboard', is: /^dashboard\//, mayImport: ['functions', 'devices', 'ground'] },
  { name: 'simulators', is: /^simulators\//, mayImport: ['simulators'] },
  {
    name: 'local',
    is: /^local\//,
    mayImport: [
      'functions',
      'runtime',
      'dashboard',
      ...domains,
      ...foundation,
      'http',
      'lambda',
      'aws',
      'simulators',
      'scripts',
    ],
  },
  {
    name: 'cli',
    is: /^cli\//,
    mayImport: ['local', 'scripts', 'runtime', ...domains, ...foundation, 'http'],
  },
  {
    name: 'cloud',
    is: /^cloud\//,
    mayImport: ['local', 'scripts', ...foundation, 'http', 'lambda', 'aws'],
  },
  {
    name: 'scripts',
    is: /^scripts\//,
    mayImport: [
      'local',
      'functions',
      'runtime',
      ...domains,
      ...foundation,
      'http',
      'lambda',
      'aws',
      'simulators',
    ],
  },
]
const layerOf = (file: string) => layers.find(({ is }) => is.test(file))

describe('the arrows', () => {
  it('are found', () => {
    expect(ours.length).toBeGreaterThan(300)
    expect(imports.some(({ target }) => target === 'hono')).toBe(true)
  })

  it('point only where they may', () => {
    const wrong = ours.filter(({ file, target }) => {
      const [from, to] = [layerOf(file), layerOf(target)]
      if (from === undefined || to === undefined || from.name === to.name) return false
      return !from.mayImport.includes(to.name)
    })
    const allowed = ({ file, target }: Import) =>
      file.startsWith('simulators/') && ['lib/mqtt/topics.ts', 'scripts/command.ts'].includes(target)
    expect(wrong.filter((one) => !allowed(one)).map(shown)).toEqual([])
  })

  it('never lead from one function to another, nor from lib to what stands on it', () => {
    const wrong = ours.filter(
      ({ file, target }) =>
        (file.startsWith('functions/') && target.startsWith('functions/')) ||
        (file.startsWith('lib/') && !target.startsWith('lib/')),
    )
    expect(wrong.map(shown)).toEqual([])
  })

  it('lead from the page in the browser to types, and to files that run in a browser, too', () => {
    // They use nothing of Node.
    const forBrowsers = [
      'lib/csv.ts',
      'lib/devices/event-words.ts',
      'lib/devices/import-parts.ts',
      'lib/loopback.ts',
    ]
    const leaving = ours.filter(
      ({ file, target }) => file.startsWith('dashboard/') && !target.startsWith('dashboard/'),
    )
    expect(leaving.length).toBeGreaterThan(0)
    const values = new Set(leaving.filter(({ typeOnly }) => !typeOnly).map(({ target }) => target))
    expect([...values].sort()).toEqual(forBrowsers)
    expect(ours.filter(({ file, typeOnly }) => forBrowsers.includes(file) && !typeOnly).map(shown)).toEqual(
      [],
    )
  })

  it('never lead into local/ but from itself, cloud, scripts, tests and benchmarks', () => {
    const wrong = ours.filter(
      ({ file, target }) =>
        target.startsWith('local/') && !/^(cli|cloud|local|scripts|tests|benchmarks)\//.test(file),
    )
    expect(wrong.map(shown)).toEqual([])
  })

  it('let no product code stand on tests', () => {
    expect(
      ours.filter(({ file, target }) => target.startsWith('tests/') && !file.startsWith('tests/')).map(shown),
    ).toEqual([])
  })

  it('know every small file of lib by name, so that no drawer for anything comes to be', () => {
    const small = files.filter((file) => /^lib\/[^/]+\.ts$/.test(file))
    const known = [
      ...ground,
      'lib/runtime.ts',
      'lib/runtime-base.ts',
      'lib/runtime-broker.ts',
      'lib/runtime-embedded.ts',
      'lib/runtime-registry.ts',
      'lib/runtime-telemetry.ts',
      'lib/runtime-webhooks.ts',
      'lib/serve.ts',
      'lib/config.ts',
      'lib/lambda/aws.ts',
      'lib/lambda/secrets.ts',
      'lib/group-commit.ts',
      'lib/log.ts',
    ]
    expect(small.filter((file) => !known.includes(file))).toEqual([])
    expect(files.filter((file) => /(^|\/)(utils?|helpers?|common|misc|index)\.ts$/.test(file))).toEqual([])
  })
})

describe('the sources', () => {
  const product = files.filter((file) => !file.startsWith('tests/'))

  it('read the environment in one file', () => {
    const readers = files.filter(
      (file) => /^(functions|lib)\//.test(file) && /process\.env\b/.test(source.get(file) ?? ''),
    )
    expect(readers).toEqual(['lib/config.ts'])
  })

  it('have no default exports, no barrels, and no notes to ourselves', () => {
    expect(product.filter((file) => /^export default/m.test(source.get(file) ?? ''))).toEqual([])
    expect(product.filter((file) => /^export \* from/m.test(source.get(file) ?? ''))).toEqual([])
    expect(
      product.filter((file) => /\b(TODO|FIXME|XXX)\b|(?<![\w&])#\d+\b/.test(source.get(file) ?? '')),
    ).toEqual([])
  })

  it('begin with what they are', () => {
    const undescribed = product.filter((file) => !/^(?:#!.*\n)?(?:\/\*\*|\/\/)/.test(source.get(file) ?? ''))
    expect(undescribed).toEqual([])
  })
})

describe('the packages', () => {
  const manifest = JSON.parse(readFileSync('package.json', 'utf8')) as Record<
    'dependencies' | 'devDependencies' | 'scripts',
    Record<string, string>
  > & { readonly name: string }
  const builtin = new Set(builtinModules)
  const used = imports.filter(
    ({ target }) => !folders.some((folder) => target.startsWith(`${folder}/`)) && !target.startsWith('node:'),
  )

  it('are declared where they are used: what runs depends, what tests is for development', () => {
    const missing = used.filter(({ file, target, typeOnly }) => {
      const name = packageOf(target)
      if (
        builtin.has(name) ||
        name === manifest.name ||
        target.startsWith('#') ||
        /\.(json|ts|css)$/.test(target)
      )
        return false
      const forRunning = !/^(tests|benchmarks)\//.test(file) && !typeOnly
      const declared = forRunning
        ? Object.keys(manifest.dependencies)
        : Object.keys({ ...manifest.dependencies, ...manifest.devDependencies })
      return !declared.includes(name) && !declared.includes(`@types/${name}`)
    })
    expect(missing.map(shown)).toEqual([])
  })

  it('are used when they are declared', () => {
    const names = new Set(used.map(({ target }) => packageOf(target)))
    const text = Object.values(manifest.scripts).join(' ') + [...source.values()].join('')
    const byName = (name: string) =>
      names.has(name) || name.startsWith('@types/') || text.includes(name.replace(/^@[^/]+\//, ''))
    // The compiler, the formatter, and the plug-ins that tools load by themselves.
    const tools = ['typescript', '@biomejs/biome', '@vitest/coverage-v8', 'drizzle-kit']
    const idle = Object.keys({ ...manifest.dependencies, ...manifest.devDependencies }).filter(
      (name) => !byName(name) && !tools.includes(name),
    )
    expect(idle).toEqual([])
  })

  it('are locked without the address of a registry', () => {
    expect(readFileSync('package-lock.json', 'utf8')).not.toContain('"resolved": "http')
  })
})

describe('serverless.yml, iot-rules and functions', () => {
  it('name the same functions', async () => {
    const { names, file } = await loadFunctions()
    const written = files.filter((name) => name.startsWith('functions/'))
    expect(names.map(file).sort()).toEqual(written.sort())
  })

  it('have the same routes', async () => {
    const { routes, http, names, module } = await loadFunctions()
    for (const name of names) {
      const declared = routes
        .filter(({ functionName }) => functionName === name)
        .map(({ method, path }) => `${method} ${path}`)
      const { route, documentation } = await module(name)
      expect([...(route?.addresses ?? [])].sort(), name).toEqual(declared.sort())
      expect(documentation === undefined, name).toBe(route === undefined)
      if (declared.length > 0) expect(typeof (await http(name)).app, name).toBe('function')
    }
  })

  it('have the same rules', async () => {
    const { names } = await loadFunctions()
    const text = readFileSync('serverless.yml', 'utf8')
    const rules = readdirSync('iot-rules')
    for (const file of rules) {
      const rule = parse(readFileSync(`iot-rules/${file}`, 'utf8')) as Record<string, string>
      expect(names, file).toContain(rule.function)
      expect(rule.name, file).toBe(file.replace('.yml', '').replaceAll('-', '_'))
      expect(text, file).toContain(`\${file(iot-rules/${file}):sql}`)
    }
    const used = new Set(
      [...text.matchAll(/file\(iot-rules\/([\w-]+\.yml)\):sql\}/g)].map(([, file]) => file),
    )
    expect([...used].sort()).toEqual(rules.sort())
  })
})

describe('the tests', () => {
  /** Files that the test of another one covers as a whole. */
  const coveredBy = new Map([
    ['lib/http/limit/shared.ts', 'tests/lib/http/limit/upstash.test.ts'],
    ['lib/http/limit/memory.ts', 'tests/lib/http/limit/limiter.test.ts'],
    ['lib/http/context.ts', 'tests/lib/http/endpoint.test.ts'],
    ['lib/http/errors.ts', 'tests/lib/http/endpoint.test.ts'],
    ['lib/http/headers.ts', 'tests/lib/http/endpoint.test.ts'],
    ['lib/http/route.ts', 'tests/lib/http/reply-types.test.ts'],
    ['lib/http/openapi.ts', 'tests/functions/system/openapi.test.ts'],
    ['lib/http/accept-encoding.ts', 'tests/functions/system/asset.test.ts'],
    ['lib/http/api-viewer.ts', 'tests/functions/system/docs-file.test.ts'],
    ['lib/http/error-schema.ts', 'tests/e2e/openapi.test.ts'],
  ])
  const testOf = (file: string) => `tests/${file.replace(/\.ts$/, '.test.ts')}`

  it('mirror the tree: every function and every file of lib/http has a test of its own', () => {
    const tested = files.filter((file) => /^(functions|lib\/http)\//.test(file))
    expect(tested.length).toBeGreaterThan(40)
    const missing = tested.filter((file) => !source.has(coveredBy.get(file) ?? testOf(file)))
    expect(missing).toEqual([])
  })

  it('have no exception for a file that is gone or has a test of its own', () => {
    const needless = [...coveredBy.keys()].filter((file) => !source.has(file) || source.has(testOf(file)))
    expect(needless).toEqual([])
  })
})
