// A port that nobody listens on just now, for a server that can't be told to pick one itself.
import { createServer } from "node:net";

export const freePort = (host = "127.0.0.1"): Promise<number> =>
  new Promise((answer, refuse) => {
    const server = createServer().once("error", refuse);
    server.listen(0, host, () => {
      const address = server.address();
      const port = typeof address === "object" && address ? address.port : 0;
      server.close(() => answer(port));
    });
  });
