/**
 * Alarms of a stage, and the topic that tells of them. A program instead of a table, because they follow the functions and rules
 * of serverless.yml, and because an alarm may look at 10 metrics at most.
 */
const minute = 60
const perAlarm = 10

/** The logical id of a function in the template: `MqttDashauthorize`. */
const logicalId = (name) => name.replace(/^./, (first) => first.toUpperCase()).replaceAll('-', 'Dash')
const functionName = (name) => ({ Ref: `${logicalId(name)}LambdaFunction` })

/** One metric. @param dimensions from the name to the value. */
const metric = (Namespace, MetricName, dimensions = {}) => ({
  Namespace,
  MetricName,
  Dimensions: Object.entries(dimensions).map(([Name, Value]) => ({ Name, Value })),
})
const ofFunctions = (names, metricName) =>
  names.map((name) => metric('AWS/Lambda', metricName, { FunctionName: functionName(name) }))

/** The metrics of an alarm: the sum of several as an expression, in which a metric without data is 0. */
const watched = (metrics, { stat = 'Sum', period = 5 * minute }) => {
  if (metrics.length === 1) {
    const [{ Dimensions, ...only }] = metrics
    // One slow start among few requests says nothing.
    const statistic = /^p\d/.test(stat)
      ? { ExtendedStatistic: stat, EvaluateLowSampleCountPercentile: 'ignore' }
      : { Statistic: stat }
    return { ...only, ...(Dimensions.length > 0 && { Dimensions }), ...statistic, Period: period }
  }
  const ids = metrics.map((_, at) => `m${at + 1}`)
  return {
    Metrics: [
      { Id: 'sum', Expression: ids.map((id) => `FILL(${id}, 0)`).join(' + '), Label: 'Sum' },
      ...metrics.map(({ Dimensions, ...rest }, at) => ({
        Id: ids[at],
        MetricStat: {
          Metric: { ...rest, ...(Dimensions.length > 0 && { Dimensions }) },
          Stat: stat,
          Period: period,
        },
        ReturnData: false,
      })),
    ],
  }
}

const chunks = (list) =>
  Array.from({ length: Math.ceil(list.length / perAlarm) }, (_, at) =>
    list.slice(at * perAlarm, (at + 1) * perAlarm),
  )

/** The names of the rules that call a function. */
const rulesOfFunction = (name, { events = [] }) =>
  events
    .filter(({ iot }) => iot !== undefined)
    .map((_, at) => ({ Ref: `${logicalId(name)}IotTopicRule${at + 1}` }))

/** The rules of the stage, each with the type of its action. */
const rulesOf = (functions) => [
  ...Object.entries(functions).flatMap(([name, properties]) =>
    rulesOfFunction(name, properties).map((RuleName) => ({ RuleName, ActionType: 'Lambda' })),
  ),
  ...['TelemetryToQueueRule', 'TelemetryParentToQueueRule'].map((id) => ({
    RuleName: { Ref: id },
    ActionType: 'SQS',
  })),
]

/** What is watched. `periods`: of so many periods of 5 minutes, all must be above the threshold; 1 by default. */
const alarmsOf = (functions, stage) => {
  const names = Object.keys(functions)
  const having = (kind) => names.filter((name) => functions[name].events?.some((event) => kind in event))
  const async = names.filter((name) => functions[name].destinations?.onFailure !== undefined)
  const own = (name) => metric('IoTFlow', name, { service: 'iotflow', stage })
  const queue = (id, name) => metric('AWS/SQS', name, { QueueName: { 'Fn::GetAtt': [id, 'QueueName'] } })
  const broker = (name) => metric('AWS/IoT', name, { Protocol: 'MQTT' })
  const api = (name) => metric('AWS/ApiGateway', name, { ApiId: { Ref: 'HttpApi' } })
  const rules = rulesOf(functions)
  return [
    {
      name: 'spool-age',
      says: 'Telemetry has waited in the queue for more than 5 minutes.',
      metrics: [queue('SpoolQueue', 'ApproximateAgeOfOldestMessage')],
      stat: 'Maximum',
      above: 300,
    },
    {
      name: 'spool-depth',
      says: 'More than 10,000 messages of telemetry wait in the queue.',
      metrics: [queue('SpoolQueue', 'ApproximateNumberOfMessagesVisible')],
      stat: 'Maximum',
      above: 10_000,
    },
    {
      name: 'failed-events',
      says: 'Events of devices failed three times and wait in the queue FailedEvents.',
      metrics: [queue('FailedEvents', 'ApproximateNumberOfMessagesVisible')],
      stat: 'Maximum',
      above: 0,
    },
    {
      name: 'messages-failed',
      says: 'Neither the store nor the queue took telemetry.',
      metrics: [own('MessagesFailed')],
      above: 0,
      periods: 2,
    },
    {
      name: 'dead-letters',
      says: 'Many messages could not be stored and became dead letters.',
      metrics: [own('DeadLetters')],
      above: 50,
    },
    {
      name: 'webhooks-waiting',
      says: 'The function that sends to webhooks does not take its messages.',
      metrics: [queue('WebhookQueue', 'ApproximateAgeOfOldestMessage')],
      stat: 'Maximum',
      above: 300,
    },
    {
      name: 'webhooks-failed',
      says: 'Deliveries to webhooks were given up: a receiver has failed for a day.',
      metrics: [own('WebhooksFailed')],
      above: 0,
    },
    ...chunks([...new Set([...having('iot'), ...having('sqs'), 'mqtt-authorize'])]).map((some, at) => ({
      name: `device-event-errors-${at + 1}`,
      says: 'Functions for messages and connections of devices fail.',
      metrics: ofFunctions(some, 'Errors'),
      above: 5,
      periods: 2,
    })),
    ...chunks(having('schedule')).map((some, at) => ({
      name: `schedule-errors-${at + 1}`,
      says: 'Functions of the schedule fail.',
      metrics: ofFunctions(some, 'Errors'),
      above: 2,
      periods: 2,
    })),
    {
      // Functions share the concurrency of the account, so that other stages throttle this one.
      name: 'throttles',
      says: 'Lambda throttles functions of this account.',
      metrics: [metric('AWS/Lambda', 'Throttles')],
      above: 0,
      periods: 2,
    },
    // Lambda has given up events of devices. They are in a queue, unless the destination failed too: then they are lost.
    ...chunks([
      ...ofFunctions(async, 'DestinationDeliveryFailures'),
      ...ofFunctions(async, 'AsyncEventsDropped'),
    ]).map((metrics, at) => ({
      name: `events-dropped-${at + 1}`,
      says: 'Lambda gave up events of devices, or could not put them into a queue.',
      metrics,
      above: 0,
    })),
    ...chunks([
      ...rules.map((rule) => metric('AWS/IoT', 'Failure', rule)),
      ...rules.map(({ RuleName }) => metric('AWS/IoT', 'RuleMessageThrottled', { RuleName })),
    ]).map((metrics, at) => ({
      name: `rule-failures-${at + 1}`,
      says: 'Rules of AWS IoT could not hand over messages, or are throttled.',
      metrics,
      above: 0,
    })),
    {
      name: 'error-action-failures',
      says: 'Telemetry that a rule could not hand over did not get into the queue either: it is lost.',
      metrics: rulesOfFunction('telemetry-ingest', functions['telemetry-ingest']).map((RuleName) =>
        metric('AWS/IoT', 'ErrorActionFailure', { RuleName, ActionType: 'SQS' }),
      ),
      above: 0,
    },
    {
      // Metrics of the broker are of the account, not of a stage.
      name: 'connect-errors',
      says: 'AWS IoT refuses or throttles many connections of this account.',
      metrics: ['AuthError', 'ServerError', 'Throttle', 'ClientIDThrottle'].map((kind) =>
        broker(`Connect.${kind}`),
      ),
      above: 100,
      periods: 3,
    },
    {
      name: 'logins-refused',
      says: 'The authorizer refuses many connections.',
      metrics: [own('MqttLoginsRefused')],
      above: 100,
      periods: 3,
    },
    {
      name: 'api-errors',
      says: 'The HTTP API answers with 5xx.',
      metrics: [api('5xx')],
      above: 5,
      periods: 2,
    },
    {
      name: 'api-latency',
      says: 'One of 100 requests of the HTTP API takes longer than 3 seconds.',
      metrics: [api('Latency')],
      stat: 'p99',
      above: 3000,
      periods: 3,
    },
  ]
}

const resourceOf = ({ name, says, metrics, stat, above, periods = 1 }, prefix) => [
  `Alarm${name.replaceAll(/(?:^|-)(\w)/g, (_, first) => first.toUpperCase())}`,
  {
    Type: 'AWS::CloudWatch::Alarm',
    Properties: {
      AlarmName: `${prefix}-${name}`,
      AlarmDescription: `${says} docs/monitoring.md says what to do.`,
      ...watched(metrics, { stat }),
      ComparisonOperator: 'GreaterThanThreshold',
      Threshold: above,
      EvaluationPeriods: periods,
      // A metric of errors has no data while there are none.
      TreatMissingData: 'notBreaching',
      AlarmActions: [{ Ref: 'AlarmTopic' }],
      OKActions: [{ Ref: 'AlarmTopic' }],
    },
  },
]

module.exports = async ({ resolveVariable }) => {
  const [functions, service, stage] = await Promise.all(
    ['self:functions', 'self:service', 'sls:stage'].map((variable) => resolveVariable(variable)),
  )
  const alarms = alarmsOf(functions, stage).filter(({ metrics }) => metrics.length > 0)
  return { Resources: Object.fromEntries(alarms.map((alarm) => resourceOf(alarm, `${service}-${stage}`))) }
}
