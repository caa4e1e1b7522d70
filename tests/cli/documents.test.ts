import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { iotflowProgram } from '../../cli/program.ts'
import { root } from '../../lib/root.ts'
import { runIotflow, runLine } from '../support/iotflow.ts'
import { type StandaloneServer, startStandaloneServer } from '../support/standalone.ts'
import { temporaryFolder } from '../support/temporary.ts'

const document = await readFile(new URL('docs/manage.md', root), 'utf8')
const lines = [...document.matchAll(/```sh\n(.*?)```/gs)].flatMap(([, block = '']) =>
  block.trim().split('\n'),
)

let folder: Awaited<ReturnType<typeof temporaryFolder>>
let server: StandaloneServer
beforeAll(async () => {
  folder = await temporaryFolder()
  await mkdir(join(folder.path, 'bin'))
  await symlink(fileURLToPath(new URL('cli/bin.mjs', root)), join(folder.path, 'bin/iotflow'))
  await writeFile(join(folder.path, 'fleet.csv'), 'name,device_type\npump-1,pump\npump-2,pump\n')
  const times = [1, 2, 3].map((n) => new Date(Date.now() - n * 60_000).toISOString())
  const rows = times.map((time, n) => `pump-1,${time},${n + 1}.5,true,"a, b"`)
  await writeFile(
    join(folder.path, 'readings.csv'),
    `${['device_name,timestamp,pressure,on,note', ...rows].join('\n')}\n`,
  )
  server = await startStandaloneServer({ settings: { DATA_DIR: join(folder.path, 'data') } })
})
afterAll(async () => {
  await server?.stop().catch(() => undefined)
  await folder?.remove()
})

it('every command of docs/manage.md works as it is written there', { timeout: 600_000 }, async () => {
  expect(lines.length).toBeGreaterThan(30)
  const options = {
    dataDir: join(folder.path, 'data'),
    cwd: folder.path,
    settings: { PATH: `${join(folder.path, 'bin')}:${process.env.PATH}` },
  }
  for (const line of lines) {
    if (line.startsWith('iotflow restore')) await server.stop()
    const { code, out, err } = await runLine(line, options)
    expect(code, `${line}\n${out}${err}`).toBe(0)
  }
  const exported = await readFile(join(folder.path, 'export.csv'), 'utf8')
  expect(exported.split('\r\n')[1]).toMatch(/^\d+,pump-1,[^,]+,"a, b",true,3\.5,$/)
})

it('npm run manage is the same', async () => {
  const { code, out } = await runLine('npm run --silent manage -- --version', { dataDir: folder.path })
  expect([code, out]).toEqual([0, expect.stringMatching(/^\d+\.\d+\.\d+\n$/)])
})

it('every command has examples in its help, and a place in the document', async () => {
  const program = iotflowProgram()
  const commands = program.commands.flatMap((command) =>
    command.commands.length > 0
      ? command.commands.map((one) => [command.name(), one.name()])
      : [[command.name()]],
  )
  expect(commands.length).toBeGreaterThan(25)
  for (const words of commands) {
    const { code, out } = await runIotflow([...words, '--help'], { dataDir: folder.path })
    expect(code, words.join(' ')).toBe(0)
    expect(out).toContain(`\nExamples:\n  iotflow ${words.join(' ')}`)
    const mentions = [words.join(' '), words.at(-1) ?? '']
    expect(
      mentions.some((text) => document.includes(text)),
      words.join(' '),
    ).toBe(true)
  }
}, 400_000)
