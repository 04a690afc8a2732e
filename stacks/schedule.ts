export const schedule = (_t: sst.aws.Dynamo) => {};
