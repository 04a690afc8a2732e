// What proxies share, under `<app>/<stage>/proxy/`: the key they authenticate each other's cancels by, made here once and never
// shown. The certificate beside it is made by certify, or by its owner before the deployment.
import { secretPrefix } from "./deployment";

export const certificateName = (): string => `${secretPrefix()}/proxy/certificate`;
export const cancelKeyName = (): string => `${secretPrefix()}/proxy/cancel-key`;

/** What has to be there before a proxy starts. */
export const secrets = (): aws.secretsmanager.SecretVersion => {
  const cancelKey = new aws.secretsmanager.Secret("CancelKey", {
    name: cancelKeyName(),
    description: "Sallyport: the key by which proxies authenticate each other's cancels",
    recoveryWindowInDays: 7,
  });
  const key = aws.secretsmanager.getRandomPasswordOutput({ passwordLength: 64, excludePunctuation: true });
  return new aws.secretsmanager.SecretVersion(
    "CancelKeyValue",
    { secretId: cancelKey.id, secretString: $util.secret(key.randomPassword) },
    // another one is drawn at each deployment and not looked at
    { ignoreChanges: ["secretString"] },
  );
};
