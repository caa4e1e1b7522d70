import { describe, expect, it } from 'vitest'
import { missingFor, parseDeployment } from '../../local/deploy.ts'

const complete = { DATABASE_URL: 'libsql://iotflow.example.com', IOT_ENDPOINT: 'a1-ats.iot.example.com' }

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
    ['everything when nothing is', {}, ['DATABASE_URL', 'IOT_ENDPOINT']],
    ['a server in place of a file', { ...complete, DATABASE_URL: 'file:registry.db' }, ['DATABASE_URL']],
    [
      'a connection that is encrypted',
      { ...complete, DATABASE_URL: 'http://db.example.com' },
      ['DATABASE_URL'],
    ],
    ['the endpoint of the broker', { ...complete, IOT_ENDPOINT: '' }, ['IOT_ENDPOINT']],
  ])('misses %s', (_what, env, names) => {
    expect(missingFor(env).map((sentence) => sentence.split(' ')[0])).toEqual(names)
  })
})
