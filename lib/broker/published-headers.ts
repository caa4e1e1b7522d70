/** Headers in which the local data plane tells what AWS IoT Core does not. */
export const publishedHeaders = {
  reached: 'x-iotflow-reached',
  sessions: 'x-iotflow-sessions',
  confirmed: 'x-iotflow-confirmed',
} as const
