/** Values of a configuration as the editor holds them: a type and a text. */

export const valueTypes = ['text', 'number', 'yes/no', 'JSON'] as const
export type ValueType = (typeof valueTypes)[number]

/** One key as it is edited. */
export interface Draft {
  readonly type: ValueType
  readonly text: string
}

export const keyPattern = /^(?!__proto__$)[A-Za-z0-9_.:-]{1,128}$/

export function draftOf(value: unknown): Draft {
  if (typeof value === 'string') return { type: 'text', text: value }
  if (typeof value === 'number') return { type: 'number', text: String(value) }
  if (typeof value === 'boolean') return { type: 'yes/no', text: String(value) }
  return { type: 'JSON', text: JSON.stringify(value) }
}

export type Parsed =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly message: string }

const wrong = (message: string): Parsed => ({ ok: false, message })

/** The value of a draft, or what is wrong with its text. */
export function parseDraft({ type, text }: Draft): Parsed {
  switch (type) {
    case 'text':
      return { ok: true, value: text }
    case 'number': {
      const value = Number(text)
      return text.trim() === '' || !Number.isFinite(value) ? wrong('must be a number') : { ok: true, value }
    }
    case 'yes/no':
      return { ok: true, value: text === 'true' }
    case 'JSON':
      try {
        const value = JSON.parse(text) as unknown
        // The API takes null as the wish to delete the key.
        return value === null ? wrong('must not be null: delete the key instead') : { ok: true, value }
      } catch {
        return wrong('must be JSON')
      }
  }
}

/** The draft with another type; its text stays where it means something there. */
export function retyped({ text }: Draft, type: ValueType): Draft {
  if (type === 'yes/no') return { type, text: /^(true|1|yes|on)$/i.test(text) ? 'true' : 'false' }
  if (type === 'JSON') return { type, text: parseDraft({ type, text }).ok ? text : JSON.stringify(text) }
  return { type, text }
}
