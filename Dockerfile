# The proxy, from the root of the checkout: docker build --platform linux/arm64 .
# Only what the proxy runs: no development packages, no install scripts, nobody's root, nothing to write to but the spool.

# node:24.21.0-bookworm-slim, the index of its platforms. Read off public Dockerfiles that pin it, not pulled from here:
# docker buildx imagetools inspect node:24.21.0-bookworm-slim shows whether the tag has moved on.
ARG NODE_IMAGE=node:24.21.0-bookworm-slim@sha256:0e0ff40c39bc087845bfb27465a0df4ea419520094bc35842ff83dd8cbe6f9b6

FROM ${NODE_IMAGE} AS packages
ARG NODE_IMAGE
RUN case "${NODE_IMAGE}" in *@sha256:*) ;; *) echo "NODE_IMAGE has to name its digest" >&2; exit 1;; esac
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
COPY functions/package.json functions/
COPY packages/aws/package.json packages/aws/
COPY packages/cli/package.json packages/cli/
COPY packages/client/package.json packages/client/
COPY packages/core/package.json packages/core/
COPY packages/identity/package.json packages/identity/
COPY packages/local/package.json packages/local/
COPY packages/proxy/package.json packages/proxy/
COPY packages/wire/package.json packages/wire/
RUN npm ci --omit=dev --omit=optional --ignore-scripts --workspace @sallyport/proxy --include-workspace-root=false

FROM ${NODE_IMAGE}
ENV NODE_ENV=production
WORKDIR /app
COPY --from=packages /app/node_modules node_modules
COPY packages/core packages/core
COPY packages/aws packages/aws
COPY packages/wire packages/wire
COPY packages/proxy packages/proxy
# a volume takes over owner and rights of the folder beneath it, so that the spool belongs to who writes it
RUN mkdir /spool && chown node:node /spool && chmod 0700 /spool
VOLUME ["/spool"]
USER 1000:1000
STOPSIGNAL SIGTERM
# any answer will do: 503 is the balancer's to know
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:8080').then(() => process.exit(0), () => process.exit(1))"]
ENTRYPOINT ["node", "--max-semi-space-size=8", "--initial-heap-size=128", "packages/proxy/src/main.ts"]
