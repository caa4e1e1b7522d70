/** `server.json` in the data directory: how commands on this machine reach the server that runs on it. */
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import * as z from 'zod'

const ServerFile = z.object({
  /** Undefined for a server without HTTP. */
  url: z.string().optional(),
  pid: z.number(),
})
export type ServerFile = z.output<typeof ServerFile>

const fileIn = (dataDir: string) => join(dataDir, 'server.json')

/** Addresses to listen on that are no addresses to connect to. */
const unspecified: Readonly<Record<string, string>> = {
  '0.0.0.0': '127.0.0.1',
  '::': '[::1]',
  '[::]': '[::1]',
}

/** Notes where the server of this process answers. @returns a function that removes the note. */
export async function writeServerFile(
  dataDir: string,
  httpUrl: string | undefined,
): Promise<() => Promise<void>> {
  let url: string | undefined
  if (httpUrl !== undefined) {
    const { protocol, hostname, port } = new URL(httpUrl)
    url = `${protocol}//${unspecified[hostname] ?? hostname}${port && `:${port}`}`
  }
  const file = fileIn(dataDir)
  await writeFile(file, `${JSON.stringify({ url, pid: process.pid } satisfies ServerFile)}\n`, {
    mode: 0o600,
  })
  return () => rm(file, { force: true })
}

/** Removes the note of a server that was killed: another program may listen at its address by now. */
export const removeServerFile = (dataDir: string): Promise<void> => rm(fileIn(dataDir), { force: true })

/** The note of the last server; undefined when there is none. A killed server leaves its note behind, until a process locks the directory. */
export async function readServerFile(dataDir: string): Promise<ServerFile | undefined> {
  try {
    return ServerFile.parse(JSON.parse(await readFile(fileIn(dataDir), 'utf8')))
  } catch {
    return undefined
  }
}
