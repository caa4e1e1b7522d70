/** Which version of the layer this is. */
import packageJson from '../package.json' with { type: 'json' }

/** As health shows it. */
export const version: string = packageJson.version
