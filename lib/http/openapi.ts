/** The OpenAPI document of this API, as far as the code reads it. It has no servers: each answer adds the origin of its request. */
export interface OpenApiDocument {
  readonly openapi: '3.1.1'
  readonly info: {
    readonly title: string
    readonly version: string
    readonly summary: string
    readonly description: string
  }
  readonly tags: readonly { readonly name: string; readonly description: string }[]
  /** Operations by path, and by method in lower case. */
  readonly paths: Readonly<Record<string, Readonly<Record<string, { readonly operationId: string }>>>>
  readonly components: Readonly<
    Record<'securitySchemes' | 'headers' | 'responses' | 'schemas', Readonly<Record<string, object>>>
  >
}
