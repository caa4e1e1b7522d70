import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { settingNames } from '../lib/config.ts'

const names = [...settingNames].sort()

it('explains every setting in .env.example, each commented out', () => {
  const text = readFileSync('.env.example', 'utf8')
  const found = [...text.matchAll(/^#([A-Z][A-Z0-9_]+)=/gm)].map(([, name]) => name)
  expect(found.sort()).toEqual(names)
  expect(text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))).toEqual([])
})

it('lists every setting in the README', () => {
  const table = readFileSync('README.md', 'utf8').split('## Settings')[1]?.split('\n## ')[0] ?? ''
  const found = table
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .flatMap((line) => [...(line.split('|')[1] ?? '').matchAll(/`([A-Z0-9_]+)`/g)].map(([, name]) => name))
  expect(found.sort()).toEqual(names)
})
