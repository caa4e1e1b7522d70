/** Creates a temporary folder for a test, which removes it at its end. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export async function temporaryFolder(): Promise<{ path: string; remove(): Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), 'iotflow-test-'))
  return { path, remove: () => rm(path, { recursive: true, force: true }) }
}
