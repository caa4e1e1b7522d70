/** Short messages about what has just happened; screen readers say them without leaving what they read. */
import { signal } from '@preact/signals'
import { Icon } from './icon.tsx'

type Tone = 'good' | 'bad'

interface Message {
  readonly id: number
  readonly text: string
  readonly tone: Tone
}

const messages = signal<readonly Message[]>([])
const shownMs = { good: 4000, bad: 8000 } as const
const maxShown = 4
let made = 0

const dismiss = (id: number) => {
  messages.value = messages.value.filter((message) => message.id !== id)
}

/** Shows a message for some seconds. */
export function toast(text: string, tone: Tone = 'good'): void {
  made += 1
  const id = made
  messages.value = [...messages.value, { id, text, tone }].slice(-maxShown)
  setTimeout(() => dismiss(id), shownMs[tone])
}

/** The place of the messages; once in the page. */
export const Toasts = () => (
  <div class="toasts" role="status" aria-live="polite">
    {messages.value.map(({ id, text, tone }) => (
      <div key={id} class={`toast ${tone}`}>
        <Icon name={tone === 'good' ? 'check' : 'alert'} />
        <span>{text}</span>
        <button
          type="button"
          class="button quiet small bare"
          aria-label="Dismiss"
          onClick={() => dismiss(id)}
        >
          <Icon name="cross" />
        </button>
      </div>
    ))}
  </div>
)
