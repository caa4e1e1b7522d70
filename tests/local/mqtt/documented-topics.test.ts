import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { defaultTopics } from '../../../lib/mqtt/topics.ts'
import { loadRules, type TopicRule } from '../../../local/mqtt/rules.ts'
import { rulesOfDeviceTopics, rulesOfOtherTopics } from '../../support/rule-topics.ts'

const folder = fileURLToPath(new URL('../../../iot-rules/', import.meta.url))
const rules = await loadRules(folder)
const ofDev = await loadRules(folder, 'iotflow-dev')

const firing = (all: readonly TopicRule[], topic: string) =>
  all.filter((rule) => rule.matches(topic)).map(({ name }) => name)

test.each(Object.entries(rulesOfDeviceTopics))('a message to %s of a device fires %j', (topic, names) => {
  expect(firing(rules, `iotflow/devices/7/${topic}`)).toEqual(names)
  // The rules of another stage see its own topics only.
  expect(firing(ofDev, `iotflow/devices/7/${topic}`)).toEqual([])
  expect(firing(ofDev, `iotflow-dev/devices/7/${topic}`)).toEqual(names)
  expect(firing(rules, `iotflow-dev/devices/7/${topic}`)).toEqual([])
})

test.each(Object.entries(rulesOfOtherTopics))('a message to %s fires %j', (topic, names) => {
  expect(firing(rules, topic)).toEqual(names)
})

test('every topic that a device may publish to fires one rule', () => {
  const published = Object.keys(rulesOfDeviceTopics)
    .map((topic) => `iotflow/devices/7/${topic}`)
    .filter((topic) => defaultTopics.parse(topic) !== undefined)
  expect(published.length).toBeGreaterThan(10)
  for (const topic of published) expect(firing(rules, topic), topic).toHaveLength(1)
})

/** Whole files of text, by their paths from the root. */
const texts = ['docs', 'examples'].flatMap((name) =>
  readdirSync(name, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.(md|py|mjs|js|cpp|h|ino|conf|ya?ml|json)$/.test(entry.name))
    .map((entry) => readFileSync(`${entry.parentPath}/${entry.name}`, 'utf8')),
)

/** The topic with device 7 and command c1 in the place of variables; undefined for a prefix, a filter and a format. */
const concrete = (topic: string): string | undefined => {
  const named = topic
    .replace('[/…]', '')
    .replaceAll('{command_id}', 'c1')
    .replaceAll(/\$ID|\{(?:\w+\.)?id\}/g, '7')
  return /[#+%…]|\/$/.test(named) ? undefined : named
}

test('the table of topics has every topic in documents and examples', () => {
  const written = texts.flatMap((text) => text.match(/iotflow\/(?:devices|fleet)\/[^\s`"'|)*;,]*/g) ?? [])
  const [, table = ''] =
    /\| Topic, below [^\n]*\n([\s\S]*?)\n\n/.exec(readFileSync('docs/mqtt.md', 'utf8')) ?? []
  const inTable = [...table.matchAll(/^\|([^|]*)\|/gm)]
    .flatMap(([, cell = '']) => [...cell.matchAll(/`([a-z][^`]*)`/g)].map(([, topic = '']) => topic))
    .filter((topic) => !topic.startsWith('iotflow/'))
    .map((topic) => `iotflow/devices/7/${topic}`)
  expect(inTable.length).toBeGreaterThan(8)
  const found = new Set([...written, ...inTable].map(concrete).filter((topic) => topic !== undefined))
  const known = [
    ...Object.keys(rulesOfDeviceTopics).map((topic) => `iotflow/devices/7/${topic}`),
    ...Object.keys(rulesOfOtherTopics),
  ]
  expect(found.size).toBeGreaterThan(8)
  expect([...found].filter((topic) => !known.includes(topic))).toEqual([])
})
