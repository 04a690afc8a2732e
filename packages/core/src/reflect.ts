// The three functions of the Reflect metadata proposal that @peculiar/x509's container asks for, and refuses to load
// without. No class of ours carries such metadata, so an empty store is all it needs; imported before it, and only there.
type Store = WeakMap<object, Map<unknown, unknown>>;
type Metadata = Partial<Record<"getMetadata" | "getOwnMetadata" | "defineMetadata", unknown>>;

const store: Store = new WeakMap();
const read = (key: unknown, target: object): unknown => store.get(target)?.get(key);
const write = (key: unknown, value: unknown, target: object): void => {
  store.set(target, (store.get(target) ?? new Map<unknown, unknown>()).set(key, value));
};

const reflect = Reflect as Metadata;
reflect.getMetadata ??= read;
reflect.getOwnMetadata ??= read;
reflect.defineMetadata ??= write;
