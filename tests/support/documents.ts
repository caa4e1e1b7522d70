/** The documents of the project, as files of Markdown. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { root } from '../../lib/root.ts'

const rootFolder = fileURLToPath(root)

export interface Document {
  /** From the root: `docs/manage.md`. */
  readonly path: string
  readonly text: string
}

/** A fenced block of a document. */
export interface Block {
  readonly document: string
  /** `sh`, `json`, …; empty where none is named. */
  readonly language: string
  readonly text: string
}

const markdownOf = (folder: string) =>
  readdirSync(join(rootFolder, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.md'))
    .map((entry) => join(entry.parentPath, entry.name).slice(rootFolder.length))

export const documents: readonly Document[] = [
  ...['README.md', 'CONTRIBUTING.md'],
  ...['docs', 'examples', 'benchmarks'].flatMap(markdownOf).sort(),
].map((path) => ({ path, text: readFileSync(join(rootFolder, path), 'utf8') }))

export const textOf = (path: string): string => {
  const found = documents.find((one) => one.path === path)
  if (found === undefined) throw new Error(`there is no ${path}`)
  return found.text
}

const fence = /^( *)```(\w*)\n(.*?)^ *```$/gms

export const blocksOf = ({ path, text }: Document): Block[] =>
  [...text.matchAll(fence)].map(([, indent = '', language = '', body = '']) => ({
    document: path,
    language,
    text: body.replaceAll(new RegExp(`^${indent}`, 'gm'), ''),
  }))

/** The text without its fenced blocks. */
export const proseOf = ({ text }: Document): string => text.replaceAll(fence, '')
