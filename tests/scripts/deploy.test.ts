import { spawnSync } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import { settingNames } from '../../lib/config.ts'
import { missingFor, parseDeployment } from '../../scripts/deploy.ts'
import { temporaryFolder } from '../support/temporary.ts'

const needed = { DATABASE_URL: 'libsql://iotflow.example.com', IOT_ENDPOINT: 'a1-ats.iot.example.com' }
const complete = { ...needed, UPSTASH_REDIS_REST_URL: 'https://upstash.example.com' }
const unlimited = {
  RATE_LIMIT_PER_MINUTE: '0',
  RATE_LIMIT_TELEMETRY_PER_MINUTE: '0',
  RATE_LIMIT_REGISTER_PER_5_MINUTES: '0',
  RATE_LIMIT_IP_PER_MINUTE: '0',
}

describe('a deployment', () => {
  it('is of a stage, in a region of its own when one is named', () => {
    expect(parseDeployment(['--stage', 'prod'])).toEqual({ stage: 'prod', region: undefined })
    expect(parseDeployment(['--stage', 'dev', '--region', 'eu-west-1'])).toEqual({
      stage: 'dev',
      region: 'eu-west-1',
    })
    expect(parseDeployment(['--help'])).toBeUndefined()
  })

  it.each([[[]], [['--stage', 'local']], [['--stage']], [['--stag', 'dev']], [['prod']]])(
    'is refused with %j',
    (args) => {
      expect(() => parseDeployment(args)).toThrow()
    },
  )

  it.each<[string, Record<string, string>, string[]]>([
    ['nothing when all is set', complete, []],
    ['everything when nothing is', {}, ['DATABASE_URL', 'IOT_ENDPOINT', 'UPSTASH_REDIS_REST_URL']],
    ['a server in place of a file', { ...complete, DATABASE_URL: 'file:registry.db' }, ['DATABASE_URL']],
    [
      'a connection that is encrypted',
      { ...complete, DATABASE_URL: 'http://db.example.com' },
      ['DATABASE_URL'],
    ],
    ['the endpoint of the broker', { ...complete, IOT_ENDPOINT: '' }, ['IOT_ENDPOINT']],
    ['no place to count where nothing is limited', { ...needed, ...unlimited }, []],
    [
      'one where anything is',
      { ...needed, ...unlimited, RATE_LIMIT_IP_PER_MINUTE: '300' },
      ['UPSTASH_REDIS_REST_URL'],
    ],
    ['one that functions reach', { ...complete, REDIS_URL: 'redis://127.0.0.1' }, ['REDIS_URL']],
  ])('misses %s', (_what, env, names) => {
    expect(missingFor(env).map((sentence) => sentence.split(' ')[0])).toEqual(names)
  })

  it('migrates without the token for counting requests', async () => {
    const folder = await temporaryFolder()
    const { stderr, status } = spawnSync(process.execPath, ['scripts/run.mjs', 'scripts/migrate.ts'], {
      env: {
        PATH: process.env.PATH,
        ...Object.fromEntries(settingNames.map((name) => [name, ''])),
        UPSTASH_REDIS_REST_URL: complete.UPSTASH_REDIS_REST_URL,
        DATA_DIR: folder.path,
      },
      encoding: 'utf8',
    })
    await folder.remove()
    expect(stderr).toBe('')
    expect(status).toBe(0)
  })
})
