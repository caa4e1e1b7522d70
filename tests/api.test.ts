import { existsSync, readFileSync } from 'node:fs'
import { Validator } from '@seriousme/openapi-schema-validator'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import * as z from 'zod'
import document from '../lib/openapi.json' with { type: 'json' }
import { durationPattern, instantPattern, timePattern } from '../lib/telemetry/patterns.ts'
import { parsePayload } from '../lib/telemetry/payload.ts'
import { parseDuration, parseInstant, parseTime } from '../lib/telemetry/time.ts'
import { errorsOf, operations } from '../local/api.ts'
import { loadFunctions } from '../local/functions.ts'
import { documentFile, documentText } from '../local/openapi.ts'

const { routes, file } = await loadFunctions()
const named = (method: string, path: string) => `${method} ${path.replaceAll(/:(\w+)/g, '{$1}')}`
const described = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods as Record<string, { operationId: string }>).map(([method, { operationId }]) => ({
    route: named(method.toUpperCase(), path),
    operationId,
  })),
)

describe('the routes of serverless.yml', () => {
  const table = routes.map(({ method, path, functionName }) => {
    const route = named(method, path)
    return {
      route,
      function: file(functionName),
      inTable: operations.some(
        (one) => named(one.method, one.path) === route && one.functionName === functionName,
      ),
      operation: described.find((one) => one.route === route)?.operationId,
    }
  })

  it('have each a function, an entry in local/api.ts and an operation in the document', () => {
    expect(table.filter((row) => !existsSync(row.function))).toEqual([])
    expect(table.filter((row) => !row.inTable)).toEqual([])
    expect(table.filter((row) => row.operation === undefined)).toEqual([])
  })

  it('are all that local/api.ts and the document have, in the same order', () => {
    expect(operations.map(({ method, path }) => named(method, path))).toEqual(table.map(({ route }) => route))
    expect(described.map(({ route }) => route).sort()).toEqual(table.map(({ route }) => route).sort())
  })
})

describe('the document', () => {
  it('is the one that the schemas make: npm run openapi', () => {
    expect(readFileSync(documentFile, 'utf8')).toBe(documentText())
  })

  it('is OpenAPI 3.1', async () => {
    const validator = new Validator()
    const { valid, errors } = await validator.validate(structuredClone(document))
    expect(errors).toBeUndefined()
    expect(valid).toBe(true)
    expect(validator.version).toBe('3.1')
  })

  it('names each operation once, and uses everything it names', () => {
    const ids = described.map(({ operationId }) => operationId)
    expect(new Set(ids).size).toBe(ids.length)
    const text = JSON.stringify(document)
    const { securitySchemes, ...components } = document.components
    const parts = Object.entries(components).flatMap(([kind, entries]) =>
      Object.keys(entries).map((name) => `"#/components/${kind}/${name}"`),
    )
    expect(parts.filter((ref) => !text.includes(ref))).toEqual([])
    const refs = [...text.matchAll(/"\$ref":("[^"]*")/g)].map(([, ref]) => ref ?? '')
    expect(refs.filter((ref) => !parts.includes(ref))).toEqual([])
    expect(Object.keys(securitySchemes)).toEqual(['DeviceKey', 'AdminToken', 'EnrollmentKey'])
  })

  it('leaves answers open for fields to come, and requests for fields that are ignored', () => {
    const { schemas } = document.components
    const closed = Object.entries(schemas).filter(([, schema]) =>
      /"additionalProperties":false/.test(JSON.stringify(schema)),
    )
    expect(closed.map(([name]) => name).filter((name) => !name.startsWith('Telemetry'))).toEqual([])
    expect(JSON.stringify(document.paths)).not.toContain('"additionalProperties":false')
  })

  it('has the errors that follow from who may call and what is sent', () => {
    const errors = (id: string) => {
      const found = operations.find((one) => (one.id ?? one.functionName) === id)
      return found && errorsOf(found)
    }
    expect(errors('mqtt-status')).toEqual([400, 405, 429, 500, 503])
    expect(errors('telemetry-latest')).toEqual([400, 401, 403, 404, 405, 429, 500, 503])
    expect(errors('admin-configure')).toEqual([400, 401, 404, 405, 412, 413, 415, 422, 429, 500, 503])
  })
})

describe('the examples', () => {
  const bodies = operations.flatMap(({ body, functionName }) =>
    Object.entries(body?.examples ?? {}).map(([name, example]) => ({ body, functionName, name, example })),
  )

  it('are bodies that are accepted', () => {
    const arrival = { receivedAt: Date.now(), messageId: '0', retentionMs: 0 }
    expect(bodies.length).toBeGreaterThan(15)
    for (const { body, functionName, name, example } of bodies) {
      if (body?.schema instanceof z.ZodType)
        expect(body.schema.safeParse(example).error, `${functionName}: ${name}`).toBeUndefined()
      else expect(parsePayload(example, arrival).rejected, `${functionName}: ${name}`).toEqual([])
    }
  })

  it('are parameters that are accepted', () => {
    for (const { parameters, example = {}, functionName } of operations) {
      const query = Object.fromEntries(Object.entries(example).map(([name, value]) => [name, String(value)]))
      expect(parameters?.partial().safeParse(query).error, functionName).toBeUndefined()
    }
  })
})

describe('the patterns of times', () => {
  const whole = (pattern: string) => new RegExp(`^(?:${pattern})$`)
  const now = BigInt(Date.UTC(2026, 0, 31)) * 1_000_000n
  /** The patterns know no leap years. */
  const leapDay = /^\d{4}-02-29/

  it('fit only what is read', () => {
    const read = (pattern: string, parse: (text: string) => unknown) =>
      fc.assert(
        fc.property(
          fc.stringMatching(whole(pattern)).filter((text) => !leapDay.test(text)),
          (text) => parse(text) !== undefined,
        ),
        { numRuns: 2000 },
      )
    read(timePattern, parseTime)
    read(instantPattern, (text) => parseInstant(text, now))
    read(durationPattern, parseDuration)
  })

  it('fit every duration that is read', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.nat(40_000), fc.nat(4_000_000), fc.double({ min: 0, max: 4e9 }).map(Math.floor)),
        fc.constantFrom('s', 'm', 'h', 'd', 'w'),
        (n, unit) =>
          (parseDuration(`${n}${unit}`) !== undefined) === whole(durationPattern).test(`${n}${unit}`),
      ),
      { numRuns: 5000 },
    )
    for (const [longest, unit] of [
      [36_500, 'd'],
      [5_214, 'w'],
      [876_000, 'h'],
      [3_153_600_000, 's'],
    ] as const) {
      expect(whole(durationPattern).test(`${longest}${unit}`)).toBe(true)
      expect(whole(durationPattern).test(`${longest + 1}${unit}`)).toBe(false)
    }
  })

  it('fit every time that is written in full', () => {
    fc.assert(
      fc.property(
        fc.date({ min: new Date('0100-01-01'), max: new Date('9999-12-31'), noInvalidDate: true }),
        fc.constantFrom('Z', '+02:00', '-0930', ''),
        (date, offset) => whole(timePattern).test(date.toISOString().replace('Z', offset)),
      ),
    )
  })
})
