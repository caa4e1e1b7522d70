/**
 * The admin token: kept for this tab only, in its sessionStorage, and sent in a header only. A link with a single-use code in its
 * fragment, which browsers do not send to servers, signs in too.
 */
import { signal } from '@preact/signals'

const storageName = 'iotflow.admin-token'
const codePattern = /^#code=([\w-]+)$/

/** Why the sign-in is shown. */
export type Ended = 'signed-out' | 'expired' | 'code-refused'

class Session {
  /** Undefined while nobody is signed in. */
  readonly token = signal<string | undefined>(undefined)
  readonly ended = signal<Ended | undefined>(undefined)
  /** True while a code from the address is exchanged. */
  readonly exchanging = signal(false)

  /** Takes up the session of this tab, or the code in the address. */
  start(): void {
    this.token.value = sessionStorage.getItem(storageName) ?? undefined
    this.#takeCode()
    addEventListener('hashchange', () => this.#takeCode())
  }

  begin(token: string): void {
    sessionStorage.setItem(storageName, token)
    this.ended.value = undefined
    this.token.value = token
  }

  end(reason: Ended): void {
    sessionStorage.removeItem(storageName)
    this.ended.value = reason
    this.token.value = undefined
  }

  #takeCode(): void {
    const [, code] = codePattern.exec(location.hash) ?? []
    if (code === undefined) return
    // At once: the code must not stay in the address bar or in the history.
    history.replaceState(null, '', '#/')
    void this.#exchange(code)
  }

  async #exchange(code: string): Promise<void> {
    this.exchanging.value = true
    const token = await fetch('api/v1/admin/session', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ code }),
      credentials: 'omit',
    })
      .then(async (response) =>
        response.ok ? ((await response.json()) as { token?: string }).token : undefined,
      )
      .catch(() => undefined)
    this.exchanging.value = false
    if (token !== undefined) this.begin(token)
    else if (this.token.value === undefined) this.end('code-refused')
  }
}

export const session = new Session()
