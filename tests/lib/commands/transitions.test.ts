/** Any order of what may happen to commands, against a model of a few lines. */
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { answerStates, finalStates } from '../../../lib/commands/command.ts'
import { describeRegistry } from '../../support/registry.ts'
import { nobody, reachedSession, startCommands } from './harness.ts'

interface Model {
  readonly id: string
  status: string
  expiresAt: number
  readonly maxAttempts: number
}

const pick = fc.nat({ max: 3 })
const step = fc.oneof(
  fc.record({
    do: fc.constant('create' as const),
    ttlS: fc.integer({ min: 1, max: 40 }),
    maxAttempts: fc.integer({ min: 1, max: 3 }),
  }),
  fc.record({ do: fc.constant('answer' as const), which: pick, status: fc.constantFrom(...answerStates) }),
  fc.record({ do: fc.constant('cancel' as const), which: pick }),
  fc.record({ do: fc.constant('receive' as const), which: pick }),
  fc.record({ do: fc.constant('connect' as const) }),
  fc.record({ do: fc.constant('disconnect' as const) }),
  fc.record({ do: fc.constant('break' as const) }),
  fc.record({ do: fc.constant('poll' as const) }),
  fc.record({ do: fc.constant('pass' as const), seconds: fc.integer({ min: 1, max: 35 }) }),
)

const isFinal = (status: string) => finalStates.some((state) => state === status)

describeRegistry('states of commands', (place) => {
  it('only go forward, and no command is delivered that has ended or is acknowledged', async () => {
    const { broker, clock, commands, devices } = await startCommands(place)
    let devicesMade = 0
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
        const { device } = await devices.register({ name: `device ${devicesMade++}`, deviceType: 'sensor' })
        const deviceId = device.id
        const models: Model[] = []
        const deliveries = new Map<string, string[]>()
        let sessions = 0
        let session: string | undefined
        broker.tells = nobody
        broker.published.length = 0

        /** Checks what was published since the last step, and moves the model on. */
        const settle = async () => {
          await commands.settled()
          const order: number[] = []
          const own = broker.published.filter(({ topic }) => topic === `iotflow/devices/${deviceId}/commands`)
          broker.published.length = 0
          for (const id of own.map(({ properties }) => properties?.correlationData ?? '')) {
            const model = models.find((one) => one.id === id)
            if (model === undefined) throw new Error('a command of another device')
            expect(['queued', 'sent']).toContain(model.status)
            if (session === undefined) continue
            order.push(models.indexOf(model))
            const of = [...(deliveries.get(id) ?? []), session]
            deliveries.set(id, of)
            // More deliveries than sessions only as far as was asked for.
            expect(of.length).toBeLessThanOrEqual(new Set(of).size + model.maxAttempts - 1)
            model.status = 'sent'
          }
          expect(order).toEqual([...order].sort((a, b) => a - b))
          for (const model of models) {
            if (!isFinal(model.status) && model.expiresAt <= clock.now) model.status = 'expired'
            const { status } = await commands.get(deviceId, model.id)
            expect(status).toBe(model.status)
          }
        }

        for (const one of steps) {
          const model = 'which' in one ? models[one.which] : undefined
          if (one.do === 'create') {
            const { ttlS, maxAttempts } = one
            const made = await commands.create(deviceId, { command: 'a', ttlS, maxAttempts })
            models.push({ id: made.commandId, status: 'queued', expiresAt: made.expiresAt, maxAttempts })
          } else if (one.do === 'answer' && model) {
            const isForward =
              !isFinal(model.status) && !(model.status === 'acknowledged' && one.status === 'acknowledged')
            const answer = { deviceId, commandId: model.id, status: one.status, at: clock.now }
            expect(await commands.answer(answer)).toBe(isForward ? 'applied' : 'ignored')
            if (isForward) model.status = one.status
          } else if (one.do === 'cancel' && model) {
            const cancelled = commands.cancel(deviceId, model.id)
            if (isFinal(model.status) && model.status !== 'cancelled')
              await expect(cancelled).rejects.toMatchObject({ code: 'CONFLICT' })
            else {
              await cancelled
              model.status = 'cancelled'
            }
          } else if (one.do === 'receive' && model) {
            if (deliveries.has(model.id)) commands.received(deviceId, model.id)
          } else if (one.do === 'connect') {
            session = `session${++sessions}`
            broker.tells = reachedSession(session)
            await commands.deliver([deviceId], { kind: 'subscribed', sessionId: session })
          } else if (one.do === 'disconnect' || one.do === 'break') {
            session = undefined
            broker.tells = one.do === 'break' ? new Error('away') : nobody
          } else if (one.do === 'poll') {
            for (const { commandId } of await commands.take(deviceId)) {
              const taken = models.find(({ id }) => id === commandId)
              expect(['queued', 'sent']).toContain(taken?.status)
              if (taken) taken.status = 'sent'
            }
          } else if (one.do === 'pass') {
            clock.now += one.seconds * 1000
            await settle()
            await commands.sweep()
          }
          await settle()
        }

        // Nothing is lost: what waits reaches a device that stays connected.
        session = `session${++sessions}`
        broker.tells = reachedSession(session)
        await commands.deliver([deviceId], { kind: 'subscribed', sessionId: session })
        await settle()
        clock.now += 1000
        await settle()
        await commands.sweep()
        await settle()
        expect(models.filter(({ status }) => status === 'queued')).toEqual([])
      }),
      { numRuns: 30 },
    )
  })
})
