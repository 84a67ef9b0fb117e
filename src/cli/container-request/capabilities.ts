import type { HostConfig } from "../../spec/index.ts";

const all = "ALL";

/** `--cap-add` and `--cap-drop` in one spelling, `CAP_NET_ADMIN` or `ALL`, sorted; what is added is not dropped. */
export function toCapabilities(
  add: readonly string[],
  drop: readonly string[],
): Pick<HostConfig, "CapAdd" | "CapDrop"> {
  const [added, dropped] = [normalise(add), normalise(drop)];
  return {
    CapAdd: listOrNull(added),
    CapDrop: listOrNull(new Set([...dropped].filter((name) => !added.has(name)))),
  };
}

function normalise(names: readonly string[]): Set<string> {
  const set = new Set(names.map((name) => name.trim().toUpperCase()).map(prefixed));
  return set.has(all) ? new Set([all]) : set;
}

function prefixed(name: string): string {
  return name === all || name.startsWith("CAP_") ? name : `CAP_${name}`;
}

function listOrNull(names: ReadonlySet<string>): string[] | null {
  return names.size > 0 ? [...names].sort() : null;
}
