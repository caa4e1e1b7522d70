/** The types of the client, made from the OpenAPI document by openapi-typescript. */
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { OpenApiDocument } from '../lib/http/openapi.ts'
import { CommandError } from './command.ts'

/** The generator needs TypeScript 5: npx keeps both away from the TypeScript of this project. */
const generator = ['--yes', '--package=openapi-typescript@7.13.0', '--package=typescript@5.9.3']

/** Pages and their parts are no concern of an application; the names of the parts change with their content. */
const isPage = (path: string) => /^\/(?:$|docs\b|assets\/)/.test(path)

/** What an application calls. */
const forApplications = (document: OpenApiDocument): OpenApiDocument => ({
  ...document,
  paths: Object.fromEntries(Object.entries(document.paths).filter(([path]) => !isPage(path))),
})

/** The first line of the types: tells which document they are made from. The version of the server does not matter. */
export function mark(document: OpenApiDocument): string {
  const { paths, components } = forApplications(document)
  const digest = createHash('sha256').update(JSON.stringify({ paths, components })).digest('hex')
  return `// npm run api:generate made this file from the OpenAPI document with the digest ${digest}.`
}

/** The text of client/schema.d.ts; npx loads the generator from the registry of npm. @throws {CommandError} when it fails. */
export async function clientTypes(document: OpenApiDocument): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'iotflow-client-'))
  try {
    const [source, types] = [join(folder, 'openapi.json'), join(folder, 'schema.d.ts')]
    await writeFile(source, JSON.stringify(forApplications(document)))
    const args = [...generator, '--', 'openapi-typescript', source, '--output', types]
    const child = spawn('npx', args, { stdio: ['ignore', 'ignore', 'inherit'] })
    const [code] = (await once(child, 'close')) as [number | null]
    if (code !== 0) throw new CommandError(`openapi-typescript ended with ${code ?? 'a signal'}.`)
    return `${mark(document)}\n${await readFile(types, 'utf8')}`
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
