import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type Ended, runAtTerminal, runIotflow } from '../support/iotflow.ts'
import { type StandaloneServer, startStandaloneServer } from '../support/standalone.ts'
import { until } from '../support/waiting.ts'

/** What the receiver got, and what it answers. */
let received: { headers: IncomingHttpHeaders; body: string }[] = []
let answers = { status: 200, body: 'taken' }
const receiver = createServer(async (request, response) => {
  let body = ''
  for await (const chunk of request) body += chunk
  received.push({ headers: request.headers, body })
  response.writeHead(answers.status).end(answers.body)
})
let address = ''

let server: StandaloneServer
beforeAll(async () => {
  receiver.listen(0, '127.0.0.1')
  await once(receiver, 'listening')
  address = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/in`
  server = await startStandaloneServer({ settings: { WEBHOOK_PRIVATE_ADDRESSES: '127.0.0.1/32' } })
})
afterAll(async () => {
  await server?.stop()
  receiver.close()
  receiver.closeAllConnections()
})
beforeEach(() => {
  received = []
  answers = { status: 200, body: 'taken' }
})

const run = (...args: string[]) => runIotflow(['webhook', ...args], { dataDir: server.dataDir })
const json = ({ code, out, err }: Ended) => {
  expect([code, err]).toEqual([0, ''])
  return JSON.parse(out)
}
const create = async (name: string, events: string) => {
  const made = json(await run('create', name, address, '--events', events, '--json'))
  return { id: String(made.id), secret: made.secret as string }
}

describe('iotflow webhook', () => {
  it('create prints the secret once', async () => {
    const { code, out, err } = await run(
      'create',
      'operators',
      address,
      '--events',
      'alert.*, device.offline',
    )
    expect([code, err]).toEqual([0, ''])
    const id = /^id +(\d+)$/m.exec(out)?.[1] ?? ''
    const secret = /^secret +(whsec_\S+)$/m.exec(out)?.[1] ?? ''
    expect(secret).not.toBe('')
    expect(out).toMatch(/^events +alert\.\*, device\.offline$/m)
    const list = await run('list')
    expect(list.out).toMatch(
      new RegExp(`^ *${id} +operators +${address} +alert\\.\\*, device\\.offline +enabled `, 'm'),
    )
    const others = [list, await run('show', id), await run('show', id, '--json'), await run('list', '--json')]
    for (const other of others) expect(other.out).not.toContain('whsec_')
    const rotated = json(await run('rotate-secret', id, '--overlap', '60', '--json'))
    expect(rotated.secret).toMatch(/^whsec_/)
    expect(rotated.secret).not.toBe(secret)
    expect((await run('rotate-secret', id)).out).toMatch(/^secret +whsec_\S+$/m)
    expect((await run('rotate-secret', id, '--overlap', 'long')).code).toBe(2)
  })

  it('update, disable, enable and delete change it', async () => {
    const { id } = await create('changed', 'alert.*')
    const updated = json(await run('update', id, '--name', 'all', '--events', '*', '--json'))
    expect(updated).toMatchObject({ name: 'all', events: ['*'], url: address })
    expect(json(await run('update', id, '--address', `${address}/2`, '--json')).url).toBe(`${address}/2`)
    expect((await run('update', id)).code).toBe(2)
    expect((await run('disable', id)).out).toBe(`Webhook ${id}, all, is disabled.\n`)
    expect((await run('show', id)).out).toMatch(/^state +disabled$/m)
    expect((await run('enable', id)).out).toBe(`Webhook ${id}, all, is enabled.\n`)
    expect(await run('delete', id)).toMatchObject({ code: 2, err: expect.stringContaining('--yes') })
    const options = { dataDir: server.dataDir }
    const gone = await runAtTerminal(['webhook', 'delete', id], [['confirm: ', 'all\n']], options)
    expect([gone.code, gone.out]).toEqual([0, expect.stringContaining(`Webhook ${id}, all, is deleted.`)])
    expect((await run('show', id)).code).toBe(4)
  })

  it('test sends a message, and fails when the receiver does not take it', async () => {
    const { id } = await create('tested', 'alert.*')
    const taken = await run('test', id)
    expect(taken).toEqual({
      code: 0,
      out: expect.stringMatching(/^The message was taken: HTTP 200 in \d+ ms\.\n$/),
      err: '',
    })
    expect(received[0]?.headers['webhook-signature']).toMatch(/^v1,/)
    expect(JSON.parse(received[0]?.body ?? '')).toMatchObject({ type: 'webhook.test' })
    answers = { status: 500, body: 'broken \u001b[31m' }
    const refused = await run('test', id)
    expect([refused.code, refused.out]).toEqual([1, ''])
    expect(refused.err).toMatch(
      /^The message was not taken\. The receiver answered 500\. It says: broken [^\u001b]{1,2}\[31m\n$/,
    )
  })

  it('deliveries, delivery and retry show and repeat what it was told', async () => {
    const { id } = await create('told', 'device.registered')
    answers = { status: 503, body: 'not now' }
    const device = await server.register()
    const listed = async (...args: string[]) => json(await run('deliveries', id, ...args, '--json'))
    await until(async () => (await listed())[0]?.attempt_count > 0, 'a first attempt')
    const [delivery] = await listed('--status', 'pending')
    expect((await run('deliveries', id)).out).toMatch(
      new RegExp(
        `^ *${delivery.id} +device\\.registered +${device.id} +pending +\\d+ .* The receiver answered 503\\.$`,
        'm',
      ),
    )
    const shown = await run('delivery', id, String(delivery.id))
    expect(shown.out).toMatch(/^\S+Z +\d+ +503 .*not now$/m)
    answers = { status: 200, body: 'taken' }
    expect((await run('retry', id, String(delivery.id))).out).toBe(
      `Delivery ${delivery.id} is tried again.\n`,
    )
    await until(async () => (await listed('--status', 'delivered')).length === 1, 'it is delivered')
    const { attempts } = json(await run('delivery', id, String(delivery.id), '--json'))
    const codes = attempts.map((attempt: { status_code: number }) => attempt.status_code)
    expect([codes[0], codes.at(-1)]).toEqual([503, 200])
    expect(new Set(received.map(({ headers }) => headers['webhook-id'])).size).toBe(1)
  })

  it.each([
    [['x', 'http://10.0.0.1/', '--events', '*'], 2],
    [['x', 'https://name:word@example.com/', '--events', '*'], 2],
    [['x', 'no address', '--events', '*'], 2],
    [['x', 'https://hooks.example.com/', '--events', 'no.such'], 2],
    [['x', 'https://hooks.example.com/'], 2],
  ])('create is refused with %s', async (args, exit) => {
    const { code, out, err } = await run('create', ...args)
    expect([code, out]).toEqual([exit, ''])
    expect(err).toMatch(/\S/)
  })

  it('says when there is none', async () => {
    expect((await run('show', '999999')).code).toBe(4)
    expect((await run('test', '999999')).code).toBe(4)
    expect((await run('delivery', '999999', '1')).code).toBe(4)
  })

  it('that a receiver has ended is a warning of the doctor', async () => {
    const { id } = await create('ended', 'device.registered')
    answers = { status: 410, body: '' }
    await server.register()
    await until(
      async () => /^state +disabled: /m.test((await run('show', id)).out),
      'the webhook is disabled',
    )
    const { code, out } = await runIotflow(['doctor'], { dataDir: server.dataDir })
    expect(code).toBe(0)
    expect(out).toMatch(new RegExp(`^warning +webhook ${id} +ended: disabled: .*410`, 'm'))
    expect(out).toContain(`iotflow webhook test ${id} tries it.`)
  })
})
