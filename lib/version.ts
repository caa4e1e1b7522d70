/** The version of IoTFlow. */
import packageJson from '../package.json' with { type: 'json' }

/** The version in package.json, as `/health` shows it. */
export const version: string = packageJson.version
