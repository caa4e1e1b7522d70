/** Labels of a device as one text: `site=north,floor=2`, which an import reads. */

export const labelText = (labels: Readonly<Record<string, string>> | undefined): string =>
  Object.entries(labels ?? {})
    .map(([key, value]) => `${key}=${value}`)
    .join(',')
