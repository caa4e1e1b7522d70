/** Every operation of the API, read from the routes that the function files export. */
import type { Access, Documentation, FunctionModule } from '../../lib/http/route.ts'

/** The functions of the system, as `loadFunctions` gives them. */
export interface FunctionModules {
  /** As serverless.yml names them, in its order. */
  readonly names: readonly string[]
  module(functionName: string): Promise<FunctionModule>
}

export interface Operation extends Omit<Documentation, 'aliases' | 'operationId'> {
  /** Upper case. */
  readonly method: string
  /** With parameters in braces, as serverless.yml writes it. */
  readonly path: string
  /** As serverless.yml names it. */
  readonly functionName: string
  /** Unique among all operations. */
  readonly id: string
  readonly access: Access
  /** Whether a limit of requests counts its calls. */
  readonly isCounted: boolean
}

/** In the order of serverless.yml. @throws {Error} for an alias without documentation. */
export async function loadOperations(functions: FunctionModules): Promise<Operation[]> {
  const modules = await Promise.all(functions.names.map((name) => functions.module(name)))
  return modules.flatMap(({ route, documentation }, at) => {
    if (route === undefined || documentation === undefined) return []
    const functionName = functions.names[at] ?? ''
    const { aliases = {}, operationId = functionName, ...rest } = documentation()
    return route.addresses.map((address, index): Operation => {
      const [method = '', path = ''] = address.split(' ')
      const alias = index === 0 ? { operationId } : aliases[address]
      if (alias === undefined) throw new Error(`${functionName} does not document its alias ${address}`)
      const { operationId: id, ...own } = alias
      return {
        method,
        path: path.replaceAll(/:(\w+)/g, '{$1}'),
        functionName,
        id,
        access: route.access,
        isCounted: route.limit !== 'uncounted',
        ...rest,
        ...own,
      }
    })
  })
}

/** The path with this `id` in the place of `{id}`, and for the other parameters those given, or their examples. */
export const examplePath = (
  { path, pathParameters = {} }: Operation,
  id: number | string,
  others: Readonly<Record<string, string>> = {},
): string =>
  Object.entries(pathParameters).reduce(
    (shape, [name, { example }]) => shape.replace(`{${name}}`, others[name] ?? example),
    path.replace('{id}', String(id)),
  )

/** Statuses of the errors that an operation can answer with, in order. */
export function errorsOf({ access, isCounted, path, query, body, errors: own = [] }: Operation): number[] {
  const statuses = new Set([400, 405, 500, 503, ...own])
  if (isCounted) statuses.add(429)
  if (access !== 'none') statuses.add(401)
  if (access === 'device' || access === 'read') statuses.add(403)
  if (path.includes('{')) statuses.add(404)
  if (query !== undefined || body !== undefined) statuses.add(422)
  if (body !== undefined) {
    statuses.add(413)
    statuses.add(415)
  }
  return [...statuses].sort((a, b) => a - b)
}
