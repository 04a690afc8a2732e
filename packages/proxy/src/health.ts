// The load balancer's question: 200 while new connections are welcome, 503 while draining or when nothing new can be
// recorded. Says nothing else, reads nothing, and serves nobody but the balancer.
import { createServer, type Server } from "node:http";

export const openHealth = (state: () => "serving" | "draining" | "audit_full"): Server =>
  createServer({ requestTimeout: 5_000, headersTimeout: 5_000, maxHeaderSize: 4_096 }, (request, response) => {
    request.resume();
    const now = state();
    response.writeHead(now === "serving" ? 200 : 503, { "content-type": "text/plain", connection: "close" });
    response.end(`${now}\n`);
  });
