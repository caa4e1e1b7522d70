/** Where the project is on disk: files beside the sources (migrations, rules, serverless.yml) are found from here. */

/** Set by esbuild: a bundle is elsewhere than its sources. */
declare const pathFromBundleToRoot: string | undefined

/** The folder of package.json, with a slash at its end. */
export const root = new URL(
  typeof pathFromBundleToRoot === 'undefined' ? '../' : pathFromBundleToRoot,
  import.meta.url,
)
