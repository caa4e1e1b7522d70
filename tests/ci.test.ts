import { existsSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { requiredBackends } from './support/backends.ts'

interface Workflow {
  permissions: unknown
  concurrency: { 'cancel-in-progress': unknown }
  jobs: Record<
    string,
    {
      strategy: { matrix: { node: number[] } }
      services: Record<string, { image: string }>
      env: Record<string, string>
      steps: { uses?: string; with?: Record<string, unknown>; run?: string }[]
    }
  >
}

describe('the checks on GitHub', () => {
  const text = readFileSync('.github/workflows/ci.yml', 'utf8')
  const workflow = parse(text) as Workflow
  const { check } = workflow.jobs

  it('run everything with every backend, on both versions of Node that deployed stages may have', () => {
    expect(check?.strategy.matrix.node).toEqual([22, 24])
    expect(check?.services.influxdb?.image).toBe('influxdb:2.7')
    expect(check?.env).toMatchObject({ INFLUXDB_URL: 'http://127.0.0.1:8086', REQUIRE_BACKENDS: '1' })
    expect(check?.steps.at(-1)?.run).toMatch(/ bash \.ci\/run$/)
    expect(existsSync('.ci/run')).toBe(true)
  })

  it('may read the sources and nothing else, and run actions that cannot be changed under them', () => {
    expect(workflow.permissions).toEqual({ contents: 'read' })
    expect(workflow.concurrency['cancel-in-progress']).toBe(true)
    const uses = [...text.matchAll(/uses: (.*)/g)].map(([, used]) => used)
    expect(uses).toHaveLength(2)
    for (const used of uses) expect(used).toMatch(/^actions\/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/)
    expect(check?.steps[0]?.with).toEqual({ 'persist-credentials': false })
    expect(text).not.toContain('secrets.')
  })
})

describe('.ci/run', () => {
  it('requires every backend that it can install, when nothing else is asked', () => {
    const [, names = ''] = /REQUIRE_BACKENDS:-([^}]+)\}/.exec(readFileSync('.ci/run', 'utf8')) ?? []
    const all = [...requiredBackends('1')].filter((name) => name !== 'influxdb')
    expect([...requiredBackends(names)].sort()).toEqual(all.sort())
  })
})
