import { existsSync } from 'node:fs'
import { Validator } from '@seriousme/openapi-schema-validator'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import * as z from 'zod'
import { readImport } from '../lib/devices/import-file.ts'
import { largestOfUnit, maxParts, parseInstant, parseWindow } from '../lib/telemetry/duration.ts'
import { parsePayload } from '../lib/telemetry/payload/parse.ts'
import { instantPattern, timePattern, windowPattern } from '../lib/telemetry/payload/patterns.ts'
import { parseTime } from '../lib/telemetry/time.ts'
import { loadFunctions } from '../local/functions.ts'
import { errorsOf, loadOperations } from '../scripts/openapi/operations.ts'
import { openApiDocument } from '../scripts/openapi-document.ts'

const functions = await loadFunctions()
const { routes, file } = functions
const operations = await loadOperations(functions)
const document = await openApiDocument(functions)
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
      isExported: operations.some(
        (one) => named(one.method, one.path) === route && one.functionName === functionName,
      ),
      operation: described.find((one) => one.route === route)?.operationId,
    }
  })

  it('have each a function that exports them, and an operation in the document', () => {
    expect(table.filter((row) => !existsSync(row.function))).toEqual([])
    expect(table.filter((row) => !row.isExported)).toEqual([])
    expect(table.filter((row) => row.operation === undefined)).toEqual([])
  })

  it('are all that the functions export and the document has, in the same order', () => {
    expect(operations.map(({ method, path }) => named(method, path))).toEqual(table.map(({ route }) => route))
    expect(described.map(({ route }) => route).sort()).toEqual(table.map(({ route }) => route).sort())
  })
})

describe('the document', () => {
  it('is OpenAPI 3.1', async () => {
    const validator = new Validator()
    const { valid, errors } = await validator.validate({ ...structuredClone(document) })
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
      const found = operations.find((one) => one.id === id)
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
      if (body?.contentTypes !== undefined) {
        const read = readImport(Buffer.from(String(example)), name === 'text/csv' ? 'csv' : 'ndjson', 10)
        expect(read, `${functionName}: ${name}`).toEqual([
          { row: expect.any(Number), device: expect.anything() },
        ])
      } else if (body?.schema instanceof z.ZodType)
        expect(body.schema.safeParse(example).error, `${functionName}: ${name}`).toBeUndefined()
      else expect(parsePayload(example, arrival).rejected, `${functionName}: ${name}`).toEqual([])
    }
  })

  it('are parameters that are accepted', () => {
    for (const { query: schema, exampleQuery = {}, functionName } of operations) {
      const query = Object.fromEntries(
        Object.entries(exampleQuery).map(([name, value]) => [name, String(value)]),
      )
      expect(schema?.partial().safeParse(query).error, functionName).toBeUndefined()
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
    read(windowPattern, parseWindow)
  })

  it('fit every duration that is read', () => {
    const units = Object.keys(largestOfUnit)
    const number = fc.oneof(
      fc.nat(40),
      fc.nat(40_000),
      fc.nat(4_000_000),
      fc.double({ min: 0, max: 4e9 }).map(Math.floor),
    )
    const part = fc.tuple(number, fc.constantFrom(...units)).map(([n, unit]) => `${n}${unit}`)
    fc.assert(
      fc.property(fc.array(part, { minLength: 1, maxLength: 9 }), (parts) => {
        const text = parts.join('')
        expect(whole(windowPattern).test(text)).toBe(parseWindow(text) !== undefined)
        expect(whole(instantPattern).test(`-${text}`)).toBe(parseInstant(`-${text}`, now) !== undefined)
      }),
      { numRuns: 5000 },
    )
    for (const [unit, largest] of Object.entries(largestOfUnit)) {
      expect(whole(windowPattern).test(`${largest}${unit}`)).toBe(true)
      expect(whole(windowPattern).test(`${largest + 1}${unit}`)).toBe(false)
    }
    expect(whole(windowPattern).test('1h'.repeat(maxParts))).toBe(true)
    expect(whole(windowPattern).test('1h'.repeat(maxParts + 1))).toBe(false)
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
