/** Links between pages that share one entry of the navigation; they look like tabs, and each has an address. */
import { href, place } from '../router.ts'

interface SubNavProps {
  /** What the pages belong to: `Alerts`. */
  label: string
  pages: readonly { readonly path: string; readonly text: string }[]
}

export const SubNav = ({ label, pages }: SubNavProps) => (
  <nav class="sub-nav choices" aria-label={label}>
    {pages.map(({ path, text }) => (
      <a key={path} href={href(path)} aria-current={place.value.path === path ? 'page' : undefined}>
        {text}
      </a>
    ))}
  </nav>
)
