// The HTTPS API behind API Gateway.
import { compose, once, type World } from "./compose.ts";
import { type HttpFunction, serve } from "./http.ts";
import { type Log, openLog } from "./log.ts";
import { databaseVerbs } from "./routes/databases.ts";
import { discoverVerbs } from "./routes/discover.ts";
import { doctorVerbs } from "./routes/doctor.ts";
import { explainVerbs } from "./routes/explain.ts";
import { loginVerbs } from "./routes/login.ts";
import { resourceVerbs } from "./routes/resources.ts";
import { rotateVerbs } from "./routes/rotate.ts";
import { tokenVerbs } from "./routes/tokens.ts";
import { trustVerbs } from "./routes/trust.ts";
import { userVerbs } from "./routes/users.ts";

const verbs = {
  ...loginVerbs,
  ...databaseVerbs,
  ...tokenVerbs,
  ...trustVerbs,
  ...explainVerbs,
  ...userVerbs,
  ...discoverVerbs,
  ...doctorVerbs,
  ...rotateVerbs,
  ...resourceVerbs,
};

export const openApi = (world: World, log: Log): HttpFunction => serve(world, verbs, log);

const opened = once(() => openApi(compose(process.env), openLog("api")));

export const handler: HttpFunction = (event, context) => opened()(event, context);
