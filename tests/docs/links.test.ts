import { existsSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { describe, expect, it } from 'vitest'
import { type Document, documents, proseOf, textOf } from '../support/documents.ts'

/** The anchors that GitHub gives the headings of a document. */
const anchorsOf = (document: Document): ReadonlySet<string> => {
  const seen = new Map<string, number>()
  return new Set(
    [...proseOf(document).matchAll(/^#+ +(.+)$/gm)].map(([, heading = '']) => {
      const plain = heading
        .trim()
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{M}\p{N}\p{Pc} -]/gu, '')
        .replaceAll(' ', '-')
      const count = seen.get(plain) ?? 0
      seen.set(plain, count + 1)
      return count === 0 ? plain : `${plain}-${count}`
    }),
  )
}
const anchors = new Map(documents.map((document) => [document.path, anchorsOf(document)]))

interface Link {
  readonly from: string
  readonly target: string
}

const links: Link[] = documents.flatMap((document) =>
  [...proseOf(document).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = '']) => ({
    from: document.path,
    target,
  })),
)
const isForeign = ({ target }: Link) => /^[a-z]+:/.test(target)

/** Where a link leads, from the root. */
const fileOf = ({ from, target }: Link): string => {
  const [path = ''] = target.split('#')
  return path === '' ? from : normalize(join(dirname(from), path))
}

describe('the links of the documents', () => {
  const own = links.filter((link) => !isForeign(link))

  it('lead to files that exist', () => {
    expect(own.length).toBeGreaterThan(60)
    expect(own.filter((link) => !existsSync(fileOf(link)))).toEqual([])
  })

  it('lead to headings that exist', () => {
    const named = own.filter(({ target }) => target.includes('#'))
    expect(named.length).toBeGreaterThan(10)
    const broken = named.filter(
      (link) => anchors.get(fileOf(link))?.has(link.target.split('#')[1] ?? '') !== true,
    )
    expect(broken).toEqual([])
  })

  it('are encrypted where they leave the project', () => {
    const foreign = links.filter(isForeign).map(({ target }) => target)
    expect(foreign.filter((target) => !target.startsWith('https://'))).toEqual([])
  })

  it('name every document from the README', () => {
    const listed = new Set(links.filter(({ from }) => from === 'README.md').map(fileOf))
    const docs = documents.map(({ path }) => path).filter((path) => path.startsWith('docs/'))
    expect(docs.filter((path) => !listed.has(path))).toEqual([])
  })
})

it('paths of the project in documents exist', () => {
  const folders =
    /`((?:cli|client|dashboard|examples|functions|iot-rules|lib|local|scripts|simulators|tests)\/[\w./-]*)`/g
  const named = documents.flatMap(({ path, text }) =>
    [...text.matchAll(folders)].map(([, target = '']) => ({ path, target })),
  )
  expect(named.length).toBeGreaterThan(20)
  expect(named.filter(({ target }) => !existsSync(target))).toEqual([])
})

it('the picture of the architecture names files and folders that exist', () => {
  const [, picture = ''] = /```mermaid\n(.*?)```/s.exec(textOf('docs/architecture.md')) ?? []
  const named = [...picture.matchAll(/\b(?:functions|iot-rules|lib|local)\/[\w./-]*/g)].map(([path]) => path)
  expect(named.length).toBeGreaterThan(7)
  expect(named.filter((path) => !existsSync(path))).toEqual([])
})

it('the tree of the architecture has every folder of the project, and no other', async () => {
  const [, tree = ''] = /## Where things are\n+```\n(.*?)```/s.exec(textOf('docs/architecture.md')) ?? []
  const names = [...tree.matchAll(/^([a-z-]+)\/ /gm)].map(([, name]) => name)
  expect(names.filter((name) => !existsSync(name ?? ''))).toEqual([])
  expect(names).toContain('functions')
})
