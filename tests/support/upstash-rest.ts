/** The REST API of Upstash in front of a Redis server, for single commands. */
import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'

type Reply = string | number | null | Error | Reply[]

/** Reads one RESP2 reply at an offset; undefined while it is incomplete. */
const parse = (bytes: Buffer, at: number): { reply: Reply; end: number } | undefined => {
  const lineEnd = bytes.indexOf('\r\n', at)
  if (lineEnd === -1) return undefined
  const line = bytes.toString('utf8', at + 1, lineEnd)
  let end = lineEnd + 2
  switch (String.fromCharCode(bytes[at] ?? 0)) {
    case '+':
      return { reply: line, end }
    case '-':
      return { reply: new Error(line), end }
    case ':':
      return { reply: Number(line), end }
    case '$': {
      if (line === '-1') return { reply: null, end }
      const start = end
      end += Number(line) + 2
      return bytes.length < end ? undefined : { reply: bytes.toString('utf8', start, end - 2), end }
    }
    case '*': {
      if (line === '-1') return { reply: null, end }
      const reply: Reply[] = []
      while (reply.length < Number(line)) {
        const item = parse(bytes, end)
        if (item === undefined) return undefined
        reply.push(item.reply)
        end = item.end
      }
      return { reply, end }
    }
    default:
      throw new Error(`not RESP2: ${line}`)
  }
}

/** One connection, opened on first use and again after an error. Answers come in the order of the commands. */
const redisAt = (path: string) => {
  let socket: Socket | undefined
  const waiting: { resolve(reply: Reply): void; reject(error: Error): void }[] = []
  const open = (): Socket => {
    const opened = connect(path)
    let bytes = Buffer.alloc(0)
    opened.on('data', (more) => {
      bytes = Buffer.concat([bytes, more])
      for (let one = parse(bytes, 0); one !== undefined; one = parse(bytes, 0)) {
        bytes = bytes.subarray(one.end)
        waiting.shift()?.resolve(one.reply)
      }
    })
    opened.on('error', () => {})
    opened.on('close', () => {
      socket = undefined
      for (const { reject } of waiting.splice(0)) reject(new Error('ERR Redis is unavailable'))
    })
    return opened
  }
  return {
    send: (command: readonly (string | number)[]) =>
      new Promise<Reply>((resolve, reject) => {
        socket ??= open()
        waiting.push({ resolve, reject })
        const parts = command.map((part) => `$${Buffer.byteLength(String(part))}\r\n${part}\r\n`)
        socket.write(`*${command.length}\r\n${parts.join('')}`)
      }),
    close: () => socket?.destroy(),
  }
}

const keyLockingLine = '#!lua flags=allow-key-locking\n'

/** Runs scripts with the flag of Upstash, which an ordinary Redis refuses. */
const acceptKeyLocking = () => {
  const known = new Map<string, string>()
  return ([name, script = '', ...rest]: string[]): string[] | undefined => {
    if (name === 'eval' && script.startsWith(keyLockingLine)) {
      const bare = script.slice(keyLockingLine.length)
      known.set(createHash('sha1').update(script).digest('hex'), bare)
      return ['eval', bare, ...rest]
    }
    const bare = name === 'evalsha' ? known.get(script) : undefined
    return bare === undefined ? undefined : ['eval', bare, ...rest]
  }
}

const encoded = (reply: Reply): unknown => {
  if (typeof reply === 'string') return reply === 'OK' ? reply : Buffer.from(reply).toString('base64')
  return Array.isArray(reply) ? reply.map(encoded) : reply
}

const bodyOf = async (request: IncomingMessage) => {
  let text = ''
  for await (const part of request) text += part
  return text
}

export interface UpstashRest {
  readonly url: string
  readonly token: string
  /** All commands, refused ones included, oldest first. */
  readonly commands: readonly string[][]
  end(): Promise<void>
}

/** @param keyLocking true: accept scripts with the flag of Upstash; false: refuse them, as an ordinary Redis does. */
export async function startUpstashRest({
  socket,
  keyLocking,
}: {
  socket: string
  keyLocking: boolean
}): Promise<UpstashRest> {
  const token = 'the-token-of-the-test'
  const redis = redisAt(socket)
  const commands: string[][] = []
  const translated = keyLocking ? acceptKeyLocking() : () => undefined

  const answer = async (request: IncomingMessage): Promise<[status: number, body: object]> => {
    const command = JSON.parse(await bodyOf(request)) as string[]
    commands.push(command)
    if (request.headers.authorization !== `Bearer ${token}`) {
      return [401, { error: 'WRONGPASS invalid or missing auth token' }]
    }
    const reply = await redis.send(translated(command) ?? command)
    if (reply instanceof Error) return [400, { error: reply.message }]
    return [200, { result: request.headers['upstash-encoding'] === 'base64' ? encoded(reply) : reply }]
  }

  const server = createServer(async (request, response) => {
    const [status, body] = await answer(request).catch((error: Error) => [500, { error: error.message }])
    response.writeHead(Number(status), { 'Content-Type': 'application/json' }).end(JSON.stringify(body))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    token,
    commands,
    async end() {
      redis.close()
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
