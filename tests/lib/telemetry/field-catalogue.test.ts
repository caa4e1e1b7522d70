import { describe, expect, it, onTestFinished } from 'vitest'
import { createLog } from '../../../lib/log.ts'
import { openRegistry } from '../../../lib/registry/db.ts'
import { FieldCatalogue, type FieldCatalogueOptions } from '../../../lib/telemetry/field-catalogue.ts'
import type { Parsed } from '../../../lib/telemetry/payload/parse.ts'
import type { FieldValue } from '../../../lib/telemetry/reading.ts'
import type { FieldSummary } from '../../../lib/telemetry/store.ts'
import { describeRegistry } from '../../support/registry.ts'

const noon = Date.parse('2026-03-01T12:00:00Z')
const minute = 60_000
const noneStored = async () => []

const message = (...all: Readonly<Record<string, FieldValue>>[]): Parsed => ({
  readings: all.map((fields, index) => ({
    index,
    reading: { time: 1n, fields, metadata: undefined },
    messageId: undefined,
  })),
  rejected: [],
  warnings: [],
  batch: true,
})
const names = (count: number, from = 0) =>
  Object.fromEntries(Array.from({ length: count }, (_, at) => [`f${from + at}`, at]))

describeRegistry('the catalogue of fields', (place) => {
  const start = async () => {
    const { url, remove } = await place()
    onTestFinished(remove)
    return async (options: Partial<FieldCatalogueOptions> = {}) => {
      const registry = await openRegistry({ url })
      await registry.migrate()
      let statements = 0
      const db = new Proxy(registry.db, {
        get(target, name, receiver) {
          if (name === 'run' || name === 'select') statements += 1
          return Reflect.get(target, name, receiver)
        },
      })
      const catalogue = new FieldCatalogue({
        db,
        log: createLog('silent'),
        now: () => noon + 60 * minute,
        ...options,
      })
      onTestFinished(async () => {
        await catalogue.close()
        registry.close()
      })
      return { catalogue, registry, statements: () => statements }
    }
  }

  it('reads the names of many devices with one statement', async () => {
    const open = await start()
    const { catalogue: earlier } = await open()
    const ids = Array.from({ length: 50 }, (_, at) => at + 1)
    await Promise.all(ids.map((id) => earlier.load(id)))
    for (const id of ids) earlier.admit(id, message({ [`of${id}`]: 1 }), noon)
    await earlier.flush()
    const { catalogue, statements } = await open()
    await Promise.all(ids.map((id) => catalogue.load(id)))
    expect(statements()).toBe(1)
    for (const id of ids) catalogue.admit(id, message({ [`of${id}`]: 2 }), noon)
    expect(catalogue.hasNewNames).toBe(false)
  })

  it('has each name with each of its types, and the first and the newest arrival', async () => {
    const { catalogue } = await (await start())()
    await catalogue.load(7)
    catalogue.admit(7, message({ t: 1, mode: 'auto' }), noon)
    catalogue.admit(7, message({ t: '1', ok: true }, { t: 2 }), noon + 5)
    expect(await catalogue.list(7, noneStored)).toEqual([
      { name: 'mode', type: 'text', firstSeen: noon, lastSeen: noon },
      { name: 'ok', type: 'boolean', firstSeen: noon + 5, lastSeen: noon + 5 },
      { name: 't', type: 'number', firstSeen: noon, lastSeen: noon + 5 },
      { name: 't', type: 'text', firstSeen: noon + 5, lastSeen: noon + 5 },
    ])
    expect(await catalogue.list(8, noneStored)).toEqual([])
  })

  it('needs no statement for known fields, and writes their newest arrival every few minutes', async () => {
    const connect = await start()
    const { catalogue, statements } = await connect()
    await catalogue.load(7)
    catalogue.admit(7, message({ t: 1 }), noon)
    expect(catalogue.hasNewNames).toBe(true)
    await catalogue.flush()
    expect(catalogue.hasNewNames).toBe(false)
    const before = statements()
    for (let at = 1; at < 5; at += 1) {
      await catalogue.load(7)
      catalogue.admit(7, message({ t: at }), noon + at * minute)
      await catalogue.flush()
    }
    expect(statements()).toBe(before)
    catalogue.admit(7, message({ t: 6 }), noon + 6 * minute)
    await catalogue.flush()
    expect(statements()).toBe(before + 1)
    expect(await (await connect()).catalogue.list(7, noneStored)).toMatchObject([
      { lastSeen: noon + 6 * minute },
    ])
  })

  it('leaves out what is beyond 1,000 names, with a warning, also in another process', async () => {
    const connect = await start()
    const { catalogue } = await connect()
    await catalogue.load(7)
    for (let from = 0; from < 1000; from += 250) {
      const parsed = message(names(250, from))
      expect(catalogue.admit(7, parsed, noon)).toBe(parsed)
    }
    await catalogue.flush()
    const { catalogue: other } = await connect()
    await other.load(7)
    const { readings, warnings, rejected } = other.admit(
      7,
      message({ f1: 1, new: 2, f2: 'another type' }, { f3: 3 }, { newer: 1 }),
      noon,
    )
    expect(readings.map(({ index, reading }) => [index, reading.fields])).toEqual([
      [0, { f1: 1, f2: 'another type' }],
      [1, { f3: 3 }],
    ])
    expect(warnings).toMatchObject([{ index: 0, path: 'new', code: 'FIELD_LIMIT' }])
    expect(rejected).toMatchObject([{ index: 2, code: 'VALIDATION_FAILED' }])
    expect(await other.list(7, noneStored)).toHaveLength(1001)
  })

  it('gives few warnings about a reading with many such fields', async () => {
    const { catalogue } = await (await start())()
    await catalogue.load(7)
    for (let from = 0; from < 1000; from += 250) catalogue.admit(7, message(names(250, from)), noon)
    const { warnings } = catalogue.admit(7, message({ f1: 1, ...names(200, 5000) }), noon)
    expect(warnings).toHaveLength(20)
  })

  it('bounds the fields in memory, also those that came after a device was loaded', async () => {
    const { catalogue } = await (await start())({ maxKnown: 1500 })
    for (const device of [1, 2, 3]) {
      await catalogue.load(device)
      catalogue.admit(device, message(names(500)), noon)
    }
    expect([1, 2, 3].map((device) => catalogue.knows(device))).toEqual([false, true, true])
    expect(await catalogue.list(1, noneStored)).toHaveLength(500)
  })

  it('forgets a device', async () => {
    const { catalogue } = await (await start())()
    await catalogue.load(7)
    catalogue.admit(7, message({ t: 1 }), noon)
    await catalogue.clear(7)
    expect(await catalogue.list(7, noneStored)).toEqual([])
    await catalogue.load(7)
    catalogue.admit(7, message({ u: 1 }), noon)
    expect(await catalogue.list(7, noneStored)).toMatchObject([{ name: 'u' }])
  })

  it('has no time of the future', async () => {
    let now = noon + 60 * minute
    const { catalogue } = await (await start())({ now: () => now })
    await catalogue.load(7)
    catalogue.admit(7, message({ t: 1 }), now)
    now = noon
    const ahead = { first: BigInt(noon - 9) * 1_000_000n, last: BigInt(noon + 9) * 1_000_000n }
    expect(await catalogue.list(7, async () => [{ name: 'old', type: 'text', ...ahead }])).toEqual([
      { name: 'old', type: 'text', firstSeen: noon - 9, lastSeen: noon },
      { name: 't', type: 'number', firstSeen: noon, lastSeen: noon },
    ])
  })

  it('gets the fields that the store has from before, once', async () => {
    const span = { first: BigInt(noon - 9) * 1_000_000n + 5n, last: BigInt(noon - 5) * 1_000_000n }
    let asked = 0
    const fromStore = async (): Promise<FieldSummary[]> => {
      asked += 1
      return [
        { name: 'old', type: 'text', ...span },
        { name: 't', type: 'number', ...span },
      ]
    }
    const { catalogue } = await (await start())()
    await catalogue.load(7)
    catalogue.admit(7, message({ t: 1 }), noon)
    for (const _ of [1, 2])
      expect(await catalogue.list(7, fromStore)).toEqual([
        { name: 'old', type: 'text', firstSeen: noon - 9, lastSeen: noon - 5 },
        { name: 't', type: 'number', firstSeen: noon - 9, lastSeen: noon },
      ])
    expect(asked).toBe(1)
  })
})

describe('the catalogue without a registry', () => {
  it('takes every field, and asks the registry again later', async () => {
    const broken = new Proxy(
      {},
      {
        get: () => () => {
          throw new Error('away')
        },
      },
    )
    const db = broken as FieldCatalogueOptions['db']
    const catalogue = new FieldCatalogue({ db, log: createLog('silent') })
    onTestFinished(() => catalogue.close())
    await catalogue.load(7)
    expect(catalogue.knows(7)).toBe(false)
    const parsed = message({ t: 1 })
    expect(catalogue.admit(7, parsed, noon)).toBe(parsed)
    expect(catalogue.hasNewNames).toBe(false)
  })
})
