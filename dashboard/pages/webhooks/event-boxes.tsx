/** The choice of events: everything, all of a kind, or single types. */
import { Checkbox } from '../../ui/field.tsx'
import { eventGroups } from './words.ts'

interface EventBoxesProps {
  /** Patterns of the API: `*`, `alert.*`, `alert.opened`. */
  chosen: ReadonlySet<string>
  onChange: (chosen: ReadonlySet<string>) => void
  error: string | undefined
}

export const EventBoxes = ({ chosen, onChange, error }: EventBoxesProps) => {
  const set = (pattern: string, add: boolean) => {
    const next = new Set(chosen)
    if (add) next.add(pattern)
    else next.delete(pattern)
    onChange(next)
  }
  const isAll = chosen.has('*')
  return (
    <fieldset class="form-part">
      <legend>What it is told of</legend>
      <Checkbox label="Everything" checked={isAll} onChange={(add) => set('*', add)} />
      {!isAll && (
        <div class="event-groups">
          {eventGroups.map(({ kind, text, types }) => (
            <div key={kind}>
              <Checkbox
                label={`${text}: all`}
                checked={chosen.has(`${kind}.*`)}
                onChange={(add) => set(`${kind}.*`, add)}
              />
              {!chosen.has(`${kind}.*`) &&
                types.map((type) => (
                  <Checkbox
                    key={type}
                    label={<code>{`${kind}.${type}`}</code>}
                    checked={chosen.has(`${kind}.${type}`)}
                    onChange={(add) => set(`${kind}.${type}`, add)}
                  />
                ))}
            </div>
          ))}
        </div>
      )}
      {error !== undefined && <p class="error-text">{error}</p>}
    </fieldset>
  )
}

/** What the boxes mean: a type that is a part of a chosen kind is not named again. */
export function patternsOf(chosen: ReadonlySet<string>): string[] {
  if (chosen.has('*')) return ['*']
  return eventGroups.flatMap(({ kind, types }) =>
    chosen.has(`${kind}.*`)
      ? [`${kind}.*`]
      : types.map((type) => `${kind}.${type}`).filter((type) => chosen.has(type)),
  )
}
