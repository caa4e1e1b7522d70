/**
 * The file of a backup: a line with the format and the checksum of the next line; a line of JSON that lists the files with their
 * sizes and checksums; then the files one after the other, compressed by gzip.
 */
import { createHash, type Hash } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { Readable, Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGunzip, createGzip } from 'node:zlib'
import * as z from 'zod'
import { describeFailure } from '../describe-failure.ts'
import { syncFile, syncFolder } from '../durable-file.ts'

const Manifest = z.object({
  /** Of IoTFlow. */
  version: z.string(),
  /** ISO 8601, UTC. */
  created_at: z.string(),
  /** When the newest migration of the registry was made, ms since the epoch. */
  schema: z.number(),
  influxdb: z.boolean(),
  files: z.array(
    z.object({ name: z.enum(['registry', 'telemetry']), bytes: z.int().min(0), sha256: z.string() }),
  ),
})
export type Manifest = z.output<typeof Manifest>

export interface ArchivedFile {
  readonly name: 'registry' | 'telemetry'
  readonly path: string
}

const magic = 'IoTFlow-backup 1'
/** The two lines at the beginning, bytes. */
const maxHeadBytes = 65_536

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')

const damaged = (path: string, what: string) => new Error(`${path} is no complete backup: ${what}.`)

const hashFile = async (path: string): Promise<{ bytes: number; sha256: string }> => {
  const hash = createHash('sha256')
  let bytes = 0
  for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
    hash.update(chunk)
    bytes += chunk.length
  }
  return { bytes, sha256: hash.digest('hex') }
}

async function* contentOf(files: readonly ArchivedFile[]): AsyncGenerator<Buffer> {
  for (const { path } of files) yield* createReadStream(path) as AsyncIterable<Buffer>
}

/** Writes the archive. It appears under its name when it is complete and durable. */
export async function writeArchive(
  path: string,
  files: readonly ArchivedFile[],
  about: Omit<Manifest, 'files'>,
): Promise<Manifest> {
  const listed = []
  for (const { name, path: file } of files) listed.push({ name, ...(await hashFile(file)) })
  const manifest: Manifest = { ...about, files: listed }
  const json = JSON.stringify(manifest)
  const unfinished = `${path}.unfinished`
  try {
    const head = await open(unfinished, 'w', 0o600)
    await head.writeFile(`${magic} ${sha256(json)}\n${json}\n`)
    await head.close()
    await pipeline(
      Readable.from(contentOf(files)),
      createGzip({ level: 1 }),
      createWriteStream(unfinished, { flags: 'a' }),
    )
    await syncFile(unfinished)
    await rename(unfinished, path)
    await syncFolder(dirname(path))
  } catch (error) {
    await rm(unfinished, { force: true })
    throw error
  }
  return manifest
}

/** Reads the first two lines. @throws {Error} one sentence for a file that is no backup. */
export async function readManifest(path: string): Promise<{ manifest: Manifest; contentAt: number }> {
  const buffer = Buffer.alloc(maxHeadBytes)
  const bytesRead = await describeFailure(`${path} cannot be read`, async () => {
    const file = await open(path, 'r')
    return (await file.read(buffer, 0, maxHeadBytes, 0).finally(() => file.close())).bytesRead
  })
  const [first = '', json = ''] = buffer.subarray(0, bytesRead).toString('utf8').split('\n', 2)
  const [name, format, checksum] = first.split(' ')
  if (`${name} ${format}` !== magic) {
    const isNewer = name === 'IoTFlow-backup' && Number(format) > 1
    throw isNewer
      ? new Error(`${path} was made by a newer version of IoTFlow.`)
      : new Error(`${path} is no backup of IoTFlow.`)
  }
  if (checksum !== sha256(json)) throw damaged(path, 'its list of files has another checksum')
  const parsed = Manifest.safeParse(JSON.parse(json))
  if (!parsed.success) throw damaged(path, 'its list of files is not valid')
  return { manifest: parsed.data, contentAt: Buffer.byteLength(`${first}\n${json}\n`) }
}

/** Cuts the content into its files, and checks each. */
class Splitter {
  readonly #manifest: Manifest
  readonly #pathOf: (name: 'registry' | 'telemetry') => string
  readonly #archive: string
  #at = 0
  #left = 0
  #hash: Hash | undefined
  #out: Awaited<ReturnType<typeof open>> | undefined

  constructor(archive: string, manifest: Manifest, pathOf: (name: 'registry' | 'telemetry') => string) {
    this.#archive = archive
    this.#manifest = manifest
    this.#pathOf = pathOf
  }

  async write(chunk: Buffer): Promise<void> {
    for (let rest = chunk; rest.length > 0; ) {
      await this.#openNext()
      const part = rest.subarray(0, this.#left)
      this.#hash?.update(part)
      await this.#out?.writeFile(part)
      this.#left -= part.length
      rest = rest.subarray(part.length)
      if (this.#left === 0) await this.#finish()
    }
  }

  /** @throws {Error} when files are missing. */
  async end(): Promise<void> {
    await this.close()
    if (this.#left > 0 || this.#at < this.#manifest.files.length)
      throw damaged(this.#archive, 'its end is missing')
  }

  async close(): Promise<void> {
    await this.#out?.close()
    this.#out = undefined
  }

  async #openNext(): Promise<void> {
    if (this.#out !== undefined) return
    const next = this.#manifest.files[this.#at]
    if (next === undefined) throw damaged(this.#archive, 'it holds more than its list says')
    this.#left = next.bytes
    this.#hash = createHash('sha256')
    this.#out = await open(this.#pathOf(next.name), 'w', 0o600)
  }

  async #finish(): Promise<void> {
    const file = this.#manifest.files[this.#at]
    this.#at += 1
    await this.#out?.sync()
    await this.close()
    if (this.#hash?.digest('hex') !== file?.sha256)
      throw damaged(this.#archive, `the checksum of the ${file?.name} database is wrong`)
  }
}

/**
 * Writes the files of an archive, durably.
 * @throws {Error} one sentence for an archive that is damaged.
 */
export async function extractArchive(
  path: string,
  pathOf: (name: 'registry' | 'telemetry') => string,
): Promise<Manifest> {
  const { manifest, contentAt } = await readManifest(path)
  const splitter = new Splitter(path, manifest, pathOf)
  try {
    await pipeline(
      createReadStream(path, { start: contentAt }),
      createGunzip(),
      new Transform({
        transform(chunk: Buffer, _encoding, done) {
          splitter.write(chunk).then(() => done(), done)
        },
        flush(done) {
          splitter.end().then(() => done(), done)
        },
      }).resume(),
    )
  } catch (error) {
    await splitter.close()
    const { code } = error as NodeJS.ErrnoException
    if (code === 'Z_DATA_ERROR' || code === 'Z_BUF_ERROR')
      throw damaged(path, 'its content cannot be decompressed')
    throw error
  }
  return manifest
}
