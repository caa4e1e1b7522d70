import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Config, loadConfig } from '../../lib/config.ts'
import { createLog } from '../../lib/log.ts'
import { prepareDatabases, prepareForStart } from '../../local/databases.ts'
import { answer, type InfluxServer, startInfluxServer } from '../support/influx-server.ts'
import { temporaryFolder } from '../support/temporary.ts'

const token = 'secret-token-of-the-test'

describe('an InfluxDB that is prepared', () => {
  let server: InfluxServer
  let folder: Awaited<ReturnType<typeof temporaryFolder>>
  let config: Config
  let lines = ''
  const log = createLog('debug', (text) => {
    lines += text
  })
  beforeEach(async () => {
    lines = ''
    server = await startInfluxServer()
    folder = await temporaryFolder()
    config = loadConfig({ DATA_DIR: folder.path, INFLUXDB_URL: server.url, INFLUXDB_TOKEN: token })
  })
  afterEach(async () => {
    await server.end()
    await folder.remove()
  })
  const replyAll = (status: number) => {
    for (const path of ['/api/v2/buckets', '/api/v2/orgs'])
      server.reply(path, answer(status, { message: `what the server says of ${token}` }))
  }
  const failureOf = (outcome: Promise<unknown>) =>
    outcome.then(
      () => '',
      (error: Error) => error.message,
    )

  it.each([
    [
      401,
      'InfluxDB refuses INFLUXDB_TOKEN, or it may not see or make the bucket of INFLUXDB_BUCKET (HTTP_401).',
    ],
    [403, 'INFLUXDB_TOKEN may not see or make the bucket of INFLUXDB_BUCKET (HTTP_403).'],
    [
      404,
      'InfluxDB has no organization of the name in INFLUXDB_ORG, or INFLUXDB_TOKEN may not see it (HTTP_404).',
    ],
  ])('and refuses with %i stops a start in one sentence', async (status, sentence) => {
    replyAll(status)
    expect(await failureOf(prepareForStart(config, log))).toBe(sentence)
    expect(await failureOf(prepareDatabases(config, log))).toBe(sentence)
    log.flush()
    expect(lines).not.toContain(token)
  })

  it('and is unavailable does not stop a start, but stops a deploy', async () => {
    replyAll(503)
    expect(await failureOf(prepareDatabases(config, log))).toBe(
      'The InfluxDB of INFLUXDB_URL does not answer (HTTP_503).',
    )
    const before = server.heard.length
    const stop = await prepareForStart(config, log)
    stop()
    await sleep(50)
    expect(server.heard.length).toBe(before + 1)
    log.flush()
    expect(lines).toContain('InfluxDB is unavailable and will be tried again')
    expect(lines).not.toContain(token)
  })
})
