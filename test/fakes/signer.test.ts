import { Failure } from "@sallyport/core/failure";
import { describeSigner } from "../contract/signer.ts";
import { openFakeSigner } from "./signer.ts";

describeSigner("the fake", async () => {
  const real = openFakeSigner();
  let broken = false;
  const check = (): void => {
    if (broken) throw new Failure("unavailable", "switched off");
  };
  return {
    signer: {
      key: real.key,
      publicKey: async () => {
        check();
        return real.publicKey();
      },
      sign: async (message) => {
        check();
        return real.sign(message);
      },
    },
    other: openFakeSigner(),
    break: async () => {
      broken = true;
    },
  };
});
