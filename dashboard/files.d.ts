/** What the build of the dashboard makes: see scripts/dashboard.mjs. */

export interface DashboardAsset {
  readonly contentType: string
  /** Base64. */
  readonly gzip: string
  /** Base64. */
  readonly brotli: string
}

/** HTML. */
export declare const dashboardPage: string

/** By name, which contains a hash of the content. */
export declare const dashboardAssets: Readonly<Record<string, DashboardAsset>>
