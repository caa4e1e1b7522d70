import { expect, it } from 'vitest'
import { loadConfig, settingNames } from '../../../lib/config.ts'
import { describeSettings, withoutSecrets } from '../../../lib/dashboard/settings.ts'

const secret = 'a-secret-that-nobody-may-see-0123456789'
const find = (env: Record<string, string>, name: string) =>
  describeSettings(loadConfig(env)).find((one) => one.name === name)

it('lists every setting once, each with what it means', () => {
  const found = describeSettings(loadConfig({}))
  expect(found.map(({ name }) => name).sort()).toEqual([...settingNames].sort())
  for (const { name, meaning, source } of found) {
    expect(meaning, name).toMatch(/^[A-Za-z/]/)
    expect(source, name).toBe('default')
  }
})

it('shows no value of any secret, wherever it stands', () => {
  const text = JSON.stringify(
    describeSettings(
      loadConfig({
        ADMIN_TOKEN: secret,
        METRICS_TOKEN: secret,
        ENROLLMENT_KEY: secret,
        DATABASE_URL: `libsql://user:${secret}@db.example.com/?authToken=${secret}&tls=0`,
        DATABASE_AUTH_TOKEN: secret,
        INFLUXDB_URL: `http://me:${secret}@influx.example.com:8086`,
        INFLUXDB_TOKEN: secret,
        REDIS_URL: `redis://:${secret}@redis.example.com:6379/1`,
        MQTT_URL: `mqtt://iotflow:${secret}@broker.example.com`,
        MQTT_USERNAME: 'iotflow',
        MQTT_PASSWORD: secret,
      }),
    ),
  )
  expect(text).not.toContain(secret)
  for (const host of ['db', 'influx', 'redis', 'broker']) expect(text).toContain(`${host}.example.com`)
})

it('tells where each value comes from', () => {
  expect(find({}, 'PORT')).toMatchObject({ value: 5000, source: 'default', secret: false })
  expect(find({ PORT: '80' }, 'PORT')).toMatchObject({ value: 80, source: 'environment' })
  expect(find({ MQTT_PORT: 'none' }, 'MQTT_PORT')).toMatchObject({ value: 'none' })
  expect(find({ ADMIN_TOKEN: secret }, 'ADMIN_TOKEN')).toMatchObject({
    value: null,
    source: 'environment',
    secret: true,
  })
  const generated = describeSettings({ ...loadConfig({}), adminToken: secret })
  expect(generated.find(({ name }) => name === 'ADMIN_TOKEN')).toMatchObject({
    value: null,
    source: 'generated',
  })
  expect(find({}, 'OPEN_REGISTRATION')).toMatchObject({ value: 'for this computer' })
  expect(find({ HOST: '0.0.0.0' }, 'OPEN_REGISTRATION')).toMatchObject({ value: false, source: 'default' })
})

it.each([
  ['redis://:p%40ss@host:6379/1', 'redis://***@host:6379/1'],
  ['redis://user:pass@word@host', 'redis://***@host'],
  ['redis://user:12#34@host', 'redis://***@host'],
  ['https://host/a?X-Amz-Signature=abc', 'https://host/a?X-Amz-Signature=***'],
  ['mqtts://token@host', 'mqtts://***@host'],
  ['https://host/path?a=1', 'https://host/path?a=1'],
  ['libsql://host?authToken=abc&tls=0#x', 'libsql://host?authToken=***'],
  ['file:/data/registry.db', 'file:/data/registry.db'],
  ['no address', undefined],
  [undefined, undefined],
])('masks the secrets of %s', (address, shown) => {
  expect(withoutSecrets(address)).toBe(shown)
})
