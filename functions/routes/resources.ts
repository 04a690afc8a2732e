// Resources as documents: roles, users, locks, databases, discovery configurations.
import { Failure } from "@sallyport/core/failure";
import { resources } from "@sallyport/core/resources";
import type { Verbs } from "../route.ts";

export const resourceVerbs: Verbs<"listResources" | "getResource" | "putResource" | "removeResource"> = {
  listResources: async ({ world }, { kind }) => ({ resources: await resources[kind].list(world) }),
  getResource: ({ world }, { kind, name }) => resources[kind].get(world, name),
  putResource: async ({ world, caller }, { kind, name, document }) => {
    if (document.kind !== kind || document.metadata.name !== name)
      throw new Failure("invalid", `the document is ${document.kind}/${document.metadata.name}`, {
        hint: "put it under its own kind and name",
      });
    return resources[kind].put(world, caller.user.name, document);
  },
  removeResource: async ({ world, caller }, { kind, name }) => {
    await resources[kind].remove(world, caller.user.name, name);
    return {};
  },
};
