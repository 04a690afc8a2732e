/// <reference path="./.sst/platform/config.d.ts" />
// The AWS deployment: which account-wide settings apply, and the stacks in the order they build on each other.

export default $config({
  app(input) {
    const production = input.stage === "production";
    return {
      name: "sallyport",
      home: "aws",
      removal: production ? "retain" : "remove",
      protect: production,
      providers: { aws: { version: "7.20.0", defaultTags: { tags: { "sallyport:stage": input.stage } } } },
    };
  },
  async run() {
    const { deploy } = await import("./stacks/main");
    return deploy();
  },
});
