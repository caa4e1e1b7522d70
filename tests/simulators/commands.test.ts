import { describe, expect, it } from 'vitest'
import { commonCommands, configure, execute } from '../../simulators/commands.ts'
import type { DeviceType } from '../../simulators/signals/device-type.ts'
import { deviceTypes, findType } from '../../simulators/signals/device-types.ts'

const place = { seed: 1, site: { kind: 'home', seed: 1 } } as const
const at = Date.parse('2026-06-01T12:00:00Z')
const type = (name: string) => findType(name) as DeviceType

/** The values of a device after a command. */
const valuesAfter = (name: string, command: string, params?: unknown) => {
  const execution = execute(type(name), type(name).start(place, at), command, params)
  if (!execution.succeeded) throw new Error(execution.result.error)
  return type(name).measure(place, at + 1000, execution.effects.state).values
}

describe('commands', () => {
  it('change what the device measures', () => {
    expect(valuesAfter('door_lock', 'unlock')).toMatchObject({ locked: false, last_method: 'remote' })
    expect(valuesAfter('door_lock', 'lock')).toMatchObject({ locked: true, door_open: false })
    expect(valuesAfter('camera', 'start_recording')).toMatchObject({ recording: true })
    expect(valuesAfter('thermostat', 'set_target', { temperature: 25.5 })).toMatchObject({
      target_temperature: 25.5,
    })
    expect(valuesAfter('thermostat', 'set_mode', { mode: 'off' })).toMatchObject({
      mode: 'off',
      heating: false,
    })
    expect(valuesAfter('industrial', 'stop')).toMatchObject({ state: 'stopped', load: 0, rpm: 0 })
  })

  it('of every device are known to every type', () => {
    for (const one of deviceTypes) {
      for (const command of commonCommands) {
        expect(execute(one, one.start(place, at), command, { seconds: 5 })).toMatchObject({ succeeded: true })
      }
    }
  })

  it.each([
    ['camera', 'explode', undefined, 'knows no command explode'],
    ['camera', 'toString', undefined, 'knows no command toString'],
    ['camera', 'lock', undefined, 'a camera knows no command lock'],
    ['thermostat', 'set_target', { temperature: 99 }, 'from 5 to 30'],
    ['thermostat', 'set_target', 'warm', 'from 5 to 30'],
    ['thermostat', 'set_mode', { mode: 'party' }, 'auto or off'],
    ['camera', 'set_interval', { seconds: 0 }, 'seconds must be'],
  ])('that cannot be done fail with a reason: %s %s', (name, command, params, reason) => {
    const execution = execute(type(name), type(name).start(place, at), command, params)
    expect(execution.succeeded).toBe(false)
    expect(execution).toHaveProperty('result.error', expect.stringContaining(reason))
  })
})

describe('a configuration', () => {
  const state = type('thermostat').start(place, at)

  it('sets intervals and the target', () => {
    const effects = configure(type('thermostat'), state, {
      sampling_interval: 5,
      heartbeat_interval: 90,
      target_temperature: 19,
    })
    expect(effects).toMatchObject({ intervalS: 5, heartbeatS: 90, state: { wanted: 19 } })
  })

  it('changes nothing by keys that a device does not know, or by values that cannot be', () => {
    const values = {
      colour: 'red',
      sampling_interval: 'often',
      heartbeat_interval: -1,
      target_temperature: 999,
    }
    expect(configure(type('thermostat'), state, values)).toEqual({ state })
    expect(configure(type('camera'), state, { target_temperature: 20 })).toEqual({ state })
  })
})
