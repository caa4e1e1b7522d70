/** A secret that is shown once. */
import { CopyButton } from '../../ui/button.tsx'
import { Icon } from '../../ui/icon.tsx'

export const NewSecret = ({ secret }: { secret: string }) => (
  <div class="stack">
    <div class="notice warn">
      <Icon name="key" />
      <div>
        <p>This secret is shown once. The receiver needs it to check the signature of each message.</p>
      </div>
    </div>
    <div class="key-box">
      <code data-testid="webhook-secret">{secret}</code>
      <CopyButton text={secret} what="the secret">
        Copy
      </CopyButton>
    </div>
  </div>
)
