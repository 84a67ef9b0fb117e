import { arch } from "node:process";
import type { HistoryEntry, ImageRunConfig } from "../spec/index.ts";

/** Go's names of this machine's architecture, as image configs use them. */
export function hostArchitecture(): string {
  const names: Record<string, string> = { x64: "amd64", ia32: "386", arm64: "arm64", arm: "arm" };
  return names[arch] ?? arch;
}

/** The bytes of a new image's config for this machine. They are its identity: made once, then kept. */
export function encodeImageConfig(parts: {
  created: string;
  config: ImageRunConfig;
  diffIds: readonly string[];
  history: readonly HistoryEntry[];
  comment?: string;
}): Uint8Array {
  return Buffer.from(
    JSON.stringify({
      ...(parts.comment ? { comment: parts.comment } : {}),
      created: parts.created,
      config: parts.config,
      architecture: hostArchitecture(),
      os: "linux",
      rootfs: { type: "layers", diff_ids: parts.diffIds },
      history: parts.history,
    }),
  );
}
