/**
 * Dialogs on the `dialog` element: the browser keeps the focus inside, closes with Escape, and gives the focus back to what opened
 * it.
 */
import { signal } from '@preact/signals'
import type { ComponentChildren } from 'preact'
import { useEffect, useId, useRef, useState } from 'preact/hooks'
import { Button } from './button.tsx'
import { Field } from './field.tsx'

interface DialogProps {
  title: string
  children: ComponentChildren
  /** Buttons, the one that acts last. */
  actions?: ComponentChildren
  wide?: boolean
  /** Called on Escape, on the button of the browser, and on a press beside the dialog. */
  onClose: () => void
}

/** Open as long as it is rendered. */
export const Dialog = ({ title, children, actions, wide, onClose }: DialogProps) => {
  const element = useRef<HTMLDialogElement>(null)
  const id = useId()
  useEffect(() => {
    const dialog = element.current
    const opener = document.activeElement
    dialog?.showModal()
    return () => {
      dialog?.close()
      // A removed element cannot give the focus back itself.
      if (opener instanceof HTMLElement && opener.isConnected) opener.focus()
    }
  }, [])
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: Escape closes a dialog without further code.
    <dialog
      ref={element}
      class={`dialog${wide ? ' wide' : ''}`}
      aria-labelledby={id}
      onCancel={(event) => {
        event.preventDefault()
        onClose()
      }}
      onClick={(event) => {
        if (event.target === event.currentTarget) onClose()
      }}
    >
      <div class="dialog-body">
        <header class="dialog-head">
          <h2 id={id}>{title}</h2>
          <Button kind="quiet" small icon="cross" label="Close" onClick={onClose} />
        </header>
        {children}
        {actions && <footer class="actions end">{actions}</footer>}
      </div>
    </dialog>
  )
}

export interface Question {
  readonly title: string
  readonly text: ComponentChildren
  /** On the button that does it: `Delete 3 devices`. */
  readonly action: string
  readonly danger?: boolean
  /** The user has to type this, for what cannot be undone. */
  readonly typed?: string
}

const asked = signal<(Question & { readonly answer: (yes: boolean) => void }) | undefined>(undefined)

/** Asks the user. @returns true when the user agreed. */
export function confirm(question: Question): Promise<boolean> {
  asked.peek()?.answer(false)
  return new Promise((resolve) => {
    asked.value = {
      ...question,
      answer: (yes) => {
        asked.value = undefined
        resolve(yes)
      },
    }
  })
}

const ConfirmDialog = ({ title, text, action, danger, typed, answer }: NonNullable<typeof asked.value>) => {
  const [word, setWord] = useState('')
  return (
    <Dialog
      title={title}
      onClose={() => answer(false)}
      actions={
        <>
          <Button onClick={() => answer(false)}>Cancel</Button>
          <Button
            kind={danger ? 'danger' : 'primary'}
            disabled={typed !== undefined && word.trim() !== typed}
            onClick={() => answer(true)}
          >
            {action}
          </Button>
        </>
      }
    >
      <div class="dialog-text">{text}</div>
      {typed !== undefined && (
        <Field label={`Type ${typed} to go on`} value={word} onInput={setWord} autocomplete="off" />
      )}
    </Dialog>
  )
}

/** The place of questions; once in the page. */
export const Questions = () => (asked.value === undefined ? null : <ConfirmDialog {...asked.value} />)
