// Keys that never leave KMS: the root of the certificates that proxies show, and the one that signs the heads of the audit's
// chains. Who may sign with them is in policies.ts.

const signing = (name: string, description: string) => {
  const key = new aws.kms.Key(name, {
    description,
    keyUsage: "SIGN_VERIFY",
    customerMasterKeySpec: "ECC_NIST_P256",
    deletionWindowInDays: 30,
  });
  new aws.kms.Alias(`${name}Alias`, {
    name: `alias/${$app.name}-${$app.stage}-${name.toLowerCase()}`,
    targetKeyId: key.id,
  });
  return key;
};

export const keys = () => ({
  root: signing("RootKey", "Sallyport: root of the proxies' certificates"),
  audit: signing("AuditKey", "Sallyport: signs the heads of the audit's chains"),
});
export type Keys = ReturnType<typeof keys>;
