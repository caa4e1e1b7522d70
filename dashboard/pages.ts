/**
 * The pages of the dashboard. A new page is a component in pages/ and a line here; one that has much code of its own is loaded
 * when it is opened: `component: later(() => import('./pages/device.tsx').then((m) => m.DevicePage))`.
 */
import type { ComponentType } from 'preact'
import { later } from './later.tsx'
import { ConnectPage } from './pages/connect.tsx'
import { DeadLettersPage } from './pages/dead-letters.tsx'
import { DevicesPage } from './pages/devices/page.tsx'
import { HealthPage } from './pages/health.tsx'
import { OverviewPage } from './pages/overview.tsx'
import { SettingsPage } from './pages/settings.tsx'
import type { IconName } from './ui/icon.tsx'

export interface PageProps {
  /** Of the path: `{ id: '7' }` for `/devices/:id`. */
  readonly params: Readonly<Record<string, string>>
  readonly query: URLSearchParams
}

export interface Page {
  /** `/devices/:id` */
  readonly path: string
  readonly component: ComponentType<PageProps>
  /** How the navigation shows it; a page without it is reached from another one. */
  readonly nav?: { readonly text: string; readonly icon: IconName }
}

export const pages: readonly Page[] = [
  { path: '/', component: OverviewPage, nav: { text: 'Overview', icon: 'overview' } },
  { path: '/devices', component: DevicesPage, nav: { text: 'Devices', icon: 'devices' } },
  {
    path: '/devices/:id',
    component: later(() => import('./pages/device/page.tsx').then((module) => module.DevicePage)),
  },
  {
    path: '/alerts',
    component: later(() => import('./pages/alerts/page.tsx').then((module) => module.AlertsPage)),
    nav: { text: 'Alerts', icon: 'bell' },
  },
  {
    path: '/alerts/rules',
    component: later(() => import('./pages/alerts/page.tsx').then((module) => module.RulesPage)),
  },
  { path: '/connect', component: ConnectPage },
  { path: '/dead-letters', component: DeadLettersPage, nav: { text: 'Dead letters', icon: 'letter' } },
  { path: '/health', component: HealthPage, nav: { text: 'Health', icon: 'health' } },
  { path: '/settings', component: SettingsPage, nav: { text: 'Settings', icon: 'settings' } },
  {
    path: '/settings/webhooks',
    component: later(() => import('./pages/webhooks/page.tsx').then((module) => module.WebhooksPage)),
  },
  {
    path: '/settings/webhooks/:id',
    component: later(() => import('./pages/webhooks/page.tsx').then((module) => module.WebhookPage)),
  },
]
