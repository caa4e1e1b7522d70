/** The places for a registry (a file, a libSQL server); every registry suite runs on each of them. */
import { join } from 'node:path'
import { describe } from 'vitest'
import { describeWith } from './backends.ts'
import { findSqld, startSqld } from './sqld.ts'
import { temporaryFolder } from './temporary.ts'

/** An empty place for one registry. */
export interface Place {
  readonly url: string
  remove(): Promise<void>
}

const inFile = async (): Promise<Place> => {
  const folder = await temporaryFolder()
  return { url: `file:${join(folder.path, 'registry.db')}`, remove: folder.remove }
}

const onServer = async (): Promise<Place> => {
  const sqld = await startSqld()
  return { url: sqld.url, remove: () => sqld.stop() }
}

/** A `describe` for each place. */
export function describeRegistry(name: string, body: (place: () => Promise<Place>) => void): void {
  const sqld = findSqld() !== undefined
  describeWith({}, 'registry contract: file', () => describe(name, () => body(inFile)))
  describeWith({ sqld }, 'registry contract: libsql server', () => describe(name, () => body(onServer)))
}
