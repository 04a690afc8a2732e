import { isManaged } from "@sallyport/core/managed-tag";
import { expect, it } from "vitest";

it.each([
  [{}, false],
  [{ "sallyport/managed": "true" }, true],
  [{ "sallyport/managed": "" }, true],
  [{ "teleport.dev/managed": "yes" }, true],
  [{ "sallyport/managed": "no", "teleport.dev/managed": "true" }, false],
  [{ "sallyport/managed": " Disabled " }, false],
  [{ managed: "true" }, false],
])("tags %o say %s", (tags, managed) => {
  expect(isManaged(tags)).toBe(managed);
});
