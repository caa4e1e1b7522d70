/** The part of the composition root that speaks with the broker: topics, client ids, addresses, the data plane, accounts. */
import {
  brokerAddress as addressFor,
  type BrokerAddress,
  type BrokerKind,
  brokerKind as kindOf,
} from './broker/address.ts'
import { brokerCheckOf } from './broker/check.ts'
import { createDataPlaneClient } from './broker/data-plane-client.ts'
import { disconnecterOf } from './broker/disconnect.ts'
import { controlTopic } from './broker/dynamic-security.ts'
import { type IotDomain, iotDomainReader } from './broker/iot-domain.ts'
import type { Messenger } from './broker/messenger.ts'
import { type Accounts, createAccounts } from './broker/mosquitto-accounts.ts'
import { publisherOf } from './broker/publish.ts'
import { digestKey } from './devices/credentials.ts'
import { ClientIds } from './mqtt/client-ids.ts'
import { TopicTree } from './mqtt/topics.ts'
import { closers, config, log, once, overrides } from './runtime-base.ts'
import { registry } from './runtime-registry.ts'

export function topics(): TopicTree {
  return once('topics', () => new TopicTree(config().topicRoot))
}

export function clientIds(): ClientIds {
  return once('clientIds', () => {
    const { stage, topicRoot, iotDomain } = config()
    const isOnAws = brokerKind() === 'aws-iot' || iotDomain !== undefined
    return new ClientIds(topicRoot, isOnAws ? stage : undefined)
  })
}

export function brokerKind(): BrokerKind {
  return kindOf(config())
}

function iotDomain(): () => Promise<IotDomain | undefined> {
  return once('iotDomain', () => {
    const { iotDomain: settings } = config()
    return settings === undefined ? async () => undefined : iotDomainReader(settings)
  })
}

/**
 * @param hostname under which the caller reached this server: a broker on the same computer has the same name.
 * @throws {AppError} UNAVAILABLE when AWS does not tell the address.
 */
export async function brokerAddress(hostname: string): Promise<BrokerAddress> {
  const settings = config()
  // The embedded broker may have picked its ports itself.
  const ports = brokerKind() === 'mosquitto' ? settings.ports : (overrides.mqttPorts?.() ?? settings.ports)
  return addressFor({ ...settings, ports }, hostname, await iotDomain()())
}

/** Undefined when there is no broker. */
function dataPlane() {
  return once('dataPlane', () => {
    const { iot } = config()
    if (iot === undefined) return undefined
    const value = createDataPlaneClient(iot)
    closers.push(() => value.destroy())
    return value
  })
}

/** Undefined when there is no broker. */
export function publisher(): Pick<Messenger, 'publish'> | undefined {
  return once('publisher', () => {
    const client = dataPlane()
    return client && publisherOf(client)
  })
}

/** Undefined when there is no broker. */
export function disconnecter(): Pick<Messenger, 'disconnect'> | undefined {
  const client = dataPlane()
  return client && disconnecterOf(client)
}

/** Undefined when there is no broker. */
export function brokerCheck(): Pick<Messenger, 'check'> | undefined {
  const client = dataPlane()
  return client && brokerCheckOf(client)
}

/** Undefined unless the broker is Mosquitto. */
async function mosquittoAccounts(): Promise<Accounts | undefined> {
  const broker = publisher()
  if (typeof config().mqtt !== 'object' || broker === undefined) return undefined
  return createAccounts({
    db: (await registry()).db,
    topics: topics(),
    digestKey,
    sendCommands: async (commands) => {
      await broker.publish({ topic: controlTopic, payload: JSON.stringify({ commands }), retain: false })
    },
    log: log(),
  })
}

/** True in the bundles of `dist/cloud`: there is no Mosquitto, and its accounts would bring the IoT client into every bundle. */
declare const isCloudBundle: boolean | undefined

/** Undefined unless the broker is Mosquitto: the other brokers ask the authorizer. */
export function accounts(): Promise<Accounts | undefined> {
  return once('accounts', async () =>
    typeof isCloudBundle === 'undefined' ? mosquittoAccounts() : undefined,
  )
}
