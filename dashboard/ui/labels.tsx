/** Labels of a device; each leads to the devices that have it, too. */
import { type Labels, labelText } from '../labels.ts'
import { href } from '../router.ts'

export const LabelList = ({ labels }: { labels: Labels }) => (
  <ul class="labels" aria-label="Labels">
    {Object.keys(labels)
      .sort()
      .map((name) => {
        const value = labels[name] ?? ''
        return (
          <li key={name}>
            {/* A label without a value is asked for by its empty value: the key alone would find any. */}
            <a class="label" href={href('/devices', { selector: `${name}=${value}` })}>
              {labelText(name, value)}
            </a>
          </li>
        )
      })}
  </ul>
)
