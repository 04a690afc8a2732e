// The HTTPS API behind API Gateway, and the bootstrap function, which no gateway reaches: only IAM can invoke it.
import { functionName } from "./deployment";
import { lambda } from "./lambda";

export const api = (table: sst.aws.Dynamo) => {
  const gateway = new sst.aws.ApiGatewayV2("Gateway", {
    cors: false,
    transform: { stage: { defaultRouteSettings: { throttlingBurstLimit: 100, throttlingRateLimit: 50 } } },
  });
  const handler = lambda("api", table, {
    description: "The HTTPS API",
    timeout: "29 seconds",
    environment: { SALLYPORT_API_URL: gateway.url, SALLYPORT_DISCOVER_FUNCTION: functionName("discover") },
  });
  gateway.route("$default", handler.arn);
  const bootstrap = lambda("bootstrap", table, {
    description: "First administrator and break-glass: prints a single-use invite",
    timeout: "15 seconds",
    environment: { SALLYPORT_API_URL: gateway.url },
  });
  return { api: gateway.url, bootstrap: bootstrap.name };
};
