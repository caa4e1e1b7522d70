/** The frame of the dashboard: navigation, the page of the address, messages and questions. */
import { useEffect } from 'preact/hooks'
import { type LiveState, live } from './live.ts'
import { openCount } from './pages/alerts/words.ts'
import { type Page, pages } from './pages.ts'
import { href, match, place } from './router.ts'
import { session } from './session.ts'
import { SignIn } from './sign-in.tsx'
import { ButtonLink } from './ui/button.tsx'
import { Questions } from './ui/dialog.tsx'
import { Icon } from './ui/icon.tsx'
import { PageHead } from './ui/layout.tsx'
import { EmptyState } from './ui/states.tsx'
import { Toasts } from './ui/toast.tsx'

const Logo = () => (
  <a class="logo" href={href('/')}>
    <svg viewBox="0 0 32 32" aria-hidden="true" focusable="false">
      <path d="M4 21c3.8 0 4-11 7.8-11s4 11 7.8 11c2.6 0 3.5-5.2 5.7-7" />
      <circle cx="26.5" cy="9.5" r="2.6" />
    </svg>
    IoTFlow
  </a>
)

const sentenceOf: Readonly<Record<LiveState, string>> = {
  connecting: 'Connecting',
  live: 'Live',
  polling: 'Every 5 s',
  offline: 'No connection',
}

const LiveLight = () => (
  <span
    class={`updates ${live.state.value}`}
    role="status"
    aria-label={`Updates: ${sentenceOf[live.state.value]}`}
  >
    <span class="dot" aria-hidden="true" />
    {sentenceOf[live.state.value]}
  </span>
)

/** A page below another one, as a device below the devices, belongs to the same entry. */
const belongsTo = (path: string, entry: string) =>
  path === entry || (entry !== '/' && path.startsWith(`${entry}/`))

/** How much waits for an operator on a page. */
const waitingOn: Readonly<Record<string, () => number>> = {
  '/alerts': () => openCount(live.overview.value),
  '/dead-letters': () => live.overview.value?.dead_letters.count ?? 0,
}

const Waiting = ({ path }: { path: string }) => {
  const waiting = waitingOn[path]?.() ?? 0
  return waiting > 0 ? <span class="count">{waiting.toLocaleString()}</span> : null
}

const Navigation = () => (
  <nav class="nav" aria-label="Main">
    <ul>
      {pages.map(
        ({ path, nav }) =>
          nav && (
            <li key={path}>
              <a href={href(path)} aria-current={belongsTo(place.value.path, path) ? 'page' : undefined}>
                <Icon name={nav.icon} />
                <span>{nav.text}</span>
                <Waiting path={path} />
              </a>
            </li>
          ),
      )}
    </ul>
  </nav>
)

const NothingHere = () => (
  <>
    <PageHead title="Nothing here" />
    <EmptyState
      icon="search"
      title="This page does not exist"
      actions={<ButtonLink href={href('/')}>To the overview</ButtonLink>}
    >
      The address may be misspelt.
    </EmptyState>
  </>
)

const CurrentPage = () => {
  const { path, query } = place.value
  for (const { path: pattern, component: Component } of pages as readonly Page[]) {
    const params = match(pattern, path)
    // The key makes a new page of each address: nothing of one device stays on the page of the next.
    if (params !== undefined) return <Component key={path} params={params} query={query} />
  }
  return <NothingHere key={path} />
}

const Shell = () => (
  <div class="shell">
    {/* No link: its fragment would be taken for the address of a page. */}
    <button type="button" class="skip" onClick={() => document.getElementById('main')?.focus()}>
      To the content
    </button>
    <header class="bar-top">
      <Logo />
      <LiveLight />
      <div class="bar-links">
        <a href="docs" target="_blank" rel="noreferrer">
          <Icon name="docs" />
          <span>API</span>
        </a>
        <button type="button" onClick={() => session.end('signed-out')}>
          <Icon name="signOut" />
          <span>Sign out</span>
        </button>
      </div>
    </header>
    <Navigation />
    <main id="main" tabIndex={-1}>
      <CurrentPage />
    </main>
  </div>
)

export const App = () => {
  useEffect(() => live.start(), [])
  return (
    <>
      {session.token.value === undefined ? <SignIn /> : <Shell />}
      <Questions />
      <Toasts />
    </>
  )
}
