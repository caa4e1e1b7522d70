import { describe, expect, it } from 'vitest'
import { entityTag, expectedVersion, isUnchanged } from '../../../lib/http/versions.ts'
import { appFor } from '../../support/http-app.ts'

const ask = async (app: ReturnType<typeof appFor>, headers: Record<string, string>) =>
  (await app.request('/', { headers })).json()

it('an entity tag is the version in quotes', () => {
  expect([entityTag(7), entityTag('abc')]).toEqual(['"7"', '"abc"'])
})

describe('If-None-Match', () => {
  const app = appFor('GET /', (c) => isUnchanged(c, 7))

  it.each(['"7"', 'W/"7"', '"1", "7"', ' "7" ', '*'])('%s has version 7', async (tag) => {
    expect(await ask(app, { 'If-None-Match': tag })).toEqual({ value: true })
  })

  it.each(['"8"', '7', '"77"', '""', '"1", "2"'])('%s has not', async (tag) => {
    expect(await ask(app, { 'If-None-Match': tag })).toEqual({ value: false })
  })

  it('that is absent has not', async () => {
    expect(await ask(app, {})).toEqual({ value: false })
  })
})

describe('If-Match', () => {
  const app = appFor('GET /', (c) => expectedVersion(c))

  it.each([
    ['"7"', 7],
    ['7', 7],
    ['"0"', 0],
  ])('%s names version %d', async (tag, version) => {
    expect(await ask(app, { 'If-Match': tag })).toEqual({ value: version })
  })

  it('that is absent or * takes any version', async () => {
    expect([await ask(app, {}), await ask(app, { 'If-Match': '*' })]).toEqual([{}, {}])
  })

  it.each(['"abc"', 'W/"7"', '""', '"-1"', '"7.0"'])('%s is refused', async (tag) => {
    expect(await ask(app, { 'If-Match': tag })).toMatchObject({ code: 'PRECONDITION_FAILED' })
  })
})
