import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { textOf } from '../support/documents.ts'

const settingsOf = (path: string) => readFileSync(path, 'utf8').replaceAll(/^#.*\n/gm, '')

it.each(['examples/tasmota/settings.txt', 'examples/zigbee2mqtt/mosquitto-bridge.conf'])(
  'docs/devices.md shows %s',
  (path) => {
    expect(textOf('docs/devices.md')).toContain(`\`\`\`\n${settingsOf(path)}\`\`\`\n`)
  },
)
