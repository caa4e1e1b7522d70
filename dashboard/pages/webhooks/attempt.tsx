/** One attempt to tell an address something, with what it answered. */
import { Badge } from '../../ui/status.tsx'
import type { Attempt } from './answers.ts'
import { attemptText } from './words.ts'

export const AttemptResult = ({ attempt }: { attempt: Attempt }) => (
  <div class="stack">
    <p class="badges">
      <Badge tone={attempt.error === null ? 'good' : 'bad'}>
        {attempt.error === null ? 'delivered' : 'failed'}
      </Badge>
      <span>{attemptText(attempt)}</span>
    </p>
    {attempt.error !== null && <p class="error-text">{attempt.error}</p>}
    {attempt.answer !== null && attempt.answer !== '' && (
      // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable with the keyboard.
      <pre class="code answer" tabIndex={0}>
        {attempt.answer}
      </pre>
    )}
  </div>
)
