/** Components whose code is loaded when they are shown first. */
import type { ComponentType } from 'preact'
import { useLayoutEffect, useState } from 'preact/hooks'
import { Button } from './ui/button.tsx'
import { EmptyState, Loading } from './ui/states.tsx'

/** A component in the place of one that `load` brings. */
export function later<Props extends object>(load: () => Promise<ComponentType<Props>>): ComponentType<Props> {
  let loaded: ComponentType<Props> | undefined
  return (props: Props) => {
    const [, setTurn] = useState(0)
    const [failed, setFailed] = useState(false)
    // Asks before the next frame is painted.
    useLayoutEffect(() => {
      if (loaded !== undefined) return
      load().then(
        (component) => {
          loaded = component
          setTurn((turn) => turn + 1)
        },
        () => setFailed(true),
      )
    }, [])
    const Component = loaded
    if (Component !== undefined) return <Component {...props} />
    if (!failed) return <Loading lines={5} />
    return (
      <EmptyState
        icon="alert"
        title="This page could not be loaded"
        actions={<Button onClick={() => location.reload()}>Reload</Button>}
      >
        The server may have been updated meanwhile.
      </EmptyState>
    )
  }
}
