/** What a page shows when it has nothing, waits, or failed; and the pager of lists. */
import type { ComponentChildren } from 'preact'
import type { ApiError } from '../api.ts'
import { Button } from './button.tsx'
import { Icon, type IconName } from './icon.tsx'

interface EmptyStateProps {
  icon: IconName
  title: string
  children?: ComponentChildren
  actions?: ComponentChildren
}

export const EmptyState = ({ icon, title, children, actions }: EmptyStateProps) => (
  <div class="empty">
    <span class="empty-icon">
      <Icon name={icon} />
    </span>
    <p class="empty-title">{title}</p>
    {children && <p class="muted">{children}</p>}
    {actions && <div class="actions">{actions}</div>}
  </div>
)

/** Grey bars in the place of what is being loaded. @param lines how many. */
export const Loading = ({ lines = 3 }: { lines?: number }) => (
  <div class="loading" role="status">
    <span class="for-readers">Loading</span>
    {Array.from({ length: lines }, (_, i) => (
      <span key={i} class="bar" aria-hidden="true" />
    ))}
  </div>
)

/** Why something could not be done, with the request id that helps to find it in the log. */
export const ErrorNotice = ({ error, onRetry }: { error: ApiError; onRetry?: () => void }) => (
  <div class="notice bad" role="alert">
    <Icon name="alert" />
    <div>
      <p>{error.message}</p>
      {error.details.length > 0 && (
        <ul>
          {error.details.map(({ path, message }) => (
            <li key={path}>
              <code>{path}</code> {message}
            </li>
          ))}
        </ul>
      )}
      {error.requestId && <p class="small muted">Request {error.requestId}</p>}
    </div>
    {onRetry && (
      <Button small onClick={onRetry}>
        Try again
      </Button>
    )}
  </div>
)

interface PagerProps {
  /** From 0. */
  page: number
  pageSize: number
  /** Rows on this page. */
  shown: number
  /** Undefined when nobody has counted. */
  total?: number
  hasNext: boolean
  onPage: (page: number) => void
}

export const Pager = ({ page, pageSize, shown, total, hasNext, onPage }: PagerProps) => (
  <nav class="pager" aria-label="Pages">
    <p class="muted" aria-live="polite">
      {shown === 0
        ? 'Nothing here'
        : `${(page * pageSize + 1).toLocaleString()}–${(page * pageSize + shown).toLocaleString()}${total === undefined ? '' : ` of ${total.toLocaleString()}`}`}
    </p>
    <div class="actions">
      <Button small disabled={page === 0} onClick={() => onPage(page - 1)}>
        Previous
      </Button>
      <Button small disabled={!hasNext} onClick={() => onPage(page + 1)}>
        Next
      </Button>
    </div>
  </nav>
)
