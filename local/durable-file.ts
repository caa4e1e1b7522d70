/** Small files that are there as a whole, or not at all, after any kind of end. */
import { open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'

/** Makes renames and deletions in a folder durable. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r')
  // Not every file system can do it; those that cannot order such changes themselves.
  await folder.sync().catch(() => undefined)
  await folder.close()
}

/** Makes the content of a file durable. */
export async function syncFile(path: string): Promise<void> {
  const file = await open(path, 'r+')
  await file.sync()
  await file.close()
}

/** Replaces a file, readable by its owner only. */
export async function writeDurably(path: string, content: string): Promise<void> {
  const unfinished = `${path}.new`
  const file = await open(unfinished, 'w', 0o600)
  await file.writeFile(content)
  await file.sync()
  await file.close()
  await rename(unfinished, path)
  await syncFolder(dirname(path))
}

/** Deletes a file durably; one that does not exist is no error. */
export async function removeDurably(path: string): Promise<void> {
  await rm(path, { force: true })
  await syncFolder(dirname(path))
}
