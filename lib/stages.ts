/** The stages of the system, and where the topics of one begin. */

/** Stages that may share an AWS account. */
export const deployedStages = ['dev', 'staging', 'prod'] as const

/** First level of the topics on one machine, and in stage prod. */
export const defaultTopicRoot = 'iotflow'
