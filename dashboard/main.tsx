/** The entry of the dashboard: styles, session, and the app in the page. */
import { render } from 'preact'
import './style/main.css'
import { App } from './app.tsx'
import { session } from './session.ts'

const place = document.getElementById('app')
if (place) {
  session.start()
  render(<App />, place)
}
