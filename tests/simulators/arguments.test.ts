import { describe, expect, it } from 'vitest'
import { parseArguments, UsageError } from '../../simulators/arguments.ts'

describe('the arguments of npm run simulate', () => {
  it('have defaults', () => {
    expect(parseArguments([])).toEqual({
      help: false,
      json: false,
      fleet: {
        devices: 5,
        durationS: 30,
        rate: 1,
        protocol: 'both',
        url: 'http://127.0.0.1:5000',
        mqttUrl: 'mqtt://127.0.0.1:1883',
        enrollmentKey: undefined,
      },
    })
  })

  it('are all read', () => {
    const text =
      '--devices 12 --duration 2.5 --rate=0.5 --protocol mqtt --url https://iot.example/ --mqtt-url wss://iot.example/mqtt --enrollment-key abc --json'
    expect(parseArguments(text.split(' '))).toEqual({
      help: false,
      json: true,
      fleet: {
        devices: 12,
        durationS: 2.5,
        rate: 0.5,
        protocol: 'mqtt',
        url: 'https://iot.example',
        mqttUrl: 'wss://iot.example/mqtt',
        enrollmentKey: 'abc',
      },
    })
  })

  it.each([
    ['--devices 0', '--devices'],
    ['--devices 1.5', '--devices'],
    ['--devices=-5', '--devices'],
    ['--devices 1e3', '--devices'],
    ['--devices', '--devices'],
    ['--duration x', '--duration'],
    ['--duration 0', '--duration'],
    ['--rate 0', '--rate'],
    ['--rate Infinity', '--rate'],
    ['--protocol coap', '--protocol'],
    ['--url localhost:5000', '--url'],
    ['--url mqtt://localhost', '--url'],
    ['--mqtt-url http://localhost', '--mqtt-url'],
    ['--speed 9', '--speed'],
    ['hello', 'hello'],
  ])('are refused in one sentence that names the fault: %s', (text, named) => {
    const attempt = () => parseArguments(text.split(' '))
    expect(attempt).toThrow(UsageError)
    expect(attempt).toThrow(named)
    expect(attempt).toThrow(/^[^\n]+\.$/)
  })
})
