import { sql } from 'drizzle-orm'
import { describe, expect, it } from 'vitest'
import type { AnswerState } from '../../../lib/commands/command.ts'
import { CommandStore } from '../../../lib/commands/command-store.ts'
import { DeliveryStore } from '../../../lib/commands/delivery-store.ts'
import { describeRegistry } from '../../support/registry.ts'
import { nobody, reachedSession, startCommands, untold } from './harness.ts'

type Harness = Awaited<ReturnType<typeof startCommands>>

const create = async ({ commands, id }: Pick<Harness, 'commands' | 'id'>, fields: object = {}) => {
  const { commandId } = await commands.create(id, { command: 'restart', ...fields })
  await commands.settled()
  return commandId
}
const stateOf = async ({ commands, id }: Harness, commandId: string) => {
  const { status, attempts } = await commands.get(id, commandId)
  return [status, attempts]
}
const answer = ({ commands, id, clock }: Harness, commandId: string, status: AnswerState, result?: unknown) =>
  commands.answer({ deviceId: id, commandId, status, result, at: clock.now })

describeRegistry('a command', (place) => {
  describe('over MQTT', () => {
    it('is published to the device that has subscribed, and counts as sent', async () => {
      const harness = await startCommands(place)
      const { broker, clock, commands, id } = harness
      broker.tells = reachedSession('one')
      const commandId = await create(harness, { params: { delay_s: 5 }, channel: 'control', ttlS: 60 })
      const [message] = broker.published
      expect(message).toEqual({
        topic: `iotflow/devices/${id}/commands/control`,
        payload: JSON.stringify({
          command_id: commandId,
          command: 'restart',
          params: { delay_s: 5 },
          issued_at: '2026-03-01T12:00:00Z',
          expires_at: '2026-03-01T12:01:00Z',
        }),
        retain: false,
        properties: {
          responseTopic: `iotflow/devices/${id}/commands/${commandId}/response`,
          correlationData: commandId,
          expiresInS: 60,
        },
      })
      expect(await commands.get(id, commandId)).toMatchObject({
        status: 'sent',
        attempts: 1,
        sentAt: clock.now,
      })
    })

    it('comes in its order also to a device that subscribes between two of them', async () => {
      const harness = await startCommands(place)
      const { broker, commands, id } = harness
      const ids = [
        await create(harness),
        await create(harness),
        await create(harness, { channel: 'control' }),
      ]
      broker.takeIds()
      // The device subscribes to both topics when the first command has found nobody.
      let asked = 0
      broker.onPublish = () => {
        asked += 1
        if (asked === 2) broker.tells = reachedSession('one')
      }
      const last = await create(harness)
      expect(broker.takeIds()).toEqual([ids[0], ids[2]])
      broker.onPublish = () => {}
      await commands.deliver([id], { kind: 'subscribed', sessionId: 'one' })
      expect(broker.takeIds()).toEqual([ids[0], ids[1], last])
    })

    it.each([
      ['found nobody', nobody, ['first', 'first', 'second']],
      ['was not taken by the broker', new Error('away'), ['first', 'second']],
    ] as const)(
      'does not overtake the one before it that %s when the device subscribes meanwhile',
      async (_what, tells, published) => {
        const { broker, commands, id, open } = await startCommands(place)
        const process = open()
        broker.tells = tells
        let asked = 0
        broker.onPublish = async () => {
          asked += 1
          if (asked === 1) await process.create(id, { command: 'second' })
          else broker.tells = reachedSession('one')
        }
        await commands.create(id, { command: 'first' })
        await commands.settled()
        await process.settled()
        expect(broker.published.map(({ payload }) => JSON.parse(payload).command)).toEqual(published)
      },
    )

    it('waits where nobody has subscribed, without an attempt, and comes with the subscription in its order', async () => {
      const harness = await startCommands(place)
      const { broker, commands, id } = harness
      const ids = [await create(harness), await create(harness, { channel: 'config' }), await create(harness)]
      broker.takeIds()
      expect(await stateOf(harness, ids[0] as string)).toEqual(['queued', 0])
      broker.tells = reachedSession('one')
      await commands.deliver([id], { kind: 'subscribed', sessionId: 'one' })
      expect(broker.takeIds()).toEqual(ids)
      expect(await stateOf(harness, ids[2] as string)).toEqual(['sent', 1])
    })

    it('comes once in a session, however often the device subscribes', async () => {
      const harness = await startCommands(place)
      const { broker, commands, id } = harness
      broker.tells = reachedSession('one')
      await create(harness, { maxAttempts: 3 })
      broker.takeIds()
      await commands.deliver([id], { kind: 'subscribed', sessionId: 'one' })
      await commands.sweep()
      expect(broker.takeIds()).toEqual([])
    })

    it('that was received does not come again in the next session', async () => {
      const harness = await startCommands(place)
      const { broker, clock, commands, id } = harness
      broker.tells = reachedSession('one')
      const commandId = await create(harness)
      commands.received(id, commandId)
      await commands.settled()
      broker.takeIds()
      broker.tells = reachedSession('two')
      await commands.deliver([id], { kind: 'subscribed', sessionId: 'two' })
      clock.now += 2000
      await commands.sweep()
      expect(broker.takeIds()).toEqual([])
    })

    it('that nobody has confirmed comes again in the next session, behind the answers that the device has', async () => {
      const harness = await startCommands(place)
      const { broker, clock, commands, id } = harness
      broker.tells = reachedSession('one')
      const lost = await create(harness)
      const answered = await create(harness)
      broker.tells = nobody
      const waiting = await create(harness)
      broker.takeIds()
      broker.tells = reachedSession('two')
      await commands.deliver([id], { kind: 'subscribed', sessionId: 'two' })
      expect(broker.takeIds()).toEqual([])
      await answer(harness, answered, 'succeeded')
      clock.now += 1000
      await commands.sweep()
      expect(broker.takeIds()).toEqual([lost, waiting])
      expect(await stateOf(harness, lost)).toEqual(['sent', 2])
    })

    it('comes again as often as was asked for, later each time, while no answer comes', async () => {
      const harness = await startCommands(place)
      const { broker, clock, commands } = harness
      broker.tells = reachedSession('one')
      const commandId = await create(harness, { maxAttempts: 3 })
      const pauses: number[] = []
      for (let seconds = 0, last = 0; seconds < 600; seconds += 10) {
        clock.now += 10_000
        const before = broker.published.length
        await commands.sweep()
        if (broker.published.length > before) {
          pauses.push(seconds + 10 - last)
          last = seconds + 10
        }
      }
      expect(pauses).toEqual([30, 60])
      expect(new Set(broker.takeIds())).toEqual(new Set([commandId]))
      expect(await stateOf(harness, commandId)).toEqual(['sent', 3])
    })

    it('is not published after an acknowledgement', async () => {
      const harness = await startCommands(place)
      const { broker, clock, commands, id } = harness
      broker.tells = reachedSession('one')
      const commandId = await create(harness, { maxAttempts: 10 })
      await answer(harness, commandId, 'acknowledged')
      broker.takeIds()
      await commands.deliver([id], { kind: 'subscribed', sessionId: 'two' })
      clock.now += 3_600_000
      await commands.sweep()
      expect(broker.takeIds()).toEqual([])
    })

    it('is tried again when the broker has not taken it', async () => {
      const harness = await startCommands(place)
      const { broker, clock, commands } = harness
      broker.tells = new Error('away')
      const ids = [await create(harness), await create(harness)]
      expect(await stateOf(harness, ids[0] as string)).toEqual(['queued', 0])
      broker.tells = reachedSession('one')
      await commands.sweep()
      expect(broker.takeIds()).toEqual([])
      clock.now += 10_000
      await commands.sweep()
      expect(broker.takeIds()).toEqual(ids)
    })

    it('is published by one process at a time, also when two are told of it', async () => {
      const harness = await startCommands(place)
      const { broker, commands, id, open } = harness
      const ids = [await create(harness), await create(harness)]
      broker.takeIds()
      broker.tells = reachedSession('one')
      const process = open()
      await Promise.all([
        commands.deliver([id], { kind: 'subscribed', sessionId: 'one' }),
        process.deliver([id], { kind: 'subscribed', sessionId: 'one' }),
      ])
      expect(broker.takeIds()).toEqual(ids)
    })

    it('reaches a device that subscribes while another process publishes it to nobody', async () => {
      const harness = await startCommands(place)
      const { broker, commands, id, open } = harness
      const process = open()
      let told: Promise<unknown> | undefined
      broker.onPublish = async () => {
        if (told !== undefined) return
        told = process.deliver([id], { kind: 'subscribed', sessionId: 'one' })
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
      const { commandId } = await commands.create(id, { command: 'restart' })
      await commands.settled()
      broker.tells = reachedSession('one')
      await told
      expect(broker.takeIds()).toEqual([commandId, commandId])
      expect(await stateOf(harness, commandId)).toEqual(['sent', 1])
    })

    it('is delivered to each of many devices that have many of them', async () => {
      const harness = await startCommands(place)
      const { broker, commands, devices, id, other } = harness
      const third = (await devices.register({ name: 'third', deviceType: 'sensor' })).device.id
      for (let made = 0; made < 80; made += 1)
        await commands.createMany([id, other, third], { command: `${made}`, fleetCommandId: `f${made}` })
      await commands.settled()
      broker.takeIds()
      broker.tells = reachedSession('one')
      await Promise.all(
        [id, other, third].map((one) => commands.deliver([one], { kind: 'subscribed', sessionId: 'one' })),
      )
      for (const device of [id, other, third])
        expect(
          broker.published
            .filter(({ topic }) => topic.startsWith(`iotflow/devices/${device}/`))
            .map(({ payload }) => Number(JSON.parse(payload).command)),
        ).toEqual(Array.from({ length: 80 }, (_, number) => number))
    })

    it('that comes while another one is published follows it', async () => {
      const harness = await startCommands(place)
      const { broker, commands, id, open } = harness
      const process = open()
      broker.tells = reachedSession('one')
      let made: Promise<unknown> | undefined
      broker.onPublish = () => {
        made ??= process.create(id, { command: 'second' }).then(() => process.settled())
        return made
      }
      await commands.create(id, { command: 'first' })
      await commands.settled()
      expect(broker.published.map(({ payload }) => JSON.parse(payload).command)).toEqual(['first', 'second'])
    })

    it('that a process was publishing when it ended is published by the next one', async () => {
      const harness = await startCommands(place)
      const { broker, clock, commands, id, open, registry } = harness
      const commandId = await create(harness)
      await registry.db.run(
        sql`update commands set busy_until = ${clock.now + 15_000}, retry_at = ${clock.now + 15_000}`,
      )
      broker.takeIds()
      broker.tells = reachedSession('two')
      await commands.deliver([id], { kind: 'subscribed', sessionId: 'two' })
      expect(broker.takeIds()).toEqual([])
      const next = open()
      await next.endClaims()
      await next.deliver([id], { kind: 'subscribed', sessionId: 'two' })
      expect(broker.takeIds()).toEqual([commandId])
    })

    it('that its process had no time to publish is published by the sweep', async () => {
      const { broker, clock, commands, id, registry } = await startCommands(place)
      await new CommandStore({ db: registry.db, now: () => clock.now }).insert([id], { command: 'restart' })
      broker.tells = reachedSession('one')
      await commands.sweep()
      expect(broker.takeIds()).toEqual([])
      clock.now += 15_000
      await commands.sweep()
      expect(broker.takeIds()).toHaveLength(1)
    })

    it('of a process that ended is published by others once its time is over', async () => {
      const harness = await startCommands(place)
      const { broker, clock, commands, registry } = harness
      const commandId = await create(harness)
      await registry.db.run(
        sql`update commands set busy_until = ${clock.now + 15_000}, retry_at = ${clock.now + 15_000}`,
      )
      broker.takeIds()
      broker.tells = reachedSession('one')
      clock.now += 15_000
      await commands.sweep()
      expect(broker.takeIds()).toEqual([commandId])
    })

    it('goes to each device of a fleet that connects at once, with a few statements', async () => {
      const harness = await startCommands(place)
      const { broker, commands, devices, registry } = harness
      const ids: number[] = []
      for (let made = 0; made < 150; made += 1)
        ids.push((await devices.register({ name: `device ${made}`, deviceType: 'sensor' })).device.id)
      const { created, refused } = await commands.createMany([...ids, 999_999], {
        command: 'update',
        fleetCommandId: 'fleet',
      })
      expect([created.length, refused]).toEqual([150, [999_999]])
      await commands.settled()
      broker.takeIds()
      broker.tells = reachedSession('one')
      let statements = 0
      const { execute, batch } = registry.db.$client
      registry.db.$client.execute = ((...given: Parameters<typeof execute>) => {
        statements += 1
        return execute.apply(registry.db.$client, given)
      }) as typeof execute
      await Promise.all(
        ids.map((id) => commands.deliver([id], { kind: 'subscribed', sessionId: `of ${id}` })),
      )
      registry.db.$client.execute = execute
      expect(new Set(broker.takeIds())).toEqual(new Set(created.map(({ commandId }) => commandId)))
      expect(statements).toBeLessThan(10)
      expect(batch).toBeDefined()
      expect(await commands.cancelFleet('fleet')).toBe(150)
    })
  })

  describe('at a Mosquitto', () => {
    it('comes with a heartbeat until it has reached somebody, and with each online until it is answered', async () => {
      const harness = await startCommands(place, 'mosquitto')
      const { broker, clock, commands, id } = harness
      const commandId = await create(harness)
      broker.takeIds()
      broker.tells = { reached: true, sessions: [], isConfirmed: false }
      await commands.deliver([id], { kind: 'heartbeat' })
      expect(broker.takeIds()).toEqual([commandId])
      await commands.deliver([id], { kind: 'heartbeat' })
      expect(broker.takeIds()).toEqual([])
      await commands.deliver([id], { kind: 'online' })
      clock.now += 1000
      await commands.sweep()
      expect(broker.takeIds()).toEqual([commandId])
      await answer(harness, commandId, 'acknowledged')
      await commands.deliver([id], { kind: 'online' })
      clock.now += 1000
      await commands.sweep()
      expect(broker.takeIds()).toEqual([])
    })

    it('comes with each heartbeat where the broker does not tell whether somebody was subscribed', async () => {
      const harness = await startCommands(place, 'mosquitto')
      const { broker, commands, id } = harness
      broker.tells = untold
      const commandId = await create(harness)
      await commands.deliver([id], { kind: 'heartbeat' })
      expect(broker.takeIds()).toEqual([commandId, commandId])
    })
  })

  describe('at AWS IoT Core', () => {
    const event = (deviceId: number, sessionId: string, filters: string[], at: number) => ({
      deviceId,
      clientId: String(deviceId),
      sessionId,
      kind: 'subscribed' as const,
      filters,
      at,
    })

    it('is published while a connected client has subscribed to its topic, as the events tell', async () => {
      const harness = await startCommands(place, 'aws-iot')
      const { broker, clock, commands, id } = harness
      broker.tells = untold
      const base = `iotflow/devices/${id}/commands`
      const before = await create(harness)
      const channel = await create(harness, { channel: 'control' })
      expect(broker.takeIds()).toEqual([])
      await commands.subscribed(event(id, 'one', [base], clock.now))
      expect(broker.takeIds()).toEqual([before])
      expect(await stateOf(harness, before)).toEqual(['sent', 1])
      await commands.subscribed(event(id, 'one', [`${base}/#`], clock.now))
      expect(broker.takeIds()).toEqual([channel])
      const next = await create(harness)
      expect(broker.takeIds()).toEqual([next])
      await commands.subscribed({ ...event(id, 'one', [base], clock.now), kind: 'unsubscribed' })
      await create(harness)
      expect(broker.takeIds()).toEqual([])
    })

    it('is not published when the session has ended', async () => {
      const harness = await startCommands(place, 'aws-iot')
      const { broker, clock, commands, id, registry } = harness
      broker.tells = untold
      await commands.subscribed(event(id, 'one', [`iotflow/devices/${id}/commands`], clock.now))
      await registry.db.run(sql`insert into sessions (device_id, client_id, session_id, version, since, ended_at)
        values (${id}, ${String(id)}, 'one', 1, ${clock.now}, ${clock.now})`)
      const commandId = await create(harness)
      expect(broker.takeIds()).toEqual([])
      await commands.subscribed(event(id, 'two', [`iotflow/devices/${id}/commands`], clock.now + 1))
      await registry.db.run(sql`update sessions set session_id = 'two', ended_at = null`)
      await commands.deliver([id], { kind: 'created' })
      expect(broker.takeIds()).toEqual([commandId])
    })
  })

  describe('over HTTP', () => {
    it('is taken once, in order, and again after 30 s without an answer', async () => {
      const harness = await startCommands(place)
      const { clock, commands, id, other } = harness
      const ids = [await create(harness), await create(harness)]
      const take = async () => (await commands.take(id)).map(({ commandId }) => commandId)
      expect(await commands.take(other)).toEqual([])
      expect(await take()).toEqual(ids)
      expect(await take()).toEqual([])
      await answer(harness, ids[0] as string, 'acknowledged')
      clock.now += 30_000
      expect(await take()).toEqual([ids[1]])
      expect(await stateOf(harness, ids[1] as string)).toEqual(['sent', 2])
    })

    it('ends a wait at once, also when another process has stored it', async () => {
      const harness = await startCommands(place)
      const { commands, id, open } = harness
      const { signal } = new AbortController()
      const own = commands.wait(id, 60_000, signal)
      await create(harness)
      expect(await own).toBe('look')
      await commands.take(id)
      const other = commands.wait(id, 60_000, signal)
      await create({ commands: open(), id })
      expect(await other).toBe('look')
    })

    it('is not waited for after the signal, when the process ends, or without a place', async () => {
      const { commands, id } = await startCommands(place)
      const controller = new AbortController()
      const waits = [1, 2, 3].map(() => commands.wait(id, 60_000, controller.signal))
      expect(await commands.wait(id, 60_000, controller.signal)).toBe('full')
      controller.abort()
      expect(await Promise.all(waits)).toEqual(['look', 'look', 'look'])
      const last = commands.wait(id, 60_000, new AbortController().signal)
      commands.endWaits()
      expect([await last, await commands.wait(id, 60_000, new AbortController().signal)]).toEqual([
        'ended',
        'ended',
      ])
    })
  })

  describe('that is answered', () => {
    it('has the time of each state, and the last result', async () => {
      const harness = await startCommands(place)
      const { broker, clock, commands, id } = harness
      const start = clock.now
      broker.tells = reachedSession('one')
      const commandId = await create(harness)
      clock.now += 1000
      expect(await answer(harness, commandId, 'acknowledged', { step: 1 })).toBe('applied')
      clock.now += 1000
      expect(await answer(harness, commandId, 'succeeded')).toBe('applied')
      expect(await commands.get(id, commandId)).toMatchObject({
        status: 'succeeded',
        sentAt: start,
        acknowledgedAt: start + 1000,
        finishedAt: start + 2000,
        result: { step: 1 },
      })
    })

    it('is one of the device', async () => {
      const harness = await startCommands(place)
      const { commands, clock, id, other } = harness
      const commandId = await create(harness)
      const ofOther = { deviceId: other, commandId, status: 'failed', at: clock.now } as const
      expect(await commands.answer(ofOther)).toBe('unknown')
      expect(await commands.answer({ ...ofOther, deviceId: id, commandId: 'other' })).toBe('unknown')
      expect(await stateOf(harness, commandId)).toEqual(['queued', 0])
    })

    it('keeps results up to 16 KiB', async () => {
      const harness = await startCommands(place)
      const { commands, id } = harness
      const commandId = await create(harness)
      await answer(harness, commandId, 'acknowledged', 'x'.repeat(16_382))
      expect((await commands.get(id, commandId)).result).toBe('x'.repeat(16_382))
      await answer(harness, commandId, 'succeeded', 'x'.repeat(16_383))
      expect((await commands.get(id, commandId)).result).toEqual({
        left_out: '16385 bytes, at most 16384 are kept',
      })
    })

    it('takes answers that arrive at once in their order', async () => {
      const harness = await startCommands(place)
      const commandId = await create(harness)
      const outcomes = await Promise.all(
        (['acknowledged', 'acknowledged', 'succeeded', 'failed'] as const).map((status) =>
          answer(harness, commandId, status),
        ),
      )
      expect(outcomes).toEqual(['applied', 'ignored', 'applied', 'ignored'])
      expect(await stateOf(harness, commandId)).toEqual(['succeeded', 0])
    })
  })

  it('expires, for every reader at once, and is deleted 30 days after its end', async () => {
    const harness = await startCommands(place)
    const { clock, commands, id, registry } = harness
    const store = new DeliveryStore({ db: registry.db, now: () => clock.now, kind: 'embedded' })
    const commandId = await create(harness, { ttlS: 60 })
    clock.now += 60_000
    const expired = { status: 'expired', finishedAt: clock.now }
    expect(await commands.get(id, commandId)).toMatchObject(expired)
    expect(await commands.list(id, { limit: 10, status: 'expired' })).toHaveLength(1)
    expect(await commands.list(id, { limit: 10, status: 'queued' })).toEqual([])
    expect(await answer(harness, commandId, 'succeeded')).toBe('ignored')
    await expect(commands.cancel(id, commandId)).rejects.toMatchObject({ code: 'CONFLICT' })
    await commands.sweep()
    clock.now += 30 * 86_400_000
    await store.prune()
    expect(await commands.get(id, commandId)).toMatchObject(expired)
    clock.now += 1
    await store.prune()
    await expect(commands.get(id, commandId)).rejects.toMatchObject({ code: 'NOT_FOUND' })
  })
})
