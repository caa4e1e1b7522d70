import packageJson from '../package.json' with { type: 'json' }

/** The version of this layer, as health shows it. */
export const version: string = packageJson.version
