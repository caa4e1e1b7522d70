/** Who is told of alarms, and of the money that a month costs. A program, because the e-mail and the budget may be left out. */

const topic = (name) => ({
  // Not encrypted by KMS: CloudWatch cannot publish to a topic with the key of AWS, and a key of our own has its price. The
  // messages hold names and numbers of metrics.
  AlarmTopic: { Type: 'AWS::SNS::Topic', Properties: { TopicName: `${name}-alarms` } },
  AlarmTopicPolicy: {
    Type: 'AWS::SNS::TopicPolicy',
    Properties: {
      Topics: [{ Ref: 'AlarmTopic' }],
      PolicyDocument: {
        Version: '2012-10-17',
        Statement: [
          {
            Effect: 'Allow',
            Principal: { Service: ['cloudwatch.amazonaws.com', 'budgets.amazonaws.com'] },
            Action: 'sns:Publish',
            Resource: { Ref: 'AlarmTopic' },
            Condition: { StringEquals: { 'aws:SourceAccount': { Ref: 'AWS::AccountId' } } },
          },
        ],
      },
    },
  },
})

/** AWS sends a message with a link that confirms the subscription; no alarm comes before. */
const subscription = (email) => ({
  AlarmEmail: {
    Type: 'AWS::SNS::Subscription',
    Properties: { TopicArn: { Ref: 'AlarmTopic' }, Protocol: 'email', Endpoint: email },
  },
})

const notification = (NotificationType, Threshold) => ({
  Notification: {
    NotificationType,
    Threshold,
    ThresholdType: 'PERCENTAGE',
    ComparisonOperator: 'GREATER_THAN',
  },
  Subscribers: [{ SubscriptionType: 'SNS', Address: { Ref: 'AlarmTopic' } }],
})

/** Of the whole account: messages of AWS IoT and metrics carry no tags by which a stage could be told. */
const budget = (name, usd) => ({
  MonthlyBudget: {
    Type: 'AWS::Budgets::Budget',
    DependsOn: ['AlarmTopicPolicy'],
    Properties: {
      Budget: {
        BudgetName: name,
        BudgetType: 'COST',
        TimeUnit: 'MONTHLY',
        BudgetLimit: { Amount: usd, Unit: 'USD' },
      },
      NotificationsWithSubscribers: [notification('ACTUAL', 80), notification('FORECASTED', 100)],
    },
  },
})

module.exports = async ({ resolveVariable }) => {
  const [service, stage, email, usd] = await Promise.all(
    ['self:service', 'sls:stage', 'param:alarmEmail', 'param:monthlyBudgetUsd'].map((variable) =>
      resolveVariable(variable),
    ),
  )
  const name = `${service}-${stage}`
  return {
    Resources: {
      ...topic(name),
      ...(email && subscription(email)),
      ...(Number(usd) > 0 && budget(name, Number(usd))),
    },
  }
}
