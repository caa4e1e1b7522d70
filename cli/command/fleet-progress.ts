/** The progress of a fleet command on one line. */

/** The states that any device is in, with their numbers. */
export const progressText = (progress: Readonly<Record<string, number>>): string =>
  Object.entries(progress)
    .filter(([, count]) => count > 0)
    .map(([state, count]) => `${count} ${state}`)
    .join(', ')
