/** The sign-in with the admin token. */
import { useState } from 'preact/hooks'
import type { ApiError } from './api.ts'
import { errorOf } from './api.ts'
import { type Ended, session } from './session.ts'
import { Button } from './ui/button.tsx'
import { Field } from './ui/field.tsx'

const reasons: Readonly<Record<Ended, string>> = {
  'signed-out': 'You are signed out.',
  expired: 'The token is no longer valid. Sign in again.',
  'code-refused':
    'This link has been used, or is older than five minutes. Sign in with the token, or get a new link.',
}

/** @returns undefined when the token is right. */
const check = async (token: string): Promise<Pick<ApiError, 'status' | 'message'> | undefined> => {
  try {
    const response = await fetch('api/v1/admin/dashboard', {
      headers: { Authorization: `Bearer ${token}` },
      credentials: 'omit',
    })
    return response.ok ? undefined : await errorOf(response)
  } catch {
    return { status: 0, message: 'The server does not answer.' }
  }
}

export const SignIn = () => {
  const [token, setToken] = useState('')
  const [error, setError] = useState<string>()
  const [busy, setBusy] = useState(false)
  const signIn = async (event: Event) => {
    event.preventDefault()
    const given = token.trim()
    if (given === '' || busy) return
    // A header takes printable ASCII only; fetch would throw for anything else.
    if (!/^[\x21-\x7e]+$/.test(given)) {
      setError('This is not an admin token.')
      return
    }
    setBusy(true)
    const fault = await check(given)
    setBusy(false)
    if (fault === undefined) session.begin(given)
    else setError(fault.status === 401 ? 'This token is not right.' : fault.message)
  }
  const reason = session.ended.value
  return (
    <main class="sign-in">
      <form class="card" onSubmit={signIn}>
        <h1>
          <svg viewBox="0 0 32 32" aria-hidden="true" focusable="false">
            <path d="M4 21c3.8 0 4-11 7.8-11s4 11 7.8 11c2.6 0 3.5-5.2 5.7-7" />
            <circle cx="26.5" cy="9.5" r="2.6" />
          </svg>
          IoTFlow
        </h1>
        <p class="muted" role="status">
          {session.exchanging.value
            ? 'Signing in…'
            : reason
              ? reasons[reason]
              : 'Sign in with the admin token.'}
        </p>
        <Field
          label="Admin token"
          type="password"
          value={token}
          onInput={(value) => {
            setToken(value)
            setError(undefined)
          }}
          error={error}
          required
          autofocus
          autocomplete="off"
          hint={
            <>
              It is the setting <code>ADMIN_TOKEN</code>. <code>npm start</code> makes one when there is none,
              and prints where it is: <code>.iotflow/admin-token</code>. On the computer of the server,{' '}
              <code>npx iotflow dashboard</code> prints a link that signs in by itself.
            </>
          }
        />
        <Button type="submit" kind="primary" busy={busy}>
          Sign in
        </Button>
        <p class="small muted">The token stays in this tab until you close it or sign out.</p>
      </form>
    </main>
  )
}
