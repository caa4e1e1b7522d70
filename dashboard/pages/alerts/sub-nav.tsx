/** The pages of alerts. */
import { SubNav } from '../../ui/sub-nav.tsx'

export const AlertsNav = () => (
  <SubNav
    label="Alerts"
    pages={[
      { path: '/alerts', text: 'Alerts' },
      { path: '/alerts/rules', text: 'Rules' },
    ]}
  />
)
