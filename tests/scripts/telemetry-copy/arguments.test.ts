import { describe, expect, it } from 'vitest'
import { UsageError } from '../../../scripts/command.ts'
import { parseArguments, rangeOf } from '../../../scripts/telemetry-copy/arguments.ts'

const toInflux = ['--from', 'embedded', '--to', 'influxdb']
const now = 1_800_000_000_000_000_000n

describe('the arguments of telemetry:copy', () => {
  it('are two different stores, and the readings to copy', () => {
    expect(parseArguments(toInflux)).toEqual({
      from: 'embedded',
      to: 'influxdb',
      since: undefined,
      until: undefined,
      devices: undefined,
      restart: false,
    })
    const all = [
      '--since=-7d',
      '--until',
      '2027-01-15',
      '--device',
      '9',
      '--device',
      '7',
      '--device',
      '9',
      '--restart',
    ]
    const asked = parseArguments([...toInflux, ...all])
    expect(asked).toMatchObject({ devices: [7, 9], restart: true })
    expect(asked && rangeOf(asked, now)).toEqual({
      from: now - 7n * 86_400_000_000_000n,
      to: 1_799_971_200_000_000_000n,
    })
    expect(parseArguments(['-h'])).toBeUndefined()
  })

  it.each([
    [[], '--from must be embedded or influxdb.'],
    [['--from', 'embedded'], '--to must be embedded or influxdb.'],
    [['--from', 'embedded', '--to', 'redis'], '--to must be embedded or influxdb, not "redis".'],
    [['--from', 'embedded', '--to', 'embedded'], '--from and --to must be two different stores.'],
    [[...toInflux, '--device', 'x'], '--device must be the id of a device, not "x".'],
    [
      [...toInflux, '--since', 'soon'],
      '--since must be ISO 8601, an epoch, or a time back from now such as -7d, not "soon".',
    ],
    [[...toInflux, '--since=-1h', '--until=-2h'], '--since must be before --until.'],
    [[...toInflux, '--all'], "Unknown option '--all'; --help shows what there is."],
  ])('are refused with one sentence: %j', (args, sentence) => {
    const take = () => {
      const asked = parseArguments(args)
      if (asked) rangeOf(asked, now)
    }
    expect(take).toThrow(UsageError)
    expect(take).toThrow(sentence)
  })
})
