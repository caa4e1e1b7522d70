import { describe, expect, it } from 'vitest'
import * as z from 'zod'
import { endpoint } from '../../../lib/http/endpoint.ts'
import { defineRoute, describeRoute, json, notModified, typedBy } from '../../../lib/http/route.ts'
import { createLog } from '../../../lib/log.ts'

const documentation = () =>
  describeRoute({
    summary: 'An endpoint of this test',
    responses: {
      200: {
        ...json('A number.', z.strictObject({ status: z.literal('success'), count: z.int() })),
        content: {
          'application/json': z.strictObject({ status: z.literal('success'), count: z.int() }),
          'text/csv': z.string(),
        },
      },
      201: json('A name.', z.strictObject({ name: z.string() })),
      304: notModified,
    },
  })

const route = defineRoute({
  addresses: ['GET /here'],
  access: 'none',
  limit: 'uncounted',
  documentation: typedBy<typeof documentation>(),
})

const log = createLog('silent')

describe('reply', () => {
  it('takes the documented statuses and bodies only: each line below that is wrong does not compile', async () => {
    const app = endpoint(route, { log }, (c, reply) => {
      const wrong = [
        // @ts-expect-error 202 is not documented
        () => reply(c, 202, { status: 'success', count: 1 }),
        // @ts-expect-error a field is missing
        () => reply(c, 200, { status: 'success' }),
        // @ts-expect-error a field has another type
        () => reply(c, 200, { status: 'success', count: '1' }),
        // @ts-expect-error a literal has another value
        () => reply(c, 200, { status: 'failed', count: 1 }),
        // @ts-expect-error a field is not documented
        () => reply(c, 201, { name: 'a', secret: 'b' }),
        // @ts-expect-error the body of another status
        () => reply(c, 201, { status: 'success', count: 1 }),
        // @ts-expect-error 304 has no body
        () => reply(c, 304, {}),
        // @ts-expect-error 200 has a body
        () => reply(c, 200),
        // @ts-expect-error the content type is not documented
        () => reply(c, 200, 'a,b', 'text/html'),
      ]
      if (c.req.query('as') === 'csv') return reply(c, 200, 'a,b', 'text/csv; charset=utf-8')
      if (c.req.query('as') === 'nothing') return reply(c, 304)
      return reply(c, 200, { status: 'success', count: wrong.length })
    })
    const answer = await app.request('/here')
    expect(answer.status).toBe(200)
    expect(answer.headers.get('content-type')).toBe('application/json')
    expect(await answer.json()).toEqual({ status: 'success', count: 9 })
    const csv = await app.request('/here?as=csv')
    expect(csv.headers.get('content-type')).toBe('text/csv; charset=utf-8')
    expect(await csv.text()).toBe('a,b')
    const nothing = await app.request('/here?as=nothing')
    expect([nothing.status, await nothing.text(), nothing.headers.get('content-type')]).toEqual([
      304,
      '',
      null,
    ])
  })

  it('is not told who calls where everybody may call, and a device route tells the device', () => {
    endpoint(route, { log }, (c, reply, caller) => {
      // @ts-expect-error there is no caller
      caller.id
      return reply(c, 304)
    })
    const ofDevices = defineRoute({
      addresses: ['GET /here'],
      access: 'device',
      documentation: typedBy<typeof documentation>(),
    })
    const build = () =>
      // @ts-expect-error the type of the device is not known without access control
      endpoint(ofDevices, { log }, (c, reply, { name }) => reply(c, 201, { name }))
    expect(build).toThrow('GET /here')
  })
})
