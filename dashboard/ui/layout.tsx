/** Parts of a page: its head, which takes the focus when the page appears, and cards. */
import type { ComponentChildren } from 'preact'
import { useEffect, useId, useRef } from 'preact/hooks'

interface PageHeadProps {
  title: string
  /** One line below the title. */
  lead?: ComponentChildren
  actions?: ComponentChildren
  /** A way back: address and text. */
  back?: { readonly href: string; readonly text: string }
}

/** Set after the first page: only a change of the page moves the focus. */
const shown = { any: false }

export const PageHead = ({ title, lead, actions, back }: PageHeadProps) => {
  const heading = useRef<HTMLHeadingElement>(null)
  useEffect(() => {
    document.title = `${title} · IoTFlow`
  }, [title])
  useEffect(() => {
    if (shown.any) heading.current?.focus()
    shown.any = true
    scrollTo(0, 0)
  }, [])
  return (
    <header class="page-head">
      <div>
        {back && (
          <a class="back" href={back.href}>
            ← {back.text}
          </a>
        )}
        <h1 ref={heading} tabIndex={-1}>
          {title}
        </h1>
        {lead && <p class="lead">{lead}</p>}
      </div>
      {actions && <div class="actions">{actions}</div>}
    </header>
  )
}

interface CardProps {
  title: string
  children: ComponentChildren
  /** Right of the title. */
  aside?: ComponentChildren
  /** Adds to the classes of the card: `wide` takes the whole row of a grid. */
  class?: string
}

export const Card = ({ title, children, aside, class: more = '' }: CardProps) => {
  const id = useId()
  return (
    <section class={`card ${more}`} aria-labelledby={id}>
      <header class="card-head">
        <h2 id={id}>{title}</h2>
        {aside}
      </header>
      {children}
    </section>
  )
}

/** A number with its name. */
export const Figure = ({
  name,
  children,
  note,
}: {
  name: string
  children: ComponentChildren
  note?: ComponentChildren
}) => (
  <div class="figure">
    <dt>{name}</dt>
    <dd>
      <span class="figure-value">{children}</span>
      {note && <span class="figure-note">{note}</span>}
    </dd>
  </div>
)
