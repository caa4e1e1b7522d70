/**
 * The Receive Maximum of an MQTT 5 client: as many messages with QoS 1 or 2 as it says are on their way to it, and others wait
 * for its acknowledgements. aedes does not hold back any.
 */
import type { AedesPublishPacket, Client } from 'aedes'
import { interceptDeliveries, type ParsedPacket } from './aedes-internals.ts'

/** Messages that wait for one client without a session; further ones are dropped. Those of a session are in its queue. */
const maxWaiting = 1000
/** From this reason code on, an acknowledgement is a refusal. */
const firstErrorCode = 0x80

type Stored = AedesPublishPacket & { readonly cmd: string; readonly messageExpiry?: number }

const isAcknowledgement = ({ cmd, reasonCode = 0 }: ParsedPacket): boolean =>
  cmd === 'puback' || cmd === 'pubcomp' || (cmd === 'pubrec' && reasonCode >= firstErrorCode)

export class DeliveryWindow {
  private readonly receiveMaximum: number
  private readonly mayReceive: (packet: AedesPublishPacket) => boolean
  private free: number
  private readonly waiting: (() => void)[] = []
  /** Messages of the session that have a place and are not sent yet, by aedes' number. */
  private readonly reserved = new Set<number>()
  private isAcknowledged = true

  /** @param mayReceive whether this message may be sent to the client at all. */
  constructor(client: Client, mayReceive: (packet: AedesPublishPacket) => boolean) {
    this.receiveMaximum = client.receiveMaximum
    this.mayReceive = mayReceive
    this.free = client.receiveMaximum
    interceptDeliveries(client, {
      unacknowledged: (deliver, done) => {
        this.isAcknowledged = false
        deliver(done)
        this.isAcknowledged = true
      },
      acknowledged: (deliver, done) => {
        if (this.free > 0) {
          deliver(done)
          return
        }
        // aedes waits for nobody: the sender of the message is not held back.
        if (this.waiting.length < maxWaiting) this.waiting.push(() => deliver(() => {}))
        done()
      },
    })
  }

  /** Called for each message that aedes is about to send. */
  count({ brokerCounter, qos }: AedesPublishPacket): void {
    if (qos > 0 && this.isAcknowledged && !this.reserved.delete(brokerCounter)) this.free -= 1
  }

  /** Called for each packet of the client. */
  onPacket(packet: ParsedPacket): void {
    if (!isAcknowledgement(packet)) return
    // A session that is resumed may end handshakes of the connection before.
    this.free = Math.min(this.free + 1, this.receiveMaximum)
    if (this.free > 0) this.waiting.shift()?.()
  }

  /** The messages of the client's session, each when there is a place for it. */
  async *paced(packets: AsyncIterable<Stored>): AsyncGenerator<Stored> {
    for await (const packet of packets) {
      const isExpired = packet.messageExpiry !== undefined && packet.messageExpiry <= Date.now()
      // aedes drops the others.
      if (packet.cmd === 'publish' && !isExpired && this.mayReceive(packet)) await this.reserve(packet)
      yield packet
    }
  }

  private async reserve({ brokerCounter }: Stored): Promise<void> {
    if (this.free <= 0) await new Promise<void>((resolve) => this.waiting.push(resolve))
    this.free -= 1
    this.reserved.add(brokerCounter)
  }
}
