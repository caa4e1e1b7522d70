/** Buttons and links that look like buttons. */
import type { ComponentChildren } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { Icon, type IconName } from './icon.tsx'
import { toast } from './toast.tsx'

type Kind = 'primary' | 'plain' | 'danger' | 'quiet'

interface ButtonProps {
  children?: ComponentChildren
  kind?: Kind
  icon?: IconName
  /** Needed where the button shows a picture only. */
  label?: string
  type?: 'button' | 'submit'
  disabled?: boolean
  /** Shows that the work is under way, and takes no further press. */
  busy?: boolean
  small?: boolean
  /** The id of what says more about it; screen readers say it with the button. */
  describedBy?: string
  onClick?: () => void
}

export const Button = (props: ButtonProps) => {
  const { children, kind = 'plain', icon, label, type = 'button', disabled, busy, small } = props
  return (
    <button
      type={type}
      class={`button ${kind}${small ? ' small' : ''}${children === undefined ? ' bare' : ''}`}
      aria-label={label}
      aria-describedby={props.describedBy}
      title={children === undefined ? label : undefined}
      disabled={disabled}
      aria-disabled={busy || undefined}
      aria-busy={busy || undefined}
      onClick={busy ? undefined : props.onClick}
    >
      {icon && <Icon name={icon} />}
      {children}
    </button>
  )
}

interface ButtonLinkProps {
  href: string
  children: ComponentChildren
  kind?: Kind
  icon?: IconName
}

export const ButtonLink = ({ href, children, kind = 'plain', icon }: ButtonLinkProps) => (
  <a class={`button ${kind}`} href={href}>
    {icon && <Icon name={icon} />}
    {children}
  </a>
)

/** How long the button says that it has copied, ms. */
const saidMs = 2000

/** Copies a text. @param what named in the label and in the message: `the key`. */
export const CopyButton = ({ text, what, children }: { text: string; what: string; children?: string }) => {
  const [copied, setCopied] = useState(false)
  useEffect(() => {
    if (!copied) return
    const timer = setTimeout(() => setCopied(false), saidMs)
    return () => clearTimeout(timer)
  }, [copied])
  const copy = () =>
    navigator.clipboard.writeText(text).then(
      () => {
        setCopied(true)
        toast(`Copied ${what}.`)
      },
      () => toast(`The browser does not let this page copy: select ${what} and copy it yourself.`, 'bad'),
    )
  return (
    <Button small kind="quiet" icon={copied ? 'check' : 'copy'} label={`Copy ${what}`} onClick={copy}>
      {copied ? 'Copied' : children}
    </Button>
  )
}
