// The HTTPS API behind API Gateway, and the bootstrap function, which no gateway reaches: only IAM can invoke it.
import { functionName, type Ground } from "./deployment";
import { lambda } from "./lambda";

export const api = (ground: Ground, networks: $util.Output<string>) => {
  const { table } = ground;
  const gateway = new sst.aws.ApiGatewayV2("Gateway", {
    cors: false,
    accessLog: { retention: "3 months" },
    transform: { stage: { defaultRouteSettings: { throttlingBurstLimit: 100, throttlingRateLimit: 50 } } },
  });
  const handler = lambda("api", ground, {
    description: "The HTTPS API",
    timeout: "29 seconds",
    environment: {
      SALLYPORT_TABLE: table.name,
      SALLYPORT_NETWORKS: networks,
      SALLYPORT_API_URL: gateway.url,
      SALLYPORT_DISCOVER_FUNCTION: functionName("discover"),
      SALLYPORT_PROBE_FUNCTION: functionName("probe"),
      SALLYPORT_ROTATE_FUNCTION: functionName("rotate"),
    },
  });
  gateway.route("$default", handler.arn);
  const bootstrap = lambda("bootstrap", ground, {
    description: "First administrator and break-glass: prints a single-use invite",
    timeout: "15 seconds",
    environment: { SALLYPORT_TABLE: table.name, SALLYPORT_API_URL: gateway.url },
  });
  return { gateway, handler, bootstrap };
};
