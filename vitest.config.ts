// The test projects. Quick ones run first; those that start servers and real clients follow with room to breathe.
import { configDefaults, defineConfig } from "vitest/config";

const apart = ["test/e2e", "test/fuzz", "test/stacks"] as const;
const inside = (folder: string) => `${folder}/**/*.test.ts`;

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "unit",
          include: ["test/**/*.test.ts"],
          exclude: [...configDefaults.exclude, ...apart.map(inside), "test/clients/**"],
          testTimeout: 15_000,
          hookTimeout: 60_000,
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          name: "stacks",
          include: [inside("test/stacks")],
          globalSetup: ["test/stacks/setup.ts"],
          testTimeout: 60_000,
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          name: "e2e",
          include: [inside("test/e2e")],
          // many real servers share two cores here: a test that needed a second try is listed by name at the end
          retry: 1,
          testTimeout: 30_000,
          hookTimeout: 120_000,
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          name: "fuzz",
          include: [inside("test/fuzz")],
          testTimeout: 180_000,
          hookTimeout: 60_000,
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
