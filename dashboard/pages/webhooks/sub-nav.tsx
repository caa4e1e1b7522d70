/** The pages below Settings. */
import { SubNav } from '../../ui/sub-nav.tsx'

export const SettingsNav = () => (
  <SubNav
    label="Settings"
    pages={[
      { path: '/settings', text: 'In effect' },
      { path: '/settings/webhooks', text: 'Webhooks' },
    ]}
  />
)
