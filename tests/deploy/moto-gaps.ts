/** What moto cannot do that CloudFormation can, and the changes to a template that get along without it. */
import type { Resource } from '../support/serverless.ts'
import type { Template } from './template.ts'

/**
 * Types that moto does not create; the tests of the template look at these resources, and the journey of the deployed functions takes
 * routes, rules and the authorizer from the template. A test fails when the stack leaves out other types than these.
 */
export const skippedTypes = [
  'AWS::ApiGatewayV2::Api',
  'AWS::ApiGatewayV2::Integration',
  'AWS::ApiGatewayV2::Route',
  'AWS::ApiGatewayV2::Stage',
  'AWS::Budgets::Budget',
  'AWS::CloudWatch::Alarm',
  'AWS::IoT::Authorizer',
  'AWS::IoT::DomainConfiguration',
  'AWS::IoT::TopicRule',
  'AWS::Lambda::EventInvokeConfig',
  'AWS::S3::BucketPolicy',
  'AWS::SNS::Subscription',
  'AWS::SNS::TopicPolicy',
]

/** An ARN with the account, which the linter wants in the permissions of services. */
const arnOf = (id: string, type: string) => ({
  'Fn::Sub': `arn:\${AWS::Partition}:${type.split('::')[1]?.toLowerCase()}:\${AWS::Region}:\${AWS::AccountId}:${id}`,
})

/** Replaces what refers to skipped resources, which do not exist: their attributes by an ARN of the right form, others by a text. */
const withoutReferences = (value: unknown, resources: Template['Resources']): unknown => {
  if (Array.isArray(value)) return value.map((item) => withoutReferences(item, resources))
  if (typeof value !== 'object' || value === null) return value
  const isSkipped = (id: string | undefined): id is string =>
    id !== undefined && skippedTypes.includes(resources[id]?.Type ?? '')
  const { Ref, 'Fn::GetAtt': [id] = [] } = value as { Ref?: string; 'Fn::GetAtt'?: string[] }
  if (isSkipped(Ref)) return Ref
  if (isSkipped(id)) return arnOf(id, resources[id]?.Type ?? '')
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [
      key,
      key === 'Fn::Sub' && typeof item === 'string'
        ? item.replaceAll(/\$\{(\w+)(?:\.\w+)?\}/g, (all, name) => (isSkipped(name) ? name : all))
        : withoutReferences(item, resources),
    ]),
  )
}

/** A template that moto accepts, with the same resources. */
export const withoutMotoGaps = (template: Template): Template => {
  const change = (resource: Resource): Resource => {
    // moto lints a template and takes warnings for errors: what is referred to needs no DependsOn (W3005). It creates what a resource
    // refers to before the resource itself.
    const { DependsOn: _, ...rest } = withoutReferences(resource, template.Resources) as Resource & {
      DependsOn?: unknown
    }
    // moto would call the function of an enabled mapping in Docker.
    return rest.Type === 'AWS::Lambda::EventSourceMapping'
      ? { ...rest, Properties: { ...rest.Properties, Enabled: false } }
      : rest
  }
  return {
    ...(withoutReferences(template, template.Resources) as Template),
    Resources: Object.fromEntries(
      Object.entries(template.Resources).map(([id, resource]) => [id, change(resource)]),
    ),
  }
}
