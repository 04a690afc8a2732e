export const api = (_t: sst.aws.Dynamo) => ({});
