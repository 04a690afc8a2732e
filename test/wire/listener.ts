// A TCP listener on a free port of this machine, for doors that are tried with real clients.
import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";

/** Each connection is served and then ended; what `serve` throws goes to `failed`. */
export const listen = async (
  serve: (raw: Socket) => Promise<void>,
  failed: (thrown: unknown) => void,
): Promise<{ readonly listener: Server; readonly port: number }> => {
  const listener = createServer({ noDelay: true }, (raw) => {
    serve(raw)
      .catch(failed)
      .finally(() => raw.destroySoon());
  });
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  const address = listener.address();
  return { listener, port: typeof address === "object" && address ? address.port : 0 };
};
