/** Keeps the newest messages of devices while an operator watches; nothing is kept at other times. */
import { topicMatcher } from './topics.ts'

export interface TappedMessage {
  readonly topic: string
  /** In base64. */
  readonly payload: string
  readonly clientId: string | undefined
  /** Milliseconds since the epoch. */
  readonly receivedAt: number
}

export interface NumberedMessage extends TappedMessage {
  /** Grows by one with each message. */
  readonly number: number
}

/** How long after a question messages are kept, ms. */
const watchedMs = 30_000
const maxMessages = 2000
/** Characters of the payloads that are kept. */
const maxCharacters = 4_000_000

export class MessageTap {
  readonly #now: () => number
  readonly #messages: NumberedMessage[] = []
  #characters = 0
  #last = 0
  #watchedUntil = Number.NEGATIVE_INFINITY

  /** @param now milliseconds since the epoch. */
  constructor(now: () => number = Date.now) {
    this.#now = now
  }

  /** Whether messages are kept now. */
  get isWatched(): boolean {
    if (this.#now() <= this.#watchedUntil) return true
    if (this.#messages.length > 0) this.#clear()
    return false
  }

  record(message: TappedMessage): void {
    if (!this.isWatched) return
    this.#last += 1
    this.#messages.push({ ...message, number: this.#last })
    this.#characters += message.payload.length
    while (this.#messages.length > maxMessages || this.#characters > maxCharacters)
      this.#characters -= this.#messages.shift()?.payload.length ?? 0
  }

  /**
   * The messages behind a number, oldest first, and the number of the newest one. Messages are kept from the first call on.
   * @param filter only topics that it matches.
   */
  after(number: number, filter: string): { messages: NumberedMessage[]; last: number; lost: number } {
    this.#watchedUntil = this.#now() + watchedMs
    const matches = topicMatcher(filter)
    const first = this.#messages[0]?.number ?? this.#last + 1
    return {
      messages: this.#messages.filter((message) => message.number > number && matches(message.topic)),
      last: this.#last,
      lost: Math.max(0, Math.min(first - 1, this.#last) - number),
    }
  }

  #clear(): void {
    this.#messages.length = 0
    this.#characters = 0
  }
}
