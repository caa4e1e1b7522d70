/** Writes the files of a Mosquitto for this server: its configuration, and the server's own account. */
import { pbkdf2Sync, randomBytes } from 'node:crypto'
import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { join, resolve } from 'node:path'
import { root } from '../../../lib/root.ts'

export interface MosquittoFiles {
  /** Folder for these files, and for the database of Mosquitto. */
  readonly folder: string
  /** Path of `mosquitto_dynamic_security.so`. */
  readonly plugin: string
  /** User name of the server's own account. */
  readonly username: string
  readonly password: string
  /** Address that devices connect to; the server's own listener is on loopback. */
  readonly address: string
  readonly port: number
  readonly websocketPort: number
  readonly internalPort: number
  /**
   * For a Mosquitto in a container: the folder inside it, where certificates are `cert.pem` and `key.pem`, and the user that it
   * runs as. The internal listener is open to the container's network.
   */
  readonly container?: { readonly folder: string; readonly user: string } | undefined
  /** PEM files and the port for MQTT over TLS. */
  readonly tls?: { readonly port: number; readonly cert: string; readonly key: string } | undefined
  /**
   * `fast` saves queued messages every 30 min: a crash of Mosquitto loses those it had not delivered. `safe` saves after
   * every change.
   */
  readonly saving: 'fast' | 'safe'
}

const autosave = {
  fast: 'autosave_interval 1800',
  safe: 'autosave_on_changes true\nautosave_interval 1',
} as const
const lossAfterCrash = {
  fast: 'messages that were not delivered since the last save, every 30 min.',
  safe: 'messages that arrived while the last save was written: milliseconds.',
} as const

/** A password as the plugin stores it: PBKDF2 with SHA-512. */
const hashed = (password: string) => {
  const salt = randomBytes(12)
  const iterations = 100_000
  return {
    password: pbkdf2Sync(password, salt, iterations, 64, 'sha512').toString('base64'),
    salt: salt.toString('base64'),
    iterations,
  }
}

const everything = ['publishClientSend', 'publishClientReceive', 'subscribePattern', 'unsubscribePattern']

/** The first account: the server's, which has all rights and creates the accounts of devices. */
const firstAccounts = (username: string, password: string) => ({
  defaultACLAccess: {
    publishClientSend: false,
    publishClientReceive: false,
    subscribe: false,
    unsubscribe: true,
  },
  clients: [{ username, ...hashed(password), roles: [{ rolename: 'iotflow-server' }] }],
  groups: [],
  roles: [
    {
      rolename: 'iotflow-server',
      acls: ['#', '$CONTROL/dynamic-security/#'].flatMap((topic) =>
        everything.map((acltype) => ({ acltype, topic, priority: 0, allow: true })),
      ),
    },
  ],
})

/**
 * Writes `mosquitto.conf`, and `dynamic-security.json` unless it exists: the plugin stores the devices' accounts there.
 * @returns the path of `mosquitto.conf`.
 */
export async function writeMosquittoFiles(files: MosquittoFiles): Promise<string> {
  const { folder, plugin, address, port, websocketPort, internalPort, container, tls, saving } = files
  const path = resolve(folder)
  await mkdir(path, { recursive: true, mode: 0o700 })
  if (tls && container) {
    await copyFile(tls.cert, join(path, 'cert.pem'))
    await copyFile(tls.key, join(path, 'key.pem'))
  }
  const [cert, key] = container
    ? [`${container.folder}/cert.pem`, `${container.folder}/key.pem`]
    : [resolve(tls?.cert ?? ''), resolve(tls?.key ?? '')]
  const values: Record<string, string> = {
    folder: container?.folder ?? path,
    user: container?.user ?? userInfo().username,
    internalAddress: container ? '0.0.0.0' : '127.0.0.1',
    plugin,
    address,
    port: String(port),
    websocketPort: String(websocketPort),
    internalPort: String(internalPort),
    tls: tls
      ? `listener ${tls.port} ${address}\nuse_username_as_clientid true\ncertfile ${cert}\nkeyfile ${key}\n`
      : '',
    crash: lossAfterCrash[saving],
    autosave: autosave[saving],
  }
  const template = await readFile(new URL('local/mqtt/mosquitto/mosquitto.conf', root), 'utf8')
  const text = template.replace(/\{(\w+)\}/g, (all, name: string) => values[name] ?? all)
  const configuration = join(path, 'mosquitto.conf')
  await writeFile(configuration, text, { mode: 0o600 })
  const accounts = JSON.stringify(firstAccounts(files.username, files.password), null, 2)
  await writeFile(join(path, 'dynamic-security.json'), accounts, { mode: 0o600, flag: 'wx' }).catch(
    (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error
    },
  )
  return configuration
}
